"""The rules of the watch: when a trigger fires, when it does not, and what is decided from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import test_watch_checks as checks
import test_watch_decisions as decisions
import test_watch_normal as normal
import test_watch_rates as rates
import test_watch_readiness as ready
import test_watch_refuted as refuted
import test_watch_which_cause as cause
import test_watch_window as windows

from mutants import Mutant, Place, always, demand, never, nothing
from mutants.rewritten import caught_by, rewritten
from mutants.told import swap
from observing import ENFORCE, Scene
from turnback.core.watch import decision, readiness, severity, window
from turnback.core.watch import rates as of_rates
from turnback.core.watch import watch as of_watch
from turnback.core.watch.normal import BackToNormal
from turnback.core.watch.rates import (
    Against,
    ErrorRateTrigger,
    LatencyTrigger,
    LogErrorsTrigger,
    RateTrigger,
)
from turnback.core.watch.rules import ErrorRate
from turnback.core.watch.sight import Sight
from turnback.core.watch.sustained import Row, SomeOf, Sustained
from turnback.core.watch.triggers import (
    AlertTrigger,
    CrashLoopTrigger,
    Health,
    NeverHealthyTrigger,
    PoolTrigger,
    Trigger,
)
from turnback.core.watch.verdict import ReadinessPart
from turnback.core.watch.watch import Watch
from turnback.core.watch.whose import Whose
from turnback.core.watch.window import Readings


def _is_ok(name: str) -> Any:
    """In place of a part of readiness."""
    return lambda *_: ReadinessPart(name, True, "whatever it is")


def five_minutes_to_the_second(_: Place) -> None:
    scene = Scene(replace(ENFORCE, error_rate=ErrorRate(window_seconds=10))).run(60)
    scene.run(310, failing=0.5)  # the first evaluation is of the first ten seconds
    demand(scene.decisions == [], "it fires, and five minutes are not more than five")
    assert scene.run(10, failing=0.5).actions == [("rollback", "error-rate")]


SCENARIOS = [five_minutes_to_the_second]

_FEW = {"seconds": 300, "after": "healthy"}

_CHECKS = {
    "consecutive count": caught_by(
        checks.test_four_failed_checks_do_not_fire_and_five_do,
        "the first failed check fires",
        rewritten(Row, "met", "self.failed >= self.needed", "self.failed >= 1"),
    ),
    "one ok check starts it again": caught_by(
        checks.test_an_ok_check_between_starts_it_again,
        "failed checks are counted whatever lies between them",
        rewritten(Row, "step", "        self.failed = 0\n", ""),
    ),
    "as many ok checks to recover": caught_by(
        checks.test_it_recovers_after_as_many_ok_checks,
        "one ok check ends a breach that fires",
        rewritten(Row, "step", "if not self.firing or self.passed >= self.needed:", "if True:"),
    ),
    "each probe counts for itself": caught_by(
        checks.test_failures_of_two_probes_are_not_added_up,
        "failed checks of two probes are one row",
        rewritten(
            Health,
            "__init__",
            "{probe: Row(rule.failures) for probe in probes}",
            "dict.fromkeys(probes, Row(rule.failures))",
        ),
    ),
    "an error is no failed check": caught_by(
        checks.test_a_probe_that_is_broken_neither_adds_nor_starts_again,
        "a probe that is broken counts as a check that failed",
        rewritten(
            Health,
            "_broken",
            "self._said[probe] =",
            "self._rows[probe].step(0.0, False); self._said[probe] =",
        ),
    ),
    "an error is no ok check": caught_by(
        checks.test_a_probe_that_is_broken_neither_adds_nor_starts_again,
        "a probe that is broken starts the count again",
        rewritten(
            Health, "_broken", "self._said[probe] =", "self._rows[probe].step(0.0, True); self._said[probe] ="
        ),
    ),
    "an error is never ok": caught_by(
        checks.test_a_probe_that_is_broken_neither_adds_nor_starts_again,
        "a probe that is broken is a verdict ok",
        rewritten(Trigger, "take", "Outcome.ERROR", "Outcome.OK"),
    ),
    "silence is no data": caught_by(
        checks.test_a_probe_that_falls_silent_is_no_data_as_soon_as_another_speaks,
        "a probe that says nothing any more says what it said last",
        swap(Watch, "_listen", nothing),
    ),
    "never healthy: the time": caught_by(
        checks.test_a_start_without_a_healthy_answer_fires_though_it_warms_up,
        "a start has no time to become healthy",
        rewritten(NeverHealthyTrigger, "_judge", "self.value >= (self.limit or 0.0) or", "True or"),
    ),
    "never healthy: one healthy answer": caught_by(
        checks.test_one_healthy_answer_is_enough,
        "an application that was healthy counts as one that never was",
        rewritten(NeverHealthyTrigger, "_judge", "(self._ok_since is not None and not self.firing)", "False"),
    ),
    "never healthy: before the watch": caught_by(
        checks.test_what_was_before_the_watch_is_not_held_against_the_application,
        "the time before the guard's start counts as watched",
        rewritten(
            Watch,
            "_situate",
            "self._never.started(at)",
            "self._never.started(since)",
            (" and at - since < self.rules.never_healthy.seconds", ""),
        ),
    ),
    "crash loop: the count": caught_by(
        checks.test_three_exits_in_two_minutes_are_a_crash_loop,
        "one exit is a crash loop",
        rewritten(CrashLoopTrigger, "_judge", "count >= (self.limit or 0.0)", "count >= 1"),
    ),
    "crash loop: the time": caught_by(
        checks.test_exits_that_are_further_apart_are_none,
        "exits of hours ago count",
        rewritten(CrashLoopTrigger, "_judge", "<= at - self._within", "< 0"),
    ),
    "crash loop: exits before the guard": caught_by(
        checks.test_three_exits_in_two_minutes_are_a_crash_loop,
        "the counter's first reading counts as exits of now",
        rewritten(CrashLoopTrigger, "__init__", "self._exits: int | None = None", "self._exits = 0"),
    ),
    "crash loop: a counter that fell": caught_by(
        checks.test_the_guard_s_own_restart_counts_no_exit_twice,
        "a counter that begins anew gives exits below zero",
        rewritten(
            CrashLoopTrigger, "_judge", "exits - self._exits if exits > self._exits else exits", "9 - exits"
        ),
    ),
    "pool: so many of the last readings": caught_by(
        checks.test_two_of_five_do_not_fire_however_often,
        "one exhausted reading fires",
        rewritten(SomeOf, "step", "self.count >= self.needed", "self.count >= 1"),
    ),
    "pool: timeouts by their growth": caught_by(
        checks.test_timeouts_count_by_their_growth,
        "timeouts of long ago count in every reading",
        rewritten(PoolTrigger, "_of_metrics", "pool.timeouts != before", "pool.timeouts > 0"),
    ),
    "pool: full is not exhausted": caught_by(
        checks.test_a_full_pool_in_which_nobody_waits_is_busy_not_exhausted,
        "a busy pool is an exhausted one",
        rewritten(PoolTrigger, "_of_metrics", "full and pool.waiting is None", "full"),
    ),
    "alert: until it is resolved": caught_by(
        checks.test_an_alert_fires_until_it_is_resolved_with_the_configured_severity,
        "an alert fires on, though it was resolved",
        rewritten(AlertTrigger, "_judge", "self._firing.pop(fingerprint, None)", "pass"),
    ),
    "alert: of its own name": caught_by(
        checks.test_an_alert_that_nobody_configured_is_ignored,
        "any alert is the one that rolls back",
        rewritten(AlertTrigger, "_judge", 'if value["name"] != self._alert:', "if False:"),
    ),
    "time: another boot": caught_by(
        checks.test_the_time_of_another_boot_starts_everything_anew,
        "checks before a restart of the machine are counted on",
        rewritten(of_watch.Watch, "take", "self._at - o.at > ANOTHER_BOOT_SECONDS", "False"),
    ),
    "time: never back": caught_by(
        checks.test_an_observation_that_comes_a_little_late_is_taken_at_the_newest_time,
        "an observation that is late goes back in time",
        rewritten(of_watch.Watch, "take", "o = replace(o, at=self._at)", "pass"),
    ),
    "off: a trigger without a probe": caught_by(
        rates.test_without_metrics_and_requests_of_its_own_the_trigger_is_off,
        "a trigger that nothing feeds is not said to be off",
        rewritten(Watch, "_make", "elif r.intervals and", "elif False and"),
    ),
    "off: switched off": caught_by(
        checks.test_a_trigger_that_is_switched_off_says_so,
        "a trigger that was switched off fires",
        rewritten(Watch, "_make", "if not enabled:", "if False:"),
    ),
}

_RATES = {
    "error rate: the limit": caught_by(
        rates.test_five_percent_is_the_limit_and_not_over_it,
        "at the limit is over it",
        rewritten(
            ErrorRateTrigger, "_judge", "over = self.value > rule.limit", "over = self.value >= rule.limit"
        ),
    ),
    "error rate: min_requests": caught_by(
        rates.test_eight_of_ten_failed_requests_in_a_quiet_hour_are_no_sample,
        "ten requests are a sample",
        rewritten(ErrorRateTrigger, "_judge", "or total < rule.min_requests", ""),
    ),
    "error rate: min_failures": caught_by(
        rates.test_four_failures_are_no_sample_however_few_requests_there_are,
        "four failures are a sample",
        rewritten(ErrorRateTrigger, "_judge", "if over and failed < rule.min_failures:", "if False:"),
    ),
    "every evaluation over the limit": caught_by(
        rates.test_one_ok_evaluation_starts_it_again,
        "an evaluation below the limit does not start the breach again",
        rewritten(
            Sustained,
            "below",
            "self._over_since, self.met = None, False",
            "self.met = False",
            ("        self.since = self._last = None\n        return", "        return"),
        ),
    ),
    "for so long": caught_by(
        rates.test_a_burst_of_five_minutes_or_less_does_not_fire,
        "the first evaluation over the limit fires",
        rewritten(Sustained, "over", "self.lasted() > self.for_seconds", "True"),
        seconds=60,
        after="healthy",
    ),
    "for longer than so long": Mutant(
        "five minutes are more than five minutes",
        rewritten(Sustained, "over", "self.lasted() > self.for_seconds", "self.lasted() >= self.for_seconds"),
        five_minutes_to_the_second,
        "five minutes are not more than five",
    ),
    "error rate: the newest slice is over": caught_by(
        rates.test_a_burst_of_five_minutes_or_less_does_not_fire,
        "a burst that is over fires because the window still shows it",
        rewritten(
            ErrorRateTrigger, "_judge", "of_newest > 0 and newest.failed / of_newest > rule.limit", "True"
        ),
        **_FEW,
    ),
    "error rate: a slice without requests": caught_by(
        rates.test_a_burst_of_five_minutes_or_less_does_not_fire,
        "silence after a burst confirms it",
        rewritten(
            ErrorRateTrigger,
            "_judge",
            "of_newest > 0 and newest.failed / of_newest > rule.limit",
            "not of_newest or newest.failed / of_newest > rule.limit",
        ),
        seconds=300,
        after="silence",
    ),
    "no data adds nothing": caught_by(
        rates.test_no_data_in_a_breach_neither_ends_it_nor_adds_to_it,
        "time without data counts as breach",
        rewritten(Sustained, "over", "elif self._dark:", "elif False:"),
    ),
    "no data ends nothing": caught_by(
        rates.test_no_data_in_a_breach_neither_ends_it_nor_adds_to_it,
        "time without data starts the breach again",
        rewritten(Sustained, "no_data", "self._dark = True", "self.since = self._last = None"),
    ),
    "no data is never ok": caught_by(
        rates.test_no_data_in_a_breach_neither_ends_it_nor_adds_to_it,
        "too small a sample is a verdict ok",
        rewritten(RateTrigger, "_no_data", "Outcome.NO_DATA", "Outcome.OK"),
    ),
    "a broken probe is no recovery": caught_by(
        rates.test_a_metrics_endpoint_that_vanishes_is_no_recovery,
        "metrics that cannot be read end a breach",
        rewritten(RateTrigger, "_broken", "super()._broken(probe, outcome, problem)", "self.again()"),
    ),
    "counter reset": caught_by(
        windows.test_a_series_that_fell_has_restarted_and_no_rate_is_negative,
        "a counter that fell gives fewer requests than none",
        rewritten(window, "_growth", " or after < before", ""),
    ),
    "a new instance has no history": caught_by(
        windows.test_an_instance_that_comes_counts_from_its_second_reading,
        "all that a new instance has ever counted happened just now",
        rewritten(windows, "difference", "if r.instance not in known:", "if False:"),
    ),
    "scrape gap": caught_by(
        rates.test_a_scrape_gap_is_no_rate,
        "what failed in a gap counts as one slice",
        rewritten(Readings, "take", "or at - before[0] > self._gap", ""),
    ),
    "slices leave the window": caught_by(
        windows.test_a_gap_of_more_than_three_intervals_is_no_slice,
        "readings as far apart as you like are neighbours",
        rewritten(Readings, "take", "or at - before[0] > self._gap", ""),
    ),
    "hysteresis: below the recovery level": caught_by(
        rates.test_it_recovers_below_80_percent_of_the_limit_for_as_long_as_it_took,
        "just below the limit is recovered",
        rewritten(Sustained, "below", "if not recovered:", "if False:"),
    ),
    "hysteresis: for as long": caught_by(
        rates.test_it_recovers_below_80_percent_of_the_limit_for_as_long_as_it_took,
        "one good evaluation ends a breach that fires",
        rewritten(
            Sustained, "below", "at - self._calm_since - self._calm_paused >= self.for_seconds", "True"
        ),
    ),
    "latency: the floor": caught_by(
        rates.test_three_times_slower_below_the_floor_does_not,
        "8 ms more are a slowdown where 4 ms are normal",
        swap(of_rates, "allowed", lambda before, rule: before * rule.ratio),
    ),
    "latency: the ratio": caught_by(
        rates.test_forty_percent_slower_does_not,
        "50 ms more are a slowdown where a second is normal",
        swap(of_rates, "allowed", lambda before, rule: before + rule.floor_seconds),
    ),
    "latency: the mix of routes": caught_by(
        rates.test_another_mix_of_requests_is_no_slowdown,
        "the baseline is weighed as the requests of then",
        rewritten(Against, "compare", "weight * shares[i]", "routes[name].counts[-1] * shares[i]"),
    ),
    "latency: routes without a baseline": caught_by(
        rates.test_a_route_that_the_baseline_does_not_have_does_not_count,
        "a new route is held against the baseline of others",
        rewritten(
            Against,
            "compare",
            "for name, bounds, counts in common:\n        weight",
            "for name, bounds, counts in [*common, *((common[0][0], b, c) for (n, b), c in now.items() if n"
            " not in routes)]:\n        weight",
        ),
    ),
    "latency: min_requests": caught_by(
        rates.test_fewer_requests_than_a_sample_are_no_data,
        "a handful of requests has a 95th percentile",
        rewritten(LatencyTrigger, "_judge", " or count < rule.min_requests", ""),
    ),
    "latency: the newest slice is slow": caught_by(
        rates.test_a_burst_does_not,
        "a slow burst that is over fires because the window still shows it",
        swap(LatencyTrigger, "_slice_is_slow", always),
        seconds=290,
    ),
    "latency: off without a baseline": caught_by(
        rates.test_without_a_baseline_only_this_trigger_is_off_and_says_why,
        "without a baseline nothing is said",
        rewritten(LatencyTrigger, "__init__", "self.off = NO_BASELINE", "pass"),
    ),
    "log: a burst": caught_by(
        rates.test_as_many_as_the_limit_or_a_burst_do_not,
        "a burst of error lines fires",
        swap(Sustained, "lasted", lambda self: 1e9),
    ),
    "log: a rotated file": caught_by(
        rates.test_a_log_that_is_rotated_in_a_breach_hides_nothing,
        "a log that begins anew gives lines below zero",
        rewritten(
            LogErrorsTrigger,
            "_judge",
            "errors - before[1] if errors >= before[1] else errors",
            "errors - before[1]",
        ),
    ),
    "log: off by default": caught_by(
        rates.test_it_is_off_by_default,
        "lines of a log roll back though nobody asked for it",
        rewritten(Watch, "_make", "r.log_errors.enabled", "True"),
    ),
}

_DECISIONS = {
    "warm-up: soft triggers wait": caught_by(
        decisions.test_while_it_warms_up_only_the_hard_failures_count,
        "a pool that fills while the application warms up rolls back",
        rewritten(Watch, "_decide", "not (self._warm and t.name not in HARD)", "True"),
    ),
    "warm-up: hard ones do not": caught_by(
        decisions.test_while_it_warms_up_only_the_hard_failures_count,
        "an application that is dead waits for the end of its warm-up",
        rewritten(Watch, "_decide", "not (self._warm and t.name not in HARD)", "not self._warm"),
    ),
    "warm-up: counts from its end": caught_by(
        decisions.test_what_began_in_the_warm_up_counts_from_its_end,
        "what failed in the warm-up counts",
        rewritten(Watch, "_warm_up", "if was and not self._warm:", "if False:"),
    ),
    "warm-up: an alert lasts until it is resolved": caught_by(
        decisions.test_an_alert_of_the_warm_up_that_still_fires_counts_at_its_end,
        "an alert of the warm-up is forgotten at its end",
        rewritten(Watch, "_warm_up", "and not name.startswith(ALERT)", ""),
    ),
    "suspension: nothing is taken": caught_by(
        decisions.test_the_fence_of_a_run_is_no_failure,
        "what a run does to the application is a failure of it",
        rewritten(Watch, "take", "if self.suspended:\n        return None", "pass"),
        phase="on_postgres",
    ),
    "suspension: windows begin anew": caught_by(
        decisions.test_windows_begin_anew_after_a_run,
        "the windows do not begin anew after a run",
        rewritten(
            Watch, "_situate", "if before.open_run is not None or before.phase != now.phase:", "if False:"
        ),
    ),
    "discrimination: another service": caught_by(
        decisions.test_a_failing_dependency_with_a_good_database_is_a_recommendation,
        "it rolls back for a mail server",
        rewritten(of_watch, "held_back", "if failing:", "if False:"),
    ),
    "discrimination: causes": caught_by(
        decisions.test_failures_by_cause,
        "failures that are not PostgreSQL's roll back",
        rewritten(of_watch, "held_back", "if total > 0 and", "if False and"),
    ),
    "discrimination: half of the causes": caught_by(
        decisions.test_failures_by_cause,
        "one failure of another cause holds back all of them",
        swap(decision, "OTHER_CAUSE_SHARE", 0.0),
    ),
    "discrimination: the database is ok": caught_by(
        decisions.test_a_dependency_holds_nothing_back_while_the_database_is_not_known_to_be_good,
        "another service holds back what PostgreSQL causes",
        rewritten(of_watch, "held_back", " or database is not Outcome.OK", ""),
        database={"database": False},
    ),
    "discrimination: the database is known to be ok": caught_by(
        decisions.test_a_dependency_holds_nothing_back_while_the_database_is_not_known_to_be_good,
        "a database that nobody sees is taken for a good one",
        rewritten(of_watch, "held_back", "database is not Outcome.OK", "database is Outcome.BREACH"),
        database={"broken": ["database"]},
    ),
    "discrimination: PostgreSQL itself": caught_by(
        decisions.test_what_is_postgresql_itself_is_never_held_back,
        "another service holds back an exhausted pool",
        rewritten(of_watch, "held_back", "trigger not in DISCRIMINATED or ", ""),
        trigger="pool",
    ),
    "discrimination: not for one failed check": caught_by(
        decisions.test_one_failed_check_of_the_dependency_holds_nothing_back,
        "one failed check of another service holds a rollback back",
        rewritten(Sight, "failing_dependencies", "seen.refused >= times", "seen.refused >= 1"),
    ),
    "discrimination: not for a broken probe": caught_by(
        decisions.test_a_dependency_that_cannot_be_asked_holds_nothing_back,
        "a service that cannot be asked holds back",
        rewritten(Sight, "failing_dependencies", "and seen.error is None", ""),
    ),
    "discrimination: then it has to last anew": caught_by(
        decisions.test_with_the_dependency_back_the_failures_have_to_last_anew,
        "with the service back it rolls back for what that service caused",
        rewritten(Watch, "_fired", "trigger.again()\n        return None", "pass"),
    ),
    "discrimination: a dead application is no witness": caught_by(
        decisions.test_a_dead_application_does_not_vouch_for_its_database,
        "the dead application's database check counts",
        swap(Whose, "_dead", never),
    ),
    "the right cause": caught_by(
        cause.test_the_cause_is_the_right_one,
        "an application that is dead is a database that is down",
        swap(Whose, "_dead", never),
        application=cause.DEAD,
        database=cause.DEAD,
        server=cause.THERE,
        trigger="application-health",
        seconds=40,
        first="database",
    ),
    "not on what recovers": caught_by(
        decisions.test_a_hold_does_not_become_a_rollback_of_what_recovers,
        "a rollback of what is getting well",
        swap(Watch, "_shown", always),
    ),
    "not on what nobody sees": caught_by(
        decisions.test_a_hold_does_not_become_a_rollback_of_what_nobody_sees,
        "a rollback of what was seen an hour ago",
        swap(Watch, "_shown", always),
    ),
    "the worst that nothing holds back": caught_by(
        decisions.test_what_is_not_held_back_goes_before_what_is_worse_and_held_back,
        "what is held back hides what is not",
        rewritten(of_watch, "chosen", "one.held_back is not None, ", "False, "),
    ),
    "readiness is asked": caught_by(
        decisions.test_what_is_not_ready_holds_names_the_part_and_rolls_back_as_soon_as_it_is,
        "it rolls back though the fallback is far behind",
        rewritten(of_watch, "action", "if ready.ready:", "if True:"),
    ),
    "latch: of this watch": caught_by(
        decisions.test_the_watch_latches_by_itself,
        "two rollbacks of one cutover",
        rewritten(Watch, "latched", "self.situation.latched or self._taken", "self.situation.latched"),
    ),
    "latch: of the journal": caught_by(
        decisions.test_a_latch_that_the_journal_tells_holds,
        "a rollback though the journal has one of this cutover",
        rewritten(Watch, "latched", "self.situation.latched or self._taken", "self._taken"),
    ),
    "latch: holds": caught_by(
        decisions.test_one_rollback_until_the_next_cutover,
        "a latch that holds nothing",
        rewritten(of_watch, "action", "if latched:", "if False:"),
    ),
    "latch: a new cutover lifts it": caught_by(
        decisions.test_the_next_cutover_arms_it_again,
        "after a new cutover nothing rolls back any more",
        rewritten(Watch, "_situate", "self._taken = self._run_seen = False", "pass"),
    ),
    "mode observe": caught_by(
        decisions.test_the_mode_says_what_is_done,
        "mode observe does more than observe",
        rewritten(of_watch, "action", 'if mode == "observe":', "if False:"),
        mode="observe",
        action="observe",
    ),
    "mode recommend": caught_by(
        decisions.test_the_mode_says_what_is_done,
        "mode recommend rolls back",
        rewritten(of_watch, "action", ' or mode == "recommend"', ""),
        mode="recommend",
        action="recommend",
    ),
    "mode of a severity": caught_by(
        decisions.test_a_severity_may_have_a_mode_of_its_own,
        "the mode of a severity is not asked",
        swap(decision, "mode_of", lambda rules, severity: rules.mode),
    ),
    "phases": caught_by(
        decisions.test_in_other_phases_nothing_is_decided,
        "it decides in the middle of a move",
        rewritten(Watch, "_decide", "if self.situation.phase not in _DECIDES:", "if False:"),
        phase="rolling_back",
    ),
    "never on SQLite": caught_by(
        decisions.test_on_sqlite_it_pages_and_never_rolls_back,
        "a rollback on SQLite",
        rewritten(Watch, "_action", "if self.situation.phase == Phase.ON_SQLITE:", "if False:"),
    ),
    "a probe that sees nothing is told": caught_by(
        decisions.test_a_probe_that_gives_nothing_is_told_once_and_again_when_it_sees,
        "a guard that sees nothing says nothing",
        swap(Sight, "blind", lambda *_: {}),
        how="broken",
    ),
    "a probe that is silent is told": caught_by(
        decisions.test_a_probe_that_gives_nothing_is_told_once_and_again_when_it_sees,
        "a probe whose thread is gone is not missed",
        swap(Sight, "silent", never),
        how="off",
    ),
    "resolved is seen, not only unseen": caught_by(
        decisions.test_what_was_told_is_resolved_on_the_other_side_when_it_is_seen_to_be_good,
        "windows that begin anew are a recovery",
        rewritten(
            Watch, "_resolve", "trigger.outcome is Outcome.OK", "trigger.outcome is not Outcome.BREACH"
        ),
    ),
    "severity by the share": caught_by(
        rates.test_the_severity_is_the_share_of_failed_requests,
        "every failure is critical",
        swap(severity, "of_share", lambda rules, share: "critical"),
        failing=0.21,
        severity="medium",
        objective=3600,
    ),
    "severity of a critical endpoint": caught_by(
        rates.test_a_critical_endpoint_that_fails_is_high_at_least,
        "a critical endpoint is one of many",
        rewritten(of_watch, "of_errors", "worst_of(rules.critical_endpoints,", "worst_of((),"),
        harm="IndexError|AssertionError",
    ),
    "severity: told once": caught_by(
        rates.test_a_severity_that_goes_up_and_down_is_told_once,
        "a share around a line is told again and again",
        rewritten(Watch, "_fired", "graded = known", "pass"),
    ),
}

_REFUTED = {
    "own requests are no recovery": caught_by(
        refuted.test_the_guard_s_own_good_requests_are_no_recovery_while_the_metrics_are_gone,
        "a metrics endpoint that vanishes looks like recovery, where the guard's own requests are good",
        rewritten(ErrorRateTrigger, "_judge", "if self._blind and not (over and confirmed):", "if False:"),
        how="broken",
    ),
    "a rate that is met now": caught_by(
        refuted.test_after_an_ok_evaluation_a_held_error_rate_has_to_last_again,
        "what was held back acts on one evaluation",
        rewritten(RateTrigger, "_step", "self.acute = self._lasting.met", "self.acute = confirmed"),
    ),
    "checks that are met now": caught_by(
        refuted.test_after_an_ok_check_a_held_health_needs_all_its_failures_again,
        "what was held back acts on one failed check",
        rewritten(Health, "_judge", "self.acute = row.met", "self.acute = not ok"),
    ),
    "whose failure it is": caught_by(
        refuted.test_an_application_that_is_asked_less_often_is_still_what_is_dead,
        "a dead application that is asked less often is a dead database",
        swap(Whose, "_not_heard_since", never),
        every=30.0,
    ),
    "an application that answers is not dead": caught_by(
        refuted.test_an_application_that_answers_is_no_excuse_for_its_database_check,
        "a hanging database is the application's fault, because that says 503",
        rewritten(Whose, "_dead", 'or seen.value.get("answered") is not False', ""),
    ),
    "failures under no cause": caught_by(
        refuted.test_failures_that_are_counted_under_no_cause_may_be_postgresql_s,
        "one failure of another cause excuses fifty of none",
        rewritten(
            of_watch,
            "held_back",
            "max(sum(causes.causes.values()), causes.failed)",
            "sum(causes.causes.values())",
        ),
    ),
    "a critical endpoint is a breach": caught_by(
        refuted.test_a_critical_endpoint_that_fails_is_a_breach_though_it_is_two_of_a_hundred_requests,
        "nobody may pay, and nothing is wrong",
        rewritten(ErrorRateTrigger, "_judge", "if self._worst is not None and not over:", "if False:"),
    ),
    "observe says nothing": caught_by(
        refuted.test_what_was_only_recorded_is_not_told_to_be_over_and_is_recorded_each_time,
        "the end is told of what nobody was told of",
        rewritten(Watch, "_decide", "if what is not Action.OBSERVE:", "if True:"),
    ),
    "each end is told": caught_by(
        refuted.test_what_is_over_is_told_though_another_goes_on_and_that_one_is_not_told_again,
        "what is over is told only when all is",
        rewritten(
            Watch,
            "_decide",
            "return self._resolve(at, utc) or self._look(at, utc)\n    self._told",
            "return self._look(at, utc)\n    self._told",
        ),
    ),
    "pool: a view that is gone": caught_by(
        refuted.test_a_view_of_the_pool_that_is_gone_says_nothing_any_more,
        "a reading of long ago is a breach for ever",
        rewritten(PoolTrigger, "_broken", "self._said.pop(probe, None)", "pass"),
        how="not exported",
    ),
}

_READINESS = {
    **{
        f"readiness: {name}": caught_by(
            ready.test_each_part_blocks_and_says_why,
            f"the part {name} does not count",
            swap(readiness, f"_{name}", _is_ok(name)),
            values=values,
            name=name,
            says=says,
        )
        for name, values, says in (
            ("fallback", {"capture": {"lag_seconds": 60.1}}, "60.1 s behind"),
            ("slot", {"slot": {"wal_status": "lost"}}, "lost"),
            ("disk", {"disk": {"free_bytes": 99, "needed_bytes": 100}}, "99 bytes free, 100 needed"),
            (
                "schema",
                {"capture": {"state": "streaming", "error": "schema drift: column a was dropped"}},
                "column a was dropped",
            ),
        )
    },
    **{
        f"readiness: {probe}": caught_by(
            ready.test_what_is_told_now_and_then,
            f"the part {probe} does not count",
            swap(readiness, f"_{probe}", _is_ok(probe)),
            probe=probe,
            value=value,
            ok=False,
        )
        for probe, value in (
            ("verification", {"equal": False, "age_seconds": 5.0, "what": "a full comparison"}),
            ("integrity", {"ok": False, "detail": "row 3 missing from index", "age_seconds": 5.0}),
            ("platform", {"ok": False, "detail": "no such unit"}),
        )
    },
    "readiness: server": caught_by(
        ready.test_a_probe_that_never_answered_blocks,
        "a server that nobody has seen is there",
        swap(readiness, "_server", lambda *_: ReadinessPart("server", True, "whatever it is")),
        probe="server",
        how="broken",
    ),
    "readiness: slot, room": caught_by(
        ready.test_each_part_blocks_and_says_why,
        "a slot without room for WAL is one",
        rewritten(readiness, "_slot", "if room is not None and room <= 0:", "if False:"),
        values={"slot": {"wal_status": "extended", "safe_wal_size": 0}},
        name="slot",
        says="safe_wal_size is 0",
    ),
    "readiness: what is lost": caught_by(
        ready.test_each_part_blocks_and_says_why,
        "a way back that is lost is one",
        swap(readiness, "_lost", lambda _: ""),
        values={"capture": {"lost": True, "error": "the slot is gone"}},
        name="fallback",
        says="lost: the slot is gone",
    ),
    "readiness: a verification grows old": caught_by(
        ready.test_a_verification_grows_old_while_nobody_looks,
        "an old comparison is as good as a new one",
        rewritten(
            readiness, "_verification", 'float(value["age_seconds"]) + since', 'float(value["age_seconds"])'
        ),
    ),
    "readiness: never answered": caught_by(
        ready.test_a_probe_that_never_answered_blocks,
        "what nobody has seen is ready",
        swap(readiness, "_asked", never),
        probe="slot",
        how="off",
    ),
    "readiness: long ago": caught_by(
        ready.test_what_was_known_long_ago_is_not_known,
        "what was known long ago is known",
        swap(Sight, "stale", never),
        probe="disk",
    ),
    "readiness: a value that is none": caught_by(
        ready.test_a_value_that_is_none_is_not_ready,
        "NaN seconds behind are below every limit",
        swap(of_watch, "problem", lambda o: None),
        values={"capture": {"lag_seconds": float("nan")}},
    ),
    "readiness: outside the RPO": caught_by(
        ready.test_the_last_contact_is_held_against_the_rpo,
        "without the server any loss is allowed",
        rewritten(readiness, "_fallback_alone", "contact <= allowed,", "True,"),
        contact=12.1,
        rpo=12.0,
        ready=False,
    ),
    "readiness: inside the RPO": caught_by(
        ready.test_the_last_contact_is_held_against_the_rpo,
        "without the server nothing is ever ready",
        rewritten(of_watch, "readiness", 'if not (away and p.name == "server")', ""),
        contact=12.0,
        rpo=12.0,
        ready=True,
    ),
    "readiness: inside the RPO it is lossy": caught_by(
        ready.test_the_last_contact_is_held_against_the_rpo,
        "a rollback that may lose something is said to lose nothing",
        rewritten(of_watch, "readiness", "lossy=ready and away", "lossy=False"),
        contact=12.0,
        rpo=12.0,
        ready=True,
    ),
    "readiness: no contact at all": caught_by(
        ready.test_without_a_contact_or_with_a_lost_way_back_the_rpo_helps_nothing,
        "a contact that never was is one of now",
        swap(readiness, "_contact", lambda *_: 0.0),
        capture={"contact_age_seconds": None},
    ),
    "readiness: the contact grows older": caught_by(
        ready.test_the_contact_grows_older_though_nobody_reads_it,
        "the last contact stays as young as it was told",
        rewritten(readiness, "_contact", ' + (_age(sight, "capture", at) or 0.0)', ""),
    ),
    "readiness: a stream is no proof by itself": caught_by(
        ready.test_a_stream_that_says_nothing_proves_nothing,
        "a stream that says nothing proves that the server answers",
        rewritten(readiness, "_unreachable", "contact is None or contact > FRESH_CONTACT_SECONDS or", ""),
    ),
    "readiness: a contact from before": caught_by(
        cause.test_a_contact_from_before_the_failure_does_not_prove_that_the_server_answers,
        "a contact from before the failure proves that the server answers",
        rewritten(readiness, "_unreachable", "failing is not None and at - contact <= failing", "False"),
        contact_after=None,
        action=cause.Action.HOLD,
    ),
    "readiness: the session's failure": caught_by(
        ready.test_a_server_that_refuses_one_more_session_is_not_away_while_the_stream_goes_on,
        "a server that is full is a server that is gone",
        rewritten(readiness, "_unreachable", "if capture is None or", "if True or"),
    ),
}

_UNPROVEN = {
    "checks: never answered properly": caught_by(
        checks.test_a_check_that_never_passed_pages_and_rolls_nothing_back,
        "a wrong address rolls a healthy application back",
        rewritten(Watch, "_believed", "o.probe not in self.situation.unproven", "True"),
        probe="application",
    ),
    "checks: a dependency's wrong address": caught_by(
        checks.test_a_dependency_that_never_passed_holds_nothing_back,
        "a dependency that nobody ever reached holds a rollback back",
        rewritten(Watch, "_believed", "o.probe not in self.situation.unproven", "True"),
    ),
}

_NORMAL = {
    "normal: for so long": caught_by(
        normal.test_it_says_once_when_all_has_been_ok_for_so_long,
        "one good moment is normal",
        rewritten(BackToNormal, "take", "or o.at - self._since < self._seconds", ""),
    ),
    "normal: a break starts it again": caught_by(
        normal.test_one_failed_check_starts_it_again,
        "what is not normal does not start the time again",
        rewritten(BackToNormal, "take", "self._since = None", "pass"),
    ),
    "normal: what broke": caught_by(
        normal.test_what_is_not_normal_is_named_and_starts_it_again,
        "metrics that cannot be read are normal",
        rewritten(BackToNormal, "_not_normal", "(Outcome.BREACH, Outcome.ERROR)", "(Outcome.BREACH,)"),
        state={"broken": ["metrics"]},
        names="metrics",
    ),
    "normal: what was not heard": caught_by(
        normal.test_a_probe_that_never_answered_is_not_normal,
        "an application that nobody has seen is well",
        swap(Watch, "unheard", ()),
    ),
    "normal: something must be judged": caught_by(
        normal.test_with_nothing_to_judge_it_never_is,
        "where nothing is looked at all is well",
        rewritten(BackToNormal, "_not_normal", "if not bad and not says:", "if False:"),
    ),
}

MUTANTS: dict[str, Mutant] = _CHECKS | _RATES | _DECISIONS | _REFUTED | _READINESS | _UNPROVEN | _NORMAL
