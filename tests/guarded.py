"""The example application on PostgreSQL, under load, with a guard that may roll it back by itself.

The application's folder and database are copies of ones that were migrated once (`Migrated`); each test has its
own port, slot, guard process and stubs. Times are scaled: checks every 0.3 s, durations of a few seconds. What was
acknowledged is recorded by the clients and counted against the SQLite file by the judge of the demo.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from journey import EXAMPLE, Journey, free_port
from stubs import Cable, Gateway, Receiver, socket_of, through
from turnback.adapters.postgres.embedded import EmbeddedPostgres
from turnback.core.phases import Intent
from turnback.core.state import Run, fold
from turnback.entrypoints import incidents
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.demo_judge import judge
from turnback.entrypoints.demo_traffic import Attempt, Client
from turnback.entrypoints.wiring import Setup
from turnback.ports import Record

HEALTH, DATABASE_HEALTH, METRICS = "/api/health", "/api/health/database", "/api/metrics"
SERVICE = "http://service.invalid"  # in `over`: becomes the address of the stub that the application needs
CHECK_SECONDS = 0.3
RUN = """\
# The application on PostgreSQL; files beside it make a start fail or the application unhealthy.
set -e
[ ! -e broken ]
if [ -e unhealthy ]; then export FAULT_UNHEALTHY=1; fi
exec {python} {example}/app.py
"""

Json = dict[str, Any]


def toml(body: Mapping[str, Any], path: str = "") -> str:
    """Tables, and JSON's values, which are TOML's too. None: not there."""
    plain = {k: v for k, v in body.items() if v is not None and not isinstance(v, Mapping)}
    lines = [f"[{path}]"] if path else []
    lines += [f"{json.dumps(k)} = {json.dumps(v)}" for k, v in plain.items()]
    inner = [
        toml(v, f"{path}.{json.dumps(k)}".lstrip(".")) for k, v in body.items() if isinstance(v, Mapping)
    ]
    return "\n".join([*lines, *inner]) + "\n"


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> Json:
    both = dict(base)
    for key, value in over.items():
        inner = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = merged(both[key], value) if inner else value
    return both


class Migrated:
    """A folder in the phase `migrated` and its database, to be copied. Nobody is connected to it."""

    def __init__(self, folder: Path, server: EmbeddedPostgres, database: str, *, rows: int = 200) -> None:
        self.server, self.folder, self.database = server, folder, database
        journey = Journey(folder, server.app_dsn(database), server.admin_dsn(database), rows=rows)
        try:
            journey.ok("assess")
            journey.ok("migrate")
        finally:
            journey.close()

    def copy_database(self, name: str) -> None:
        self._as_admin("CREATE DATABASE {} TEMPLATE {} OWNER app", name, self.database)

    def drop_database(self, name: str) -> None:
        self._as_admin("DROP DATABASE {} WITH (FORCE)", name)

    def _as_admin(self, statement: Any, *names: str) -> None:
        with closing(psycopg.connect(self.server.admin_dsn("postgres"), autocommit=True)) as admin:
            admin.execute(sql.SQL(statement).format(*(sql.Identifier(n) for n in names)))


class Load:
    """Clients of the example application, in threads: each writes without pause and records what it was told."""

    def __init__(self, port: int, folder: Path, *, clients: int = 3, think_seconds: float = 0.02) -> None:
        self.acknowledged = 0
        self._think = think_seconds
        self._stopping = threading.Event()
        self._counted = threading.Lock()
        self._base = f"http://127.0.0.1:{port}"
        number = len(list(folder.glob("*.jsonl")))
        self._threads = [
            threading.Thread(target=self._write, args=(folder / f"client-{number + i}.jsonl", number + i))
            for i in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _write(self, out: Path, seed: int) -> None:
        client = Client(self._base, out.stem, seed)
        with closing(client), out.open("a") as file:
            while not self._stopping.is_set():
                attempt = client.step()
                file.write(json.dumps(dataclasses.asdict(attempt)) + "\n")
                file.flush()
                if attempt.outcome == "acknowledged":
                    with self._counted:
                        self.acknowledged += 1
                self._stopping.wait(self._think)

    def wait(self, more: int = 20, seconds: float = 120) -> None:
        goal = self.acknowledged + more
        Journey.wait_until(lambda: self.acknowledged >= goal, f"{more} more acknowledged writes", seconds)

    def stop(self) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a client hangs"


class Guarded(Journey):
    """`over` is merged into the configuration. `close` ends everything that was started."""

    def __init__(
        self,
        folder: Path,
        migrated: Migrated,
        name: str,
        over: Mapping[str, Any] | None = None,
        *,
        application_only: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._ending = ExitStack()
        self.folder, self.name, self.migrated = folder, name, migrated
        shutil.copytree(migrated.folder, folder)
        (folder / "run.sh").write_text(RUN.format(python=sys.executable, example=EXAMPLE))
        for log in folder.glob("*.log"):
            log.unlink()
        migrated.copy_database(name)
        self._ending.callback(self._drop)
        self.port = free_port()
        self.admin_dsn = migrated.server.admin_dsn(name)
        self.app_dsn = migrated.server.app_dsn(name)
        self.cable = Cable(socket_of(self.app_dsn))
        self._ending.callback(self.cable.close)
        self.gateway, self.hook, self.service = Gateway(self.port), Receiver(), Receiver()
        self.gateway_url = self._ending.enter_context(self.gateway.serve())
        hook = self._ending.enter_context(self.hook.serve())
        self.service_url = self._ending.enter_context(self.service.serve())
        # The application goes through the cable; the guard does too unless it is the application's path alone.
        cabled = through(self.cable, self.app_dsn)
        self.environment = os.environ | {
            "APP_URL": self.app_dsn if application_only else cabled,
            "ADMIN_URL": self.admin_dsn,
            "CABLED_URL": cabled,
            "HOOK_URL": hook,
            "DEPENDENCY_URL": self.service_url,
            "POOL_PATIENCE": "0.3",
            **(environment or {}),
        }
        if application_only:
            run = (folder / "run.sh").read_text()
            (folder / "run.sh").write_text(run.replace("exec ", 'export DATABASE_URL="$CABLED_URL"\nexec '))
        self.database = folder / "data" / "app.db"
        self.config = merged(self._configuration(), over or {})
        state = self.config["state"].get("folder")
        self.state = folder / "data" / "app.db.turnback"
        if state:
            shutil.copytree(self.state, state, dirs_exist_ok=True)
            shutil.rmtree(self.state)
            self.state = Path(state)
        self.traffic = folder / "traffic"
        self.clients, self.guards = [], []
        self.stop_file = folder / "traffic.stop"
        self.loads: list[Load] = []
        self.ended = 0  # guards that ended without being asked to
        self._supervising = threading.Event()
        self._supervisor: threading.Thread | None = None
        text = toml(self.config).replace(SERVICE, self.service_url)
        (folder / "turnback.toml").write_text(text + (EXAMPLE / "choices.toml").read_text())

    def _configuration(self) -> Json:
        health = f"http://127.0.0.1:{self.port}{HEALTH}"
        check = {"interval_seconds": CHECK_SECONDS, "timeout_seconds": 4.0}
        serving = {"PORT": str(self.port), "FAULTS": "1"}
        return {
            "sqlite": {"path": "data/app.db", "busy_seconds": 5},
            "state": {"allow_any_filesystem": True},
            "postgres": {
                "url": "env:APP_URL",
                "admin_url": "env:ADMIN_URL",
                "mode": "existing",
                "slot": f"turnback_{self.name}",
                "slot_timeout_seconds": 20,
                "lock_timeout_seconds": 20,
            },
            "rollback": {"server_wait_seconds": 20},
            "app": {
                "platform": "process",
                "health": health,
                "health_timeout_seconds": 60,
                "stop_seconds": 2,
                "sqlite": {
                    "command": [sys.executable, f"{EXAMPLE}/app.py"],
                    "env": serving | {"USE_SQLITE": "true", "DATABASE_PATH": "{sqlite_path}"},
                },
                "postgres": {
                    "command": ["/bin/sh", "run.sh"],
                    "env": serving | {"USE_SQLITE": "false"},
                    "schema": f"{sys.executable} {EXAMPLE}/migrate_postgres.py",
                },
            },
            "guard": {
                "mode": "enforce",
                "warm_up_seconds": 0,
                "application": check | {"url": self.gateway_url + HEALTH},
                "database": check | {"url": self.gateway_url + DATABASE_HEALTH},
                "server": check,
                "metrics": check
                | {
                    "url": self.gateway_url + METRICS,
                    "causes": "http_request_failures_total",
                    "other_causes": ["dependency"],
                },
                "triggers": {
                    "error_rate": {"for_seconds": 2, "window_seconds": 2, "min_requests": 20},
                    "latency": {"for_seconds": 2, "window_seconds": 3, "min_requests": 20},
                },
                "notify": {"webhook": "env:HOOK_URL", "timeout_seconds": 2},
            },
            "validate": {"watch_seconds": 0},
        }

    # ---- the guard, and what starts it again when it dies -------------------------------------

    def start_guard(self, failpoint: str | None = None) -> None:
        """Supervised: a guard that ends is started again, until `close`."""
        assert self._supervisor is None and failpoint is None
        before = len(self.records("guard_started"))
        self._supervising.set()
        self._supervisor = threading.Thread(target=self._supervise)
        self._supervisor.start()

        def listens() -> bool:
            assert self.ended == 0, f"the guard does not start\n{self.guard_log()}"
            return len(self.records("guard_started")) > before

        self.wait_until(listens, "the guard listens")

    def _supervise(self) -> None:
        while self._supervising.is_set():
            with (self.folder / "guard.log").open("ab") as out:
                guard = subprocess.Popen(
                    [sys.executable, "-m", "turnback", "guard"],
                    cwd=self.folder,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,
                )
            while guard.poll() is None:
                if not self._supervising.is_set():
                    guard.send_signal(signal.SIGTERM)
                    try:
                        guard.wait(40)
                    except subprocess.TimeoutExpired:
                        guard.kill()
                        guard.wait()
                    return
                time.sleep(0.05)
            self.ended += 1
            time.sleep(0.1)

    def stop_guard(self) -> None:
        self._supervising.clear()
        if self._supervisor is not None:
            self._supervisor.join(60)
            assert not self._supervisor.is_alive()
            self._supervisor = None

    def kill_guard(self) -> bool:
        """SIGKILL to whoever holds the lease; False: nobody does just now."""
        pid = self.guard_pid()
        if pid is None:
            return False
        ended = self.ended
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return False  # it had ended
        self.wait_until(lambda: self.ended > ended, "its end is seen")
        return True

    # ---- the way to PostgreSQL ------------------------------------------------------------------

    def to_postgres(self, *, clients: int = 3, baseline: bool = False) -> None:
        """Guard, cutover, load, and the first verdicts. `baseline`: with load before the cutover."""
        self.start_guard()
        self.wait_until(self.serving, "the application serves")
        if baseline:
            self.start_load(clients)
            self.load.wait(150)
        self.ok("cutover")
        if not baseline:
            self.start_load(clients)
        self.wait_until(self._sees_all, lambda: f"the guard sees, and is ready\n{self.told()}")

    def start_load(self, clients: int = 3) -> None:
        self.loads.append(Load(self.port, self.traffic, clients=clients))
        self.load.wait(10)

    @property
    def load(self) -> Load:
        return self.loads[-1]

    def _sees_all(self) -> bool:
        status = self.status()
        if status.get("phase") != "on_postgres" or not status["watch"]["readiness"]["ready"]:
            return False
        verdicts = self.verdicts()
        return all(verdicts[name]["outcome"] == "ok" for name in ("application-health", "database-health"))

    # ---- faults -----------------------------------------------------------------------------------

    def fault(self, **switches: Any) -> None:
        def set_() -> bool:
            try:
                self.ask("POST", "/api/faults", switches)
            except OSError:  # not up yet, or a connection to hold was not free
                return False
            return True

        self.wait_until(set_, f"the application takes {switches}")

    def ask(self, method: str, path: str, body: Json | None = None) -> Json:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            value = json.loads(answer.read())
        assert isinstance(value, dict)
        return value

    def application_pid(self) -> int:
        return int(self.records("process_started")[-1].body["pid"])

    def kill_application(self) -> None:
        os.killpg(self.application_pid(), signal.SIGKILL)

    def execute(self, statement: str) -> None:
        """As the superuser, in the application's database."""
        with closing(psycopg.connect(self.admin_dsn, autocommit=True)) as admin:
            admin.execute(statement.encode())

    # ---- what the guard says ----------------------------------------------------------------------

    def status(self) -> Json:
        try:
            body = json.loads((self.state / "status.json").read_text())
        except FileNotFoundError:
            return {}
        assert isinstance(body, dict)
        return body

    def watch(self) -> Json:
        return self.status().get("watch") or {}

    def verdicts(self) -> dict[str, Json]:
        return {v["trigger"]: v for v in self.watch().get("verdicts", ())}

    def decisions(self, action: str | None = None) -> list[Json]:
        bodies = [r.body for r in self.records("decision")]
        return [dict(b) for b in bodies if action is None or b["action"] == action]

    def wait_decision(self, action: str, trigger: str, seconds: float = 120) -> Json:
        def found() -> list[Json]:
            return [d for d in self.decisions(action) if d["trigger"] == trigger]

        self.wait_until(found, lambda: f"{action} because of {trigger}\n{self.told()}", seconds)
        return found()[0]

    def wait_verdict(
        self, trigger: str, holds: Callable[[Json], bool], what: str, seconds: float = 120
    ) -> Json:
        seen: Json = {}

        def held() -> bool:
            seen.update(self.verdicts().get(trigger, {}))
            return bool(seen) and holds(seen)

        self.wait_until(held, lambda: f"{trigger}: {what}; it is {seen}\n{self.told()}", seconds)
        return seen

    def told(self) -> str:
        """For a failure: what the guard saw and did."""
        decisions = [
            {k: d[k] for k in ("action", "trigger", "reason", "held_back")} for d in self.decisions()
        ]
        readiness = self.watch().get("readiness", {})
        missing = [p for p in readiness.get("parts", ()) if not p["ok"]]
        verdicts = [f"{v['trigger']}: {v['outcome']}, {v['sentence']}" for v in self.verdicts().values()]
        ends = [(r.kind, r.body) for r in self.records() if r.kind in ("step_failed", "run_ended", "undoing")]
        return "\n".join(map(str, (decisions, missing, *verdicts, ends, self.guard_log())))

    def timeline(self) -> str:
        """Every record with its seconds, to see where a test's time goes."""
        records = self.records()[-60:]
        return "\n".join(
            f"{(r.at - records[0].at).total_seconds():7.2f} {r.kind} {str(dict(r.body))[:110]}"
            for r in records
        )

    @staticmethod
    def wait_until(holds: Any, what: Any, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"waited {seconds} s in vain: {what() if callable(what) else what}")
            time.sleep(0.05)

    # ---- the end ------------------------------------------------------------------------------------

    def rollbacks(self) -> list[Run]:
        return [r for r in fold(self.records()).runs if r.intent is Intent.ROLLBACK]

    def phase(self) -> str:
        return fold(self.records()).phase.value

    def wait_rolled_back(self, seconds: float = 120) -> Run:
        """A rollback that the guard began by itself has come to its end."""
        self.wait_until(
            lambda: any(r.outcome == "done" for r in self.rollbacks()),
            lambda: f"rolled back\n{self.told()}",
            seconds,
        )
        return next(r for r in self.rollbacks() if r.outcome == "done")

    def assert_rolled_back(
        self, trigger: str, severity: str = "critical", *, says: tuple[str, ...] = ()
    ) -> Json:
        """By itself, once, for this reason, with everything that was acknowledged. Gives the decision."""
        run = self.wait_rolled_back()
        self.load.wait(10)  # SQLite takes writes
        decisions = [r for r in self.records("decision") if r.body["action"] == "rollback"]
        assert len(decisions) == 1 and len(self.rollbacks()) == 1, self.told()
        decision: Record = decisions[0]
        body = dict(decision.body)
        assert (body["trigger"], body["severity"], body["automatic"]) == (trigger, severity, True), (
            self.told()
        )
        for text in says:
            assert text in body["reason"], (text, body["reason"])
        started = next(r for r in self.records("run_started") if r.run == run.id)
        assert decision.sequence < started.sequence, "the decision is in the journal before the first step"
        assert run.options["decision"] == body["id"] and run.options["automatic"] is True
        assert (run.options["trigger"], run.options["severity"]) == (trigger, severity)
        assert run.done["validate"]["rto_measured_seconds"] <= body["objective_seconds"]
        assert self.phase() == "on_sqlite"
        report = self.report()
        assert (report["trigger"], report["severity"], report["outcome"]) == (
            trigger,
            severity,
            "rolled back",
        ), report
        assert report["started"]["automatic"] is True and report["rto"]["met"] is True, report
        assert body["reason"] in report["account"] or body["reason"] == report["reason"]
        self.assert_nothing_lost()
        return body

    def report(self) -> Json:
        """What `turnback report --json` prints."""
        setup = Setup(load(self.folder / "turnback.toml"))
        try:
            return incidents.find(setup, None).to_json()
        finally:
            setup.close()

    def assert_nothing_lost(self) -> None:
        """What the clients were promised against what the SQLite file holds."""
        self.quiet()
        verdict = judge(self.database, self.traffic)
        assert (verdict.lost, verdict.duplicated, verdict.refused_present) == (0, 0, 0), verdict
        assert verdict.acknowledged > 30, verdict

    def attempts(self) -> list[Attempt]:
        lines = [line for p in sorted(self.traffic.glob("*.jsonl")) for line in p.read_text().splitlines()]
        return [Attempt(**json.loads(line)) for line in lines]

    def quiet(self) -> None:
        """Load, guard and application have ended."""
        for writing in self.loads:
            writing.stop()
        self.stop_guard()
        self.stop_application()

    def close(self) -> None:
        with self._ending:
            self.quiet()

    def _drop(self) -> None:
        from conftest import drop_slots

        if not self.migrated.server.running():
            return
        with closing(psycopg.connect(self.migrated.server.admin_dsn("postgres"), autocommit=True)) as admin:
            drop_slots(admin, self.name)
        self.migrated.drop_database(self.name)


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
