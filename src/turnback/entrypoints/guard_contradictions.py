"""What of [guard], [validate] and [alerts] does not fit together: what no single key can show."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from turnback.core.validation import reference
from turnback.core.watch.rules import SEVERITIES, Rules
from turnback.entrypoints.config import Config

Loc = tuple[str, ...]
Problem = tuple[Loc, str]


def contradictions(config: Config) -> Iterator[Problem]:
    """Each with the key that it is about."""
    yield from _triggers(config)
    yield from _severities(config)
    yield from _metrics(config)
    yield from _listen(config)
    yield from _patterns(config)
    yield from _addresses(config)
    yield from _powerless(config)
    yield from _image(config.alerts.alertmanager_image)
    if config.validate_.marker is not None and config.validate_.page is None:
        yield ("validate", "marker"), "needs page: the path that has to show it"
    asked = config.validate_.endpoints or config.validate_.page is not None
    if asked and config.validate_.base is None and config.app.health is None:
        yield ("validate", "base"), "is needed: without it, and without [app] health, paths have no address"


def _triggers(config: Config) -> Iterator[Problem]:
    guard, triggers = config.guard, config.guard.triggers
    pool = triggers.pool
    if pool.breaches > pool.of:
        yield (
            ("guard", "triggers", "pool", "breaches"),
            f"{pool.breaches} of {pool.of} readings never happens",
        )
    rate = triggers.error_rate
    if rate.min_failures > rate.min_requests:
        yield (
            ("guard", "triggers", "error_rate", "min_failures"),
            f"{rate.min_failures} is more than min_requests = {rate.min_requests}",
        )
    if triggers.log_errors.enabled:
        of_log = ("guard", "triggers", "log_errors", "for_seconds")
        lasting, interval = triggers.log_errors.for_seconds, guard.log.interval_seconds
        yield from _at_least_one(of_log, lasting, interval, "[guard.log]")
    measured = guard.metrics.url is not None or guard.metrics.prometheus is not None
    if measured:
        interval, table = guard.metrics.interval_seconds, "[guard.metrics]"
    elif guard.synthetic.url is not None:
        interval, table = guard.synthetic.interval_seconds, "[guard.synthetic]"
    else:
        return  # nothing feeds these two
    for name, trigger in (("error_rate", rate), ("latency", triggers.latency)):
        if not trigger.enabled or (name == "latency" and not measured):
            continue
        loc = ("guard", "triggers", name)
        if trigger.window_seconds < 2 * interval:
            yield (
                (*loc, "window_seconds"),
                f"{trigger.window_seconds:g} is less than two of {table} interval_seconds = {interval:g}",
            )
        yield from _at_least_one((*loc, "for_seconds"), trigger.for_seconds, interval, table)


def _at_least_one(loc: Loc, for_seconds: float, interval: float, table: str) -> Iterator[Problem]:
    if for_seconds < interval:
        yield (
            loc,
            f"{for_seconds:g} is less than {table} interval_seconds = {interval:g}: one reading would decide",
        )


def _severities(config: Config) -> Iterator[Problem]:
    defaults, chosen = Rules().severities, config.guard.severities
    above = None
    for name in SEVERITIES:
        section = chosen.get(name)
        given = section.above_share if section is not None else None
        share = defaults[name].above_share if given is None else given
        if above is not None and share >= above[1]:
            loc = name if given is not None else above[0]  # the one that the file has moved
            yield (
                ("guard", "severities", loc, "above_share"),
                f"{above[0]} begins at {above[1]:g} and {name} at {share:g}: each has to begin lower",
            )
        above = name, share


def _metrics(config: Config) -> Iterator[Problem]:
    metrics = config.guard.metrics
    if metrics.url is not None and metrics.prometheus is not None:
        yield ("guard", "metrics", "prometheus"), "give url or prometheus, not both"
    if metrics.selector.strip() and metrics.prometheus is None:
        yield ("guard", "metrics", "selector"), "is for prometheus"
    if metrics.causes is not None and not metrics.other_causes:
        yield ("guard", "metrics", "causes"), "needs other_causes: which of them are not PostgreSQL"
    if metrics.other_causes and metrics.causes is None:
        yield ("guard", "metrics", "other_causes"), "needs causes: the counter that has them"


def _listen(config: Config) -> Iterator[Problem]:
    guard = config.guard
    if guard.listen is None:
        return
    host, _, port = guard.listen.rpartition(":")
    if int(port) > 65535:
        yield ("guard", "listen"), f"there is no port {port}"
    if not _is_loopback(host) and not guard.listen_anywhere:
        yield (
            ("guard", "listen"),
            f"{host or 'every address'} can be reached from other machines: 127.0.0.1:{port},"
            " or listen_anywhere = true",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _patterns(config: Config) -> Iterator[Problem]:
    try:
        re.compile(config.guard.log.pattern)
    except (re.error, RecursionError, OverflowError) as e:
        yield ("guard", "log", "pattern"), f"is no regular expression: {e}"
    for text in config.validate_.orphans:
        try:
            reference(text)
        except ValueError as e:
            yield ("validate", "orphans"), str(e)


def _addresses(config: Config) -> Iterator[Problem]:
    """A user or password has no place in a file that belongs into version control."""
    guard = config.guard
    given: list[tuple[Loc, str | None]] = [
        (("app", "health"), config.app.health),
        (("guard", "application", "url"), guard.application.url),
        (("guard", "database", "url"), guard.database.url),
        (("guard", "synthetic", "url"), guard.synthetic.url),
        (("guard", "metrics", "url"), guard.metrics.url),
        (("guard", "metrics", "prometheus"), guard.metrics.prometheus),
        (("guard", "notify", "alertmanager"), guard.notify.alertmanager),
        (("validate", "base"), config.validate_.base),
        *((("guard", "dependencies", n, "url"), d.url) for n, d in guard.dependencies.items()),
    ]
    for loc, url in given:
        if url is None:
            continue
        try:
            parts = urlsplit(url)
            known = parts.hostname is not None and (parts.port is None or parts.port > 0)
        except ValueError:  # its text may quote the password
            known = False
        if "@" in url.partition("://")[2].partition("/")[0]:
            yield (
                loc,
                "holds a user or password, and this file holds no secret: let that address answer without"
                " one on loopback, or keep it behind env: or file: where a key takes that",
            )
        elif not known:
            yield loc, "is no address: http://HOST:PORT/PATH"


def _powerless(config: Config) -> Iterator[Problem]:
    """`enforce` that nothing could ever set off."""
    guard, triggers = config.guard, config.guard.triggers
    enforcing: list[Loc] = [("guard", "mode")] if guard.mode == "enforce" else []
    enforcing += [
        ("guard", "severities", n, "mode") for n, s in guard.severities.items() if s.mode == "enforce"
    ]
    measured = guard.metrics.url is not None or guard.metrics.prometheus is not None
    healthy = guard.application.url is not None or config.app.health is not None
    database = guard.database.url is not None or guard.server.enabled
    could = (
        (healthy and (triggers.application_health.enabled or triggers.never_healthy.enabled))
        or (database and triggers.database_health.enabled)
        or (config.app.platform == "process" and triggers.crash_loop.enabled)
        or ((measured or guard.synthetic.url is not None) and triggers.error_rate.enabled)
        or (measured and triggers.latency.enabled)
        or triggers.pool.enabled
        or triggers.log_errors.enabled
        or bool(guard.alerts)
    )
    if enforcing and not could:
        yield enforcing[0], "enforce, and no probe and trigger that could ever roll back: give [app] health"


def _image(image: str) -> Iterator[Problem]:
    loc = ("alerts", "alertmanager_image")
    name, _, tag = image.rpartition("/")[2].partition(":")
    if "@sha256:" in image:
        return
    if not name or not tag:
        yield loc, "needs a tag or a digest: an image without one is another one tomorrow"
    elif tag == "latest":
        yield loc, "`latest` is another image tomorrow: name a version"
