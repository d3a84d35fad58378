"""The steps of a rollback: stop, fence, drain, prove, switch, validate.

Nothing between stop and serving reads all rows. With PostgreSQL unreachable the drain is what was applied
already; that is only gone on with inside the RPO objective or with --accept-loss, and written down.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from functools import cached_property

from turnback import __version__
from turnback.app import server_gone
from turnback.app.gate import check_gate
from turnback.app.runner import Result, Step
from turnback.app.serving import await_healthy
from turnback.app.sides import PostgresFence, Watched, World
from turnback.app.validate import note_start, validate_now
from turnback.app.watch_after import watch
from turnback.core import lsn
from turnback.core.phases import Intent
from turnback.core.state import Run
from turnback.core.watch.by_hand import decision
from turnback.core.watch.verdict import Readiness, ReadinessPart
from turnback.errors import DiskFull, NotReady, ServerGone, SourceError, WayBackLost
from turnback.ports import Position, SqliteReader

EMERGENCY_STOP_SECONDS = 3.0
STREAMING_SECONDS = 10.0
NO_GUARD = ReadinessPart("guard", None, "not known: no guard runs")
HELD_COPY_BYTES = 256 * 1024 * 1024  # less than a second on any disk
SEQUENCE_MARGIN = 1000  # ids that may have been handed out unheard (HAZARDS R16)


def steps(world: World, run: Run) -> tuple[Step, ...]:
    """In the order of core.plan_steps.STEPS[ROLLBACK]."""
    r = _Rollback(world, run)
    app = world.platform

    def shown(what: str) -> Callable[[], list[str]]:
        return lambda: world.postgres.describe(what, world.plan)

    return (
        Step("record_decision", r.record_decision, resume=r.resume_canary),
        Step("save_deployment", r.save_deployment),
        Step(
            "stop_application",
            r.stop_application,
            undo=lambda: app.start("postgres"),
            describe=lambda: app.describe("stop", "postgres"),
        ),
        Step(
            "fence_postgres",
            r.fence_postgres,
            undo=r.unfence_postgres,
            stale=r.is_stale,
            describe=shown("fence"),
        ),
        Step(
            "drain_to_fence",
            r.drain_to_fence,
            undo=r.resume_capture,
            stale=r.is_stale,
            describe=shown("token"),
        ),
        Step("gate", r.gate, stale=r.is_stale),
        Step("promote_fallback", r.promote_fallback, done=r.is_promoted, undo=r.unpromote, stale=r.is_stale),
        Step("start_on_sqlite", r.start_on_sqlite, describe=lambda: app.describe("start", "sqlite")),
        Step("validate", r.validate),
        Step("watch_after", r.watch_after),
    )


class _Rollback:
    def __init__(self, world: World, run: Run) -> None:
        self.world = world
        self.run = run
        self.plan = world.plan
        cutover = world.journal.state().last(Intent.CUTOVER)
        assert cutover is not None, "a rollback without a cutover"
        self.cutover = cutover
        self.fence: PostgresFence | None = None
        self.after_promote: SqliteReader | None = None

    def _note(self, key: str, value: object) -> None:
        self.world.note(self.run.id, key, value)
        self.run.notes[key] = value

    # ---- before the fence ----

    def record_decision(self) -> Result:
        """The guard has journalled its decision before the run; a person's is journalled here."""
        options = self.run.options
        self._refuse_without_way_back()
        ident = options.get("decision") or self._decide()
        self.resume_canary()
        return {
            "decision": ident,
            "reason": options.get("reason"),
            "trigger": options.get("trigger"),
            "by": options.get("by"),
            "host": self.world.host,
            "version": __version__,
            "utc": self.world.clock.now().isoformat(),
        }

    def _refuse_without_way_back(self) -> None:
        """--accept-loss is for a server that is gone: one that answers can have a new fallback made of it."""
        lost = self.world.journal.state().way_back_lost
        if lost is not None and self.world.postgres.reachable():
            raise WayBackLost(
                f"PostgreSQL answers, and there is no way back: {lost['why']}",
                hint="`turnback fallback rebuild` makes a new one while the application serves",
            )

    def _decide(self) -> str:
        for record in self.world.journal.records(kind="decision", run=self.run.id):
            return str(record.body["id"])  # this step was interrupted behind its record
        seen = self.world.watched() or Watched((), Readiness(False, (NO_GUARD,)))
        made = decision(
            self.world.clock.monotonic(),
            self.world.clock.now().isoformat(),
            self.run.options,
            self.world.rules,
            verdicts=seen.verdicts,
            readiness=seen.readiness,
        )
        ident = f"decision-{uuid.uuid4().hex[:8]}"
        self.world.journal.append("decision", made.to_json() | {"id": ident}, run=self.run.id)
        return ident

    def resume_canary(self) -> None:
        """A session with the application's own credentials from before the fence, to prove the fence with."""
        if "fence_postgres" in self.run.done:
            return
        fence = self.world.postgres.fence(self.plan)
        fence.open_canary()
        self.fence = fence

    def save_deployment(self) -> Result:
        return {"start_postgres": self.world.platform.describe("start", "postgres")}

    def stop_application(self) -> Result:
        emergency = bool(self.run.options.get("emergency"))
        seconds = (
            min(self.world.stop_seconds, EMERGENCY_STOP_SECONDS) if emergency else self.world.stop_seconds
        )
        self.world.platform.stop("postgres", graceful_seconds=seconds)
        return {}

    # ---- fence and drain ----

    def is_stale(self) -> bool:
        """Whether a run that is taken up again begins anew at the fence."""
        return self._stale

    @cached_property
    def _stale(self) -> bool:
        """After a crash the fence is set anew and the position is taken anew (REPLICATION: Fencing
        PostgreSQL): somebody may have lifted it meanwhile. A server that is gone takes no writes; behind the
        promote, where the way back to the fence is long, a fence that stands is enough.
        """
        if "start_on_sqlite" in self.run.started or not self.world.postgres.reachable():
            return False
        if not self.world.sqlite.promoted():
            return True
        fence = self.world.postgres.fence(self.plan)
        try:
            return not fence.is_raised()
        finally:
            fence.close()

    def fence_postgres(self) -> Result:
        self.unpromote()
        try:
            untried = self._fence()
        except ServerGone as e:
            if not server_gone.comes_back(self.world):
                return self._without_server(e)
            try:
                untried = self._fence()
            except ServerGone as again:
                return self._without_server(again)
        if self.run.notes.get("loss_manifest"):  # begun without the server, which is back
            self._note("loss_manifest", None)
        return {"fenced": True} | ({"untried": untried} if untried else {})

    def _fence(self) -> str | None:
        """Raised and proven; what of the proof could not be tried. Raises ServerGone."""
        fence = self.fence or self.world.postgres.fence(self.plan)
        try:
            self._refuse_another_server()
            fence.raise_()
            fence.prove()
        finally:
            fence.close()
            self.fence = None
        return fence.untried

    def _without_server(self, error: ServerGone) -> Result:
        manifest = server_gone.loss_manifest(self.world, self.run, error)
        self._note("loss_manifest", manifest)
        path = self.world.sqlite.fallback.parent / f"loss-manifest-{self.run.id}.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(manifest, indent=2) + "\n")
        return {"fenced": False, "loss_manifest": path.name}

    def _refuse_another_server(self) -> None:
        """A new cluster at the same address has none of the writes: PostgreSQL is gone, as far as they go."""
        known = self.world.sqlite.fallback_position(self.plan).system_identifier
        found = self.world.postgres.system()[0]
        if found != known:
            raise ServerGone(f"another server answers at that address: {found}, the writes are on {known}")

    def unfence_postgres(self) -> None:
        fence = self.world.postgres.fence(self.plan)
        try:
            fence.lift()
        finally:
            fence.close()

    def _lossy(self) -> bool:
        return self.run.done.get("fence_postgres", {}).get("fenced") is False

    def resume_capture(self) -> None:
        if self.world.capture is None:
            self.world.capture = self.world.new_capture(self.cutover.notes["fingerprint"])
            self.world.capture.start()

    def stop_capture(self) -> None:
        if self.world.capture is not None:
            self.world.capture.stop()
            self.world.capture = None

    def drain_to_fence(self) -> Result:
        if self._lossy():
            self.stop_capture()
            return {"drained": False}
        self.resume_capture()
        assert self.world.capture is not None
        self.world.capture.wait_streaming(STREAMING_SECONDS)
        token = uuid.uuid4().hex
        begun = self.world.clock.monotonic()
        position = self.world.postgres.emit_token(token)
        if not self.world.capture.wait_for(token, position, self.world.drain_timeout_seconds):
            status = self.world.capture.status()
            raise NotReady(
                f"the fallback did not reach the fence at {lsn.text(position)} within "
                f"{self.world.drain_timeout_seconds:.0f} s: "
                + (status.error or f"{status.lag_bytes} bytes behind"),
                hint=status.hint or "raise [rollback] drain_timeout_seconds, or look at the server's load",
            )
        self._note("token", {"token": token, "fence_lsn": int(position)})
        return {
            "drained": True,
            "fence_lsn": lsn.text(position),
            "seconds": self.world.clock.monotonic() - begun,
        }

    def gate(self) -> Result:
        if self._lossy():
            # There is no server to ask: what capture heard last, and a margin for what it did not hear.
            heard = self.world.sqlite.recorded_sequences(self.plan)
            self._note("sequences", {name: value + SEQUENCE_MARGIN for name, value in heard.items()})
            return {"gate": "passed over: PostgreSQL is unreachable, the loss manifest says what is known"}
        items = check_gate(self.world, self.run.notes["token"], self.cutover.notes["fingerprint"])
        self._note("sequences", dict(self.world.postgres.sequences(self.plan)))
        return {"items": items}

    # ---- switch ----

    def promote_fallback(self) -> Result:
        self.stop_capture()
        if self.run.notes.get("position") is None:
            p = self.world.sqlite.fallback_position(self.plan)
            self._note(
                "position",
                {
                    "slot": p.slot,
                    "system_identifier": p.system_identifier,
                    "timeline": p.timeline,
                    "applied_lsn": int(p.applied_lsn),
                    "commit_time_us": p.commit_time_us,
                },
            )
        rebuilt = self.world.sqlite.promote(
            self.cutover.notes["sqlite_former"],
            self.world.sqlite.schema(),
            self.run.notes["sequences"],
            self.plan.virtual,
        )
        return {"rebuilt_seconds": dict(rebuilt)} if rebuilt else {}

    def is_promoted(self) -> bool:
        return self.world.sqlite.promoted()

    def unpromote(self) -> None:
        raw = self.run.notes.get("position")
        if raw is not None:
            self.world.sqlite.unpromote(
                self.plan, Position(**(raw | {"applied_lsn": lsn.Lsn(raw["applied_lsn"])}))
            )
            self._note("position", None)

    def start_on_sqlite(self) -> Result:
        # The state of the switch, in a read transaction, is compared while the application serves. Only where
        # the application cannot have written yet: entered again after a crash, it may be up already.
        first = "starting" not in self.run.notes
        if first:
            self._note("starting", True)
        if first and not self._lossy():
            self.after_promote = self._hold()
        note_start(self.world, self.run)
        self.world.platform.start("sqlite")
        return {}

    def _hold(self) -> SqliteReader | None:
        """The state of the switch. Without WAL a read transaction would keep the application from writing:
        then a copy, of a file that is small enough not to be felt.
        """
        sqlite = self.world.sqlite
        if sqlite.holds_snapshot_while_serving(self.cutover.notes["sqlite_former"]):
            return sqlite.reader("file")
        try:
            return sqlite.reader("held") if sqlite.hold_copy(HELD_COPY_BYTES) else None
        except (
            SourceError,
            DiskFull,
        ) as e:  # the gate has proven the file: the switch does not wait for this
            self.world.announce(f"the full comparison after the switch is not made: {e}")
            return None

    def validate(self) -> Result:
        result = dict(await_healthy(self.world, "sqlite"))
        if "served" not in self.run.notes:  # validated again after a failed check: it served since then
            rto = (self.world.clock.now() - self.run.started_at).total_seconds()
            self._note("served", {"rto_measured_seconds": round(rto, 3)})
        result |= self.run.notes["served"]
        return result | {"rpo_measured_seconds": self._rpo()} | validate_now(self.world, self.run)

    def _rpo(self) -> float | None:
        manifest = self.run.notes.get("loss_manifest")
        return manifest["rpo_measured_seconds"] if manifest else 0.0

    def watch_after(self) -> Result:
        held, self.after_promote = self.after_promote, None
        return watch(self.world, self.run, held, lossy=self._lossy())


def summary(run: Run) -> dict[str, object]:
    """What a rollback says at its end. Times in seconds."""
    validate = run.done.get("validate", {})
    watch = run.done.get("watch_after", {})
    return {
        "outcome": run.outcome,
        "rto_measured_seconds": validate.get("rto_measured_seconds"),
        "rpo_measured_seconds": validate.get("rpo_measured_seconds"),
        "fenced": run.done.get("fence_postgres", {}).get("fenced"),
        "untried": run.done.get("fence_postgres", {}).get("untried"),
        "loss_manifest": run.notes.get("loss_manifest"),
        "verified": isinstance(watch.get("comparison"), dict),
        "certificate": watch.get("certificate"),
        "certificate_says": watch.get("certificate_says"),
        "comparison": watch.get("comparison"),
        "validation": watch.get("validation", {}).get("headline"),
    }
