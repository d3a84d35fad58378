"""What must not fire, one after the other, at the example application under load, with a guard that may roll back
by itself. At the end a failure does fire: silence is no proof of a guard that sleeps.
"""

from __future__ import annotations

import threading
import time

from guarded import DATABASE_HEALTH, HEALTH, METRICS, SERVICE, Guarded

WARM_UP_SECONDS = 16.0
FOR_SECONDS = 4.0


def test_what_is_short_small_or_not_postgres_does_not_fire(guarded) -> None:
    check = {"interval_seconds": 1.2}  # five of them are longer than the application needs to start again
    rules = {
        "error_rate": {
            "for_seconds": FOR_SECONDS,
            "window_seconds": 2,
            "min_requests": 20,
            "min_failures": 5,
        },
        "latency": {"floor_seconds": 2.0, "for_seconds": 1, "window_seconds": 2, "min_requests": 20},
        "crash_loop": {"exits": 5},
    }
    watched = {
        "warm_up_seconds": WARM_UP_SECONDS,
        "application": check,
        "database": check,
        "server": check,
        "dependencies": {"tools": {"url": SERVICE, "interval_seconds": 0.3}},
        "triggers": rules,
    }
    g: Guarded = guarded({"guard": watched})
    g.to_postgres(baseline=True)
    begun = time.monotonic()
    failed_requests_in_the_warm_up(g)
    four_failed_checks(g)
    time.sleep(max(0.0, begun + WARM_UP_SECONDS - time.monotonic()))
    slow_below_the_floor(g)
    a_burst(g)
    a_gap_in_the_metrics(g)
    a_restart_of_the_application(g)
    eight_of_ten(g)
    assert {d["action"] for d in g.decisions()} <= {"resolved", "page"}, g.told()
    another_service_that_fails(g)
    assert g.rollbacks() == [] and g.decisions("rollback") == [], g.told()
    g.gateway.fail(HEALTH, 5)
    g.assert_rolled_back("application-health")
    assert g.gateway.failed[HEALTH] == 4 + 5, "not earlier, and not later"


def failed_requests_in_the_warm_up(g: Guarded) -> None:
    """Longer than for_seconds; what is hard counts even then (see test_guard_triggers, never healthy)."""
    g.fault(error_share=1)
    g.wait_verdict("error-rate", lambda v: v["outcome"] == "breach", "failed requests are seen")
    time.sleep(FOR_SECONDS + 0.5)
    g.fault(error_share=0)
    assert g.decisions() == [], g.told()


def four_failed_checks(g: Guarded) -> None:
    g.gateway.fail(HEALTH, 4)
    g.gateway.fail(DATABASE_HEALTH, 2)
    g.wait_until(lambda: g.gateway.failed[HEALTH] == 4, "four checks have failed")
    asked = g.gateway.asked[HEALTH]
    g.wait_until(lambda: g.gateway.asked[HEALTH] > asked + 1, "the next ones were good")
    assert g.gateway.failed[DATABASE_HEALTH] == 2
    g.wait_verdict("application-health", lambda v: v["outcome"] == "ok", "ok again")


def slow_below_the_floor(g: Guarded) -> None:
    """Ten times the baseline, and still quick."""
    g.fault(slow_ms=100)
    slow = g.wait_verdict("latency", lambda v: (v["value"] or 0) > 0.1, "slow requests are seen")
    assert slow["off"] is None and slow["outcome"] == "ok", slow
    time.sleep(1.5)  # longer than for_seconds
    g.fault(slow_ms=0)
    assert not g.verdicts()["latency"]["firing"]


def a_burst(g: Guarded) -> None:
    """Over as soon as it is seen: shorter than for_seconds, also on a slow machine."""
    g.fault(error_share=1)
    g.wait_verdict("error-rate", lambda v: v["outcome"] == "breach", "the burst is seen")
    g.fault(error_share=0)
    g.wait_verdict("error-rate", lambda v: v["outcome"] == "ok", "over")


def a_gap_in_the_metrics(g: Guarded) -> None:
    g.gateway.break_(METRICS, "refuse")
    g.wait_verdict(
        "error-rate", lambda v: v["outcome"] in ("error", "no_data"), "the gap is seen, as no answer"
    )
    g.gateway.mend(METRICS)
    g.wait_verdict("error-rate", lambda v: v["outcome"] == "ok", "it sees again")


def a_restart_of_the_application(g: Guarded) -> None:
    """Its counters begin at 0 again."""
    started = len(g.records("process_started"))
    g.kill_application()
    g.wait_until(lambda: len(g.records("process_started")) > started and g.serving(), "started again")
    g.load.wait(60)
    g.wait_verdict("error-rate", lambda v: v["outcome"] == "ok", "no negative rate")
    g.wait_verdict("application-health", lambda v: v["outcome"] == "ok", "healthy")


def eight_of_ten(g: Guarded) -> None:
    """80 % of nearly nothing is nothing to decide on."""
    g.load.stop()
    g.wait_verdict("error-rate", lambda v: v["outcome"] == "no_data", "no traffic")
    for share, times in ((1, 8), (0, 2)):
        g.fault(error_share=share)
        for _ in range(times):
            try:
                g.ask("GET", "/api/jobs/1")
            except OSError:
                pass  # 500: as the test wants it
    time.sleep(1.0)
    assert g.verdicts()["error-rate"]["outcome"] == "no_data", g.verdicts()["error-rate"]
    g.start_load()


def another_service_that_fails(g: Guarded) -> None:
    """Two of three requests fail, for a reason that a rollback does not mend: it is recommended, with the reason."""
    g.service.ok = False
    ended = threading.Event()
    asking = [threading.Thread(target=ask_for_tools, args=(g, ended)) for _ in range(3)]
    for thread in asking:
        thread.start()
    try:
        held = g.wait_decision("recommend", "error-rate")
        assert "tools" in held["held_back"], held
        g.wait_until(lambda: "tools" in g.hook.text(), g.hook.text)
        g.service.ok = True
        g.wait_until(lambda: g.decisions("resolved"), lambda: f"resolved\n{g.told()}")
    finally:
        ended.set()
        for thread in asking:
            thread.join()


def ask_for_tools(g: Guarded, ended: threading.Event) -> None:
    while not ended.wait(0.01):
        try:
            g.ask("GET", "/api/tools")
        except OSError:
            pass  # 502
