"""A webhook that takes Slack's JSON ({"text": ...}): Slack, Mattermost, Rocket.Chat, Discord with /slack."""

from __future__ import annotations

from turnback.adapters.notices.http import ask
from turnback.ports import Notice, Notifier

MAX_CHARACTERS = 3000  # Slack cuts longer texts into several messages


class WebhookNotifier(Notifier):
    """`url` is a secret: whoever has it can write there."""

    name = "webhook"

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self._url = url
        self._timeout = timeout_seconds

    def send(self, notice: Notice) -> None:
        ask("the webhook", "POST", self._url, self._timeout, body={"text": text(notice)}, outwards=True)

    def close(self) -> None:
        pass  # each request has a connection of its own, which ends by its timeout


def text(notice: Notice) -> str:
    """Title with the severity, reason with numbers and what to do next, what it is about. No links."""
    mark = "RESOLVED" if notice.resolved else notice.severity.upper()
    lines = [f"*[{mark}] {notice.title}*", notice.text]
    about = " · ".join(f"{key} {value}" for key, value in notice.fields.items() if value)
    lines.append(" · ".join(part for part in (about, f"{notice.utc:%Y-%m-%d %H:%M:%S} UTC") if part))
    whole = "\n".join(line for line in lines if line)
    # https://docs.slack.dev/messaging/formatting-message-text: these three are its control characters
    whole = whole.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return whole if len(whole) <= MAX_CHARACTERS else whole[: MAX_CHARACTERS - 1] + "…"
