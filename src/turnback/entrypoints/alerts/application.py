"""The runbook's four rules, saying what they are meant to say.

ApplicationDown is about the job as a whole, and about a job that is gone. DatabaseConnectionFailed asks the
guard, which has tried (a counter of health requests says nothing when it is 0). HighErrorRate is a share of
all requests, of a sample. HighResponseTime takes one quantile over all endpoints and instances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from turnback.entrypoints.alerts.cases import Scrapes, lasting_cases, series
from turnback.entrypoints.alerts.promql import Subjects, duration, labels, number, spelled
from turnback.entrypoints.alerts.rule import PERCENT, SHORT, Alert, Case, Fired, lasting
from turnback.entrypoints.config import Config

INSTANCE = {"instance": "application:3000"}
GUARD_INSTANCE = {"instance": "guard:9464"}
QUANTILE = 0.95


def application_alerts(config: Config, who: Subjects) -> Iterator[Alert]:
    """Those of the four that this configuration has metrics for."""
    scrapes = Scrapes(config.alerts.scrape_seconds)
    if who.application is not None:
        yield _down(config, who, scrapes)
    yield _database(config, who, scrapes)
    if who.application is not None and config.guard.metrics.requests and config.guard.metrics.status_label:
        yield _errors(config, who, scrapes)
    if who.application is not None and config.guard.metrics.latency:
        yield _latency(config, who, scrapes)


def left_out(config: Config, who: Subjects) -> dict[str, str]:
    """The alerts of the four that cannot be made, and why."""
    made = {a.name for a in application_alerts(config, who)}
    four = ("ApplicationDown", "DatabaseConnectionFailed", "HighErrorRate", "HighResponseTime")
    why = "there are no metrics of the application: [guard.metrics] url or prometheus names them"
    if who.application is not None:
        why = "[guard.metrics] names no such metric"
    return {name: why for name in four if name not in made}


def _down(config: Config, who: Subjects, scrapes: Scrapes) -> Alert:
    assert who.application is not None
    chosen, by = labels(who.application), ", ".join(who.application)
    lasts = config.alerts.down_seconds
    up, there = series("up", who.application, INSTANCE), Fired(0, who.application)
    other = series("up", who.application, {"instance": "application:3001"})
    end = scrapes.after(lasts)
    absent = Case(
        "nothing to scrape any more",
        {"unrelated": scrapes.constant(1, end)},
        end,
        (Fired(1, who.application),),
    )
    half = Case(
        "one instance of two is down",
        {up: scrapes.constant(0, end), other: scrapes.constant(1, end)},
        end,
    )
    return Alert(
        "ApplicationDown",
        "application",
        "critical",
        f"max by ({by}) (up{{{chosen}}}) == 0 or absent(up{{{chosen}}})",
        lasts,
        f"{config.alerts.name} is down",
        f"No instance of {config.alerts.name} could be scraped{lasting(lasts)}.",
        "`turnback status` says which side serves and whether the way back is open;"
        " `turnback rollback --emergency` takes it.",
        (*lasting_cases(scrapes, lasts, {up: 0}, {up: 1}, (there,), "down"), absent, half),
    )


def _database(config: Config, who: Subjects, scrapes: Scrapes) -> Alert:
    lasts = config.alerts.database_seconds
    trigger = {"trigger": "database-health"}

    def verdict(outcome: str) -> dict[str, str]:
        return {**who.guard, **GUARD_INSTANCE, **trigger, "verdict": outcome}

    breach, ok = (series("turnback_trigger_verdict", verdict(v)) for v in ("breach", "ok"))
    blind = Case(
        "the guard cannot tell",
        {breach: scrapes.constant(0, lasts * 2), ok: scrapes.constant(0, lasts * 2)},
        scrapes.after(lasts),
    )
    chosen = labels({**who.guard, **trigger, "verdict": "breach"})
    return Alert(
        "DatabaseConnectionFailed",
        "database",
        "warning",
        f"turnback_trigger_verdict{{{chosen}}} == 1",
        lasts,
        f"{config.alerts.name} does not reach its database",
        f"The checks of the database's health have failed{lasting(lasts)}.",
        "`turnback status` shows what failed; where PostgreSQL is down: start it, or `turnback rollback`.",
        (
            *lasting_cases(
                scrapes,
                lasts,
                {breach: 1, ok: 0},
                {breach: 0, ok: 1},
                (Fired(1, verdict("breach")),),
                "failing",
            ),
            blind,
        ),
    )


def _errors(config: Config, who: Subjects, scrapes: Scrapes) -> Alert:
    assert who.application is not None
    metrics, alerts, rule = config.guard.metrics, config.alerts, config.guard.triggers.error_rate
    name, status = metrics.requests[0], metrics.status_label[0]
    window = duration(alerts.error_window_seconds)
    everything = ",".join(p for p in (labels(who.application), who.ignored) if p)
    failed = f'{everything},{status}=~"5.."'
    expr = (
        f"(sum(rate({name}{{{failed}}}[{window}])) / sum(rate({name}{{{everything}}}[{window}])))"
        f" > {number(rule.limit)}\n"
        f"and sum(increase({name}{{{everything}}}[{window}])) >= {rule.min_requests}\n"
        f"and sum(increase({name}{{{failed}}}[{window}])) >= {rule.min_failures}"
    )
    return Alert(
        "HighErrorRate",
        "application",
        "warning",
        expr,
        alerts.error_for_seconds,
        f"Requests to {alerts.name} fail",
        f"{PERCENT} of the requests of the last {spelled(alerts.error_window_seconds)} failed (limit"
        f" {rule.limit * 100:.4g}%, at least {rule.min_requests} requests and {rule.min_failures} failures)"
        f"{lasting(alerts.error_for_seconds)}.",
        "Look for the cause in the application's log; where it is the database: `turnback rollback`.",
        tuple(_error_cases(config, who, scrapes)),
    )


def _error_cases(config: Config, who: Subjects, scrapes: Scrapes) -> Iterator[Case]:
    assert who.application is not None
    metrics, alerts, rule = config.guard.metrics, config.alerts, config.guard.triggers.error_rate
    window, lasts = alerts.error_window_seconds, alerts.error_for_seconds
    end = window + scrapes.after(lasts) + scrapes.seconds * 4
    end = scrapes.at(scrapes.count(end))

    def counter(status: str, endpoint: str = "/api/jobs") -> str:
        chosen = {metrics.status_label[0]: status}
        if metrics.endpoint_label:
            chosen[metrics.endpoint_label[0]] = endpoint
        return series(metrics.requests[0], who.application or {}, INSTANCE, chosen)

    # so many requests a scrape that any window holds ten times the sample
    per_window = window / scrapes.seconds
    scale = math.ceil(10 * max(rule.min_requests, rule.min_failures / rule.limit, 1) / per_window / 1000)
    total = 1000 * scale
    sick = round(total * (rule.limit + 1) / 2)
    fine = math.floor(total * rule.limit / 2)

    def traffic(failing: int, growth: float = 1) -> dict[str, str]:
        return {
            counter("200"): scrapes.growing((total - failing) * growth, end),
            counter("503"): scrapes.growing(failing * growth, end),
        }

    yield Case("over the limit", traffic(sick), end, (Fired(sick / total),))
    yield Case("many failures a second, but a small share", traffic(fine), end)
    yield Case("over the limit, but not for long enough", traffic(sick), scrapes.before(lasts))
    if rule.min_requests >= 2:  # eight of ten, in a quiet hour
        quiet = rule.min_requests / 2 / per_window / total
        yield Case("8 of 10 failed, below the sample", traffic(round(total * 0.8), quiet), end)
    yield Case(
        "the application restarted, its counters began again",
        {
            counter("200"): f"{scrapes.growing(total, end / 2, 7 * total)} {scrapes.growing(total, end / 2)}",
            counter("503"): f"{scrapes.growing(0, end / 2, 5 * total)} {scrapes.growing(0, end / 2)}",
        },
        end,
    )
    if metrics.endpoint_label:
        spread = {counter("503", f"/api/jobs/{n}"): scrapes.growing(sick / 20, end) for n in range(20)}
        yield Case(
            "each endpoint fails a little, all together over the limit",
            {counter("200"): scrapes.growing(total - sick, end), **spread},
            end,
            (Fired(sick / total),),
        )
    if metrics.endpoint_label and metrics.ignore_endpoints:
        probes = {counter("503", metrics.ignore_endpoints[0]): scrapes.growing(total, end)}
        yield Case("only health checks fail", {counter("200"): scrapes.growing(total, end), **probes}, end)


def _latency(config: Config, who: Subjects, scrapes: Scrapes) -> Alert:
    assert who.application is not None
    alerts, rule = config.alerts, config.guard.triggers.latency
    name, window = config.guard.metrics.latency[0], duration(alerts.latency_window_seconds)
    chosen = ",".join(p for p in (labels(who.application), who.ignored) if p)
    expr = (
        f"histogram_quantile({QUANTILE}, sum by (le) (rate({name}_bucket{{{chosen}}}[{window}])))"
        f" > {number(alerts.latency_limit_seconds)}\n"
        f"and sum(increase({name}_count{{{chosen}}}[{window}])) >= {rule.min_requests}"
    )
    return Alert(
        "HighResponseTime",
        "performance",
        "warning",
        expr,
        alerts.latency_for_seconds,
        f"{alerts.name} answers slowly",
        f"The 95th percentile of the last {spelled(alerts.latency_window_seconds)} is {SHORT} s (limit"
        f" {number(alerts.latency_limit_seconds)} s){lasting(alerts.latency_for_seconds)}.",
        "`turnback status` compares with the baseline; look for slow queries in the database that serves.",
        tuple(_latency_cases(config, who, scrapes)),
    )


def _latency_cases(config: Config, who: Subjects, scrapes: Scrapes) -> Iterator[Case]:
    metrics, alerts, rule = config.guard.metrics, config.alerts, config.guard.triggers.latency
    limit, window, lasts = (
        alerts.latency_limit_seconds,
        alerts.latency_window_seconds,
        alerts.latency_for_seconds,
    )
    end = scrapes.at(scrapes.count(window + scrapes.after(lasts) + scrapes.seconds * 4))
    total = 100 * math.ceil(10 * rule.min_requests / (window / scrapes.seconds) / 100)

    def histogram(endpoint: str, fast: float, slow: float) -> dict[str, str]:
        """`fast` requests a scrape within a tenth of the limit, `slow` ones between it and its double."""
        chosen = {**(who.application or {}), **INSTANCE}
        if metrics.endpoint_label:
            chosen[metrics.endpoint_label[0]] = endpoint
        counts = {number(limit / 10): fast, number(limit): fast, number(limit * 2): fast + slow}
        counts["+Inf"] = fast + slow
        made = {
            series(f"{metrics.latency[0]}_bucket", chosen, {"le": le}): scrapes.growing(n, end)
            for le, n in counts.items()
        }
        return made | {series(f"{metrics.latency[0]}_count", chosen): scrapes.growing(fast + slow, end)}

    slow = histogram("/api/jobs", 0, total)
    yield Case("all slow", slow, end, (Fired(limit * (1 + QUANTILE)),))
    yield Case("all fast", histogram("/api/jobs", total, 0), end)
    yield Case("slow, but not for long enough", slow, scrapes.before(lasts))
    if metrics.endpoint_label:
        rare = histogram("/api/report", 0, total / 100)
        yield Case("one rare endpoint is slow", histogram("/api/jobs", total, 0) | rare, end)
    if rule.min_requests >= 2:
        few = rule.min_requests / 2 / (window / scrapes.seconds)
        yield Case("slow, below the sample", histogram("/api/jobs", 0, few), end)
