"""Who may ask the guard and tell it something, whom it tells, and what a secret must not get into."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import test_config_guard as config
import test_listener as listener
import test_notices as notices
import test_notifier_contract as contract
import test_whom_to_tell as whom

from mutants import Mutant, Place, always
from mutants.rewritten import caught_by, rewritten
from mutants.told import Made, both, fixture, swap
from turnback.adapters.notices import alertmanager as alertmanager_notices
from turnback.adapters.notices import webhook
from turnback.adapters.notices.command import CommandNotifier
from turnback.app import notices as of_notices
from turnback.app.notices import Notices
from turnback.entrypoints import guard_contradictions as contradictions
from turnback.entrypoints import notices as of_entry
from turnback.entrypoints.web import alertmanager
from turnback.entrypoints.web import app as web
from turnback.entrypoints.web import listener as of_listener
from turnback.entrypoints.web.app import TokenNeeded
from turnback.entrypoints.web.listener import Listener

RUNNING = fixture(listener.running)


def _subject(name: str) -> Made:
    """A notifier of the contract's suite."""

    @contextmanager
    def over_http(place: Place) -> Iterator[contract.Subject]:
        with fixture(contract.endpoint).make(place) as endpoint:
            yield contract.http_subject(name, endpoint)

    return Made(over_http)


def _within(condition: Callable[[], bool], seconds: float) -> None:
    """As the module's own, and sooner at its end."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.002)


_LISTENER = {
    "token: missing": caught_by(
        listener.test_without_the_token_nothing_is_told_or_taken,
        "anyone may ask",
        swap(TokenNeeded, "_right", always),
        running=RUNNING,
        headers={},
    ),
    "token: a part of it": caught_by(
        listener.test_without_the_token_nothing_is_told_or_taken,
        "the beginning of the token is enough",
        rewritten(
            TokenNeeded,
            "_right",
            "hmac.compare_digest(given, self._wanted)",
            "self._wanted.startswith(given)",
        ),
        running=RUNNING,
        headers={"Authorization": f"Bearer {listener.TOKEN[:-1]}"},
    ),
    "token: more than it": caught_by(
        listener.test_without_the_token_nothing_is_told_or_taken,
        "something behind the token does not matter",
        rewritten(
            TokenNeeded,
            "_right",
            "hmac.compare_digest(given, self._wanted)",
            "given.startswith(self._wanted)",
        ),
        running=RUNNING,
        headers={"Authorization": f"Bearer {listener.TOKEN}x"},
    ),
    "token: of the webhook": caught_by(
        listener.test_without_the_token_nothing_is_told_or_taken,
        "anyone may send alerts",
        rewritten(
            TokenNeeded, "__call__", 'scope["path"] == OPEN_PATH', 'scope["path"] in (OPEN_PATH, "/alerts")'
        ),
        running=RUNNING,
        headers={},
    ),
    "token: of the metrics": caught_by(
        listener.test_without_the_token_nothing_is_told_or_taken,
        "anyone may read the metrics",
        rewritten(
            TokenNeeded, "__call__", 'scope["path"] == OPEN_PATH', 'scope["path"] in (OPEN_PATH, "/metrics")'
        ),
        running=RUNNING,
        headers={},
    ),
    "token: of the status": caught_by(
        listener.test_without_the_token_nothing_is_told_or_taken,
        "anyone may read the status",
        rewritten(
            TokenNeeded, "__call__", 'scope["path"] == OPEN_PATH', 'scope["path"] in (OPEN_PATH, "/status")'
        ),
        running=RUNNING,
        headers={},
    ),
    "token: none is none": caught_by(
        listener.test_an_empty_token_is_refused,
        "a guard without a token lets everybody in",
        rewritten(Listener, "__init__", "if not token:", "if False:"),
    ),
    "token: its form": caught_by(
        whom.test_what_is_no_token_is_refused_and_not_shown,
        "what cannot be a token is taken for one",
        rewritten(whom, "guard_token", r'if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token):', "if False:"),
        value="two words",
    ),
    "token: private": caught_by(
        whom.test_a_token_is_made_once_and_for_its_owner_only,
        "everybody on the machine may read the token",
        rewritten(
            of_entry, "_kept_token", "path.hardlink_to(part)", "path.hardlink_to(part); path.chmod(0o644)"
        ),
    ),
    "loopback": caught_by(
        config.test_a_contradiction_is_named_with_its_key,
        "it listens to the world, and nobody said that it should",
        swap(contradictions, "_is_loopback", always),
        text='[guard]\nlisten = "0.0.0.0:9464"',
        said="listen: 0.0.0.0 can be reached from other machines",
    ),
    "body: declared too long": caught_by(
        listener.test_a_body_that_is_too_long,
        "a body that says how long it is is waited for",
        both(
            swap(of_listener, "CONNECTION_SECONDS", 0.5),
            rewritten(web, "_body", "int(declared) > MAX_BODY_BYTES", "False"),
        ),
        running=RUNNING,
    ),
    "body: longer than it says": caught_by(
        listener.test_a_body_that_is_too_long,
        "a body without a length has no limit",
        rewritten(web, "_body", "if len(body) > MAX_BODY_BYTES:", "if False:"),
        running=RUNNING,
    ),
    "alerts: unknown": caught_by(
        listener.test_alerts_that_are_no_trigger_are_accepted_and_said,
        "every alert of the house is a trigger",
        swap(alertmanager, "known_only", lambda alerts, known: (list(alerts), [])),
        running=RUNNING,
    ),
    "alerts: another version": caught_by(
        listener.test_what_is_no_webhook_is_refused_whole,
        "a webhook of a version that nobody knows is taken",
        rewritten(alertmanager, "parse", ' or document.get("version") != VERSION', ""),
        running=RUNNING,
        body=listener.webhook(listener.alert(), version="3"),
        line='not an Alertmanager webhook: "version" must be "4"',
    ),
    "alerts: whole or not at all": caught_by(
        listener.test_what_is_no_webhook_is_refused_whole,
        "an alert that is neither firing nor resolved is taken",
        rewritten(alertmanager, "_alert", 'if alert.get("status") not in STATUSES:', "if False:"),
        running=RUNNING,
        body=listener.webhook(listener.alert(), listener.alert(status="suppressed")),
        line='alerts[1]: "status" must be "firing" or "resolved"',
    ),
    "status: numbers that JSON has": caught_by(
        listener.test_the_status_is_json_whatever_numbers_it_has,
        "infinity makes the status unreadable",
        swap(web, "_finite", lambda value: value),
        running=RUNNING,
    ),
}

_CONFIG = {
    f"contradiction: {name}": caught_by(
        config.test_a_contradiction_is_named_with_its_key,
        f"{name} may contradict itself",
        swap(contradictions, f"_{name}", lambda *_: iter(())),
        text=text,
        said=said,
    )
    for name, text, said in (
        (
            "triggers",
            "[guard.triggers.error_rate]\nmin_failures = 51",
            "min_failures: 51 is more than min_requests = 50",
        ),
        (
            "severities",
            "[guard.severities.high]\nabove_share = 0.95",
            "[guard.severities.high] above_share: critical begins at 0.95 and high at 0.95",
        ),
        (
            "metrics",
            config.METRICS + 'prometheus = "http://127.0.0.1:9090"',
            "prometheus: give url or prometheus, not both",
        ),
        (
            "patterns",
            '[validate]\norphans = ["notes.user_id"]',
            "orphans: `notes.user_id` is not of the form",
        ),
        (
            "powerless",
            '[guard]\nmode = "enforce"\n[guard.server]\nenabled = false\n[guard.triggers.pool]\nenabled = false',
            "mode: enforce, and no probe and trigger",
        ),
    )
} | {
    "contradiction: secrets in addresses": caught_by(
        config.test_an_address_with_a_password_is_refused_and_never_shown,
        "a password may stand in turnback.toml",
        swap(contradictions, "_addresses", lambda *_: iter(())),
        text='[guard.metrics]\nurl = "{}"',
        url="http://user:s3cret@127.0.0.1:1/",
    ),
}

_NOTICES = {
    f"secret: {name}": caught_by(
        contract.test_every_failure_is_one_line_without_a_secret,
        "the address of a webhook stands in the error",
        rewritten(
            owner,
            "ask",
            '{what}: no answer ({type(e).__name__})"',
            '{what}: no answer ({type(e).__name__}) {url}"',
        ),
        subject=_subject(name),
    )
    for name, owner in (("webhook", webhook), ("alertmanager", alertmanager_notices))
} | {
    "secret: the command's environment": caught_by(
        contract.test_a_command_does_not_get_turnbacks_own_secrets,
        "the command for notices gets the superuser's password",
        rewritten(CommandNotifier, "_start", "if name not in self._withheld", ""),
    ),
    "secret: which variables": caught_by(
        whom.test_the_command_is_not_given_what_turnback_alone_needs,
        "nothing is withheld from the command",
        swap(of_entry, "_variables", lambda *_: frozenset()),
    ),
    "secret: the webhook's own value": caught_by(
        whom.test_a_secret_that_is_not_there_is_one_line,
        "what is no address is told with its value",
        rewritten(whom, "notifiers", "what {notify.webhook} holds", "what {url} holds"),
        webhook="env:NO_URL",
        what="what env:NO_URL holds is no http address",
    ),
    "notices: the order of a key": caught_by(
        notices.test_one_that_fails_holds_up_its_own_key_only,
        "the end of something overtakes its begin",
        rewritten(Notices, "_next", "held.add(key)", "pass"),
    ),
    "notices: other keys": caught_by(
        notices.test_one_that_fails_holds_up_its_own_key_only,
        "one that fails holds up all others",
        both(
            swap(notices, "await_true", lambda condition: _within(condition, 0.5)),
            rewritten(Notices, "_next", "held.add(key)", "return None"),
        ),
    ),
    "notices: tried again": caught_by(
        notices.test_a_failure_is_tried_again_with_pauses_and_shown_meanwhile,
        "what failed once is given up",
        rewritten(Notices, "_work", "if error is None or last:", "if True:"),
    ),
    "notices: said once": caught_by(
        notices.test_the_same_words_again_wait_for_the_repeat_and_other_words_do_not,
        "the same words are sent each time",
        both(
            swap(notices, "await_true", lambda condition: _within(condition, 0.5)),
            swap(of_notices, "_alike", lambda a, b: False),
        ),
    ),
    "notices: a full journal": caught_by(
        notices.test_a_journal_that_cannot_be_written_stops_no_notice,
        "a record that failed is not shown",
        both(
            swap(notices, "await_true", lambda condition: _within(condition, 0.5)),
            rewritten(Notices, "_keep_books", 'self._note_error("record", str(e))', "pass"),
        ),
    ),
}


MUTANTS: dict[str, Mutant] = _LISTENER | _CONFIG | _NOTICES
