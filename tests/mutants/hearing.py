"""Alertmanager's alerts around a run and a restart: not taken, kept in mind, and waited for."""

from __future__ import annotations

import test_hearing as hearing
import test_watch_checks

from mutants import Mutant, never, nothing
from mutants.rewritten import caught_by, rewritten
from mutants.told import fixture, swap
from turnback.app.watching import Watching
from turnback.core.watch import normal
from turnback.core.watch.triggers import AlertTrigger
from turnback.entrypoints.web import listener

BENCH = fixture(hearing.bench)

MUTANTS: dict[str, Mutant] = {
    "alerts: none during a run": caught_by(
        hearing.test_what_a_cutover_raises_is_not_taken_and_causes_no_rollback,
        "an alert that the cutover's own downtime raised is taken",
        rewritten(Watching, "run_begins", 'self.hearing.close(f"a {intent.value} is under way")', "pass"),
        bench=BENCH,
    ),
    "alerts: none in the warm-up": caught_by(
        hearing.test_in_the_warm_up_none_is_taken,
        "an alert is taken while the application starts",
        rewritten(Watching, "_listen", "elif self.watch.warming_up:", "elif False:"),
        bench=BENCH,
    ),
    "alerts: taken just before a run": caught_by(
        hearing.test_what_was_taken_just_before_a_run_is_not_lost,
        "an alert that was taken and not looked at yet is forgotten in a run",
        rewritten(Watching, "run_begins", "for o in alerts:\n        self._take(o)", "pass"),
        bench=BENCH,
    ),
    "alerts: known after a run": caught_by(
        hearing.test_one_from_before_a_run_waits_to_be_said_again,
        "an alert from before a run is forgotten",
        rewritten(Watching, "run_ended", 'self._recall(f"the {self._run}")', "self._listen()"),
        bench=BENCH,
    ),
    "alerts: those from before wait": caught_by(
        hearing.test_one_from_before_a_run_waits_to_be_said_again,
        "an alert from before a run rolls back, though it may be over",
        rewritten(AlertTrigger, "_judge", "if not fires or before:", "if not fires:"),
        bench=BENCH,
    ),
    "alerts: resolved is over": caught_by(
        hearing.test_one_that_was_resolved_during_the_run_is_over,
        "an alert from before stays open when it is resolved",
        rewritten(AlertTrigger, "_judge", "if not fires or not before:", "if fires and not before:"),
        bench=BENCH,
    ),
    "alerts: known after a pause": caught_by(
        hearing.test_after_a_long_pause_of_the_guard_an_alert_is_still_known,
        "a guard that was away for long forgets what fires",
        rewritten(Watching, "begin", "self.hearing.remember(o)", "pass"),
        bench=BENCH,
        away=3600.0,
    ),
    "alerts: firing goes on over a moment's pause": caught_by(
        hearing.test_after_a_moments_pause_an_alert_fires_as_before,
        "an alert that fires waits anew at every start of the guard",
        rewritten(
            Watching, "_recall", 'if not self.watch.knows(alert["name"], alert["fingerprint"]):', "if True:"
        ),
        bench=BENCH,
    ),
    "alerts: not for ever": caught_by(
        test_watch_checks.test_an_alert_that_is_not_said_again_does_not_count_for_ever,
        "an alert counts until it is resolved, which nobody says of one that is inhibited",
        swap(AlertTrigger, "pass_to", nothing),
    ),
    "alerts: an open one is not normal": caught_by(
        hearing.test_all_is_not_normal_while_an_alert_from_before_is_open,
        "all is said to be normal while the alert that led to the rollback is open",
        swap(normal, "_is_open", never),
        bench=BENCH,
    ),
    "alerts: what is not taken comes again": caught_by(
        hearing.test_what_is_not_taken_is_to_be_sent_again,
        "Alertmanager is told 200 for what was not taken",
        rewritten(listener, "application", "if refused is not None:", "if False:"),
    ),
}
