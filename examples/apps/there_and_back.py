"""A real application there and back, in one command.

    python examples/apps/there_and_back.py wagtail
    python examples/apps/there_and_back.py jupyterhub --keep FOLDER

Installs the application into an environment of its own, makes its database on SQLite through its own
interfaces, moves it to PostgreSQL with the schema that its own migrations make (mode existing), lets it write
there, rolls back, and reads everything through the application again. Ends with status 1 at the first thing
that is not as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnback.adapters.postgres.embedded import EmbeddedPostgres

HERE = Path(__file__).resolve().parent
STEP_SECONDS = 600


@dataclass(frozen=True)
class Application:
    """How one application is run and asked. Commands are words behind its own Python; {port} is filled in."""

    name: str
    folder: str  # beside this file; its requirements.txt says what is installed
    working: str  # where its commands run
    serve: tuple[str, ...]
    health: str
    create: tuple[tuple[str, ...], ...]  # the schema, on either engine
    fill: tuple[str, ...]
    more: tuple[str, ...]  # what it writes on PostgreSQL
    dump: tuple[str, ...]  # everything as the application reads it, on stdout
    checks: tuple[tuple[str, ...], ...]  # its own checks, on either engine
    pages: tuple[str, ...]  # that answer 200
    after_rollback: tuple[tuple[str, ...], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    postgres: str = ""  # more lines of [postgres]


MANAGE = "manage.py"
WAGTAIL = Application(
    name="wagtail",
    folder="wagtail",
    working="wagtail/site",
    serve=("-m", "gunicorn", "--workers", "2", "--bind", "127.0.0.1:{port}", "website.wsgi"),
    health="/api/health",
    create=((MANAGE, "migrate", "--noinput", "--verbosity", "0"),),
    fill=(MANAGE, "fill", "first"),
    more=(MANAGE, "fill", "more"),
    dump=(MANAGE, "dumpdata", "--exclude", "wagtailsearch", "--exclude", "sessions", "--indent", "1"),
    checks=((MANAGE, "check"), (MANAGE, "migrate", "--check")),
    pages=("/", "/events/event-1/", "/admin/login/", "/api/events"),
    # Content types, permissions, the first page: `migrate` makes them on each engine in its own order.
    postgres="clear_seed_rows = true",
    after_rollback=((MANAGE, "update_index", "--verbosity", "0"),),
)
JUPYTERHUB = Application(
    name="jupyterhub",
    folder="jupyterhub",
    working="jupyterhub",
    serve=("-m", "jupyterhub", "-f", "jupyterhub_config.py"),
    health="/hub/health",
    create=(("hub.py", "create"),),
    fill=("hub.py", "fill"),
    more=("hub.py", "more"),
    dump=("hub.py", "dump"),
    checks=(),
    pages=("/hub/health", "/hub/login", "/hub/api/users", "/hub/api/groups"),
    headers=(("Authorization", "token an-example-on-loopback-only"),),
)
APPLICATIONS = {a.name: a for a in (WAGTAIL, JUPYTERHUB)}


class Failure(Exception):
    """Something is not as it was, or a command failed. The message says what."""


class Journey:
    """One run in one folder. `end` stops whatever still runs."""

    def __init__(self, application: Application, folder: Path) -> None:
        self.application = application
        self.folder = folder
        self.database = folder / "data" / "app.db"
        self.state = folder / "data" / "app.db.turnback"
        self.python = folder / "venv" / "bin" / "python"
        self.port = _free_port()
        self.guard: subprocess.Popen[bytes] | None = None
        self.begun = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.begun:7.1f} s  {text}", file=sys.stderr, flush=True)

    # ---- the journey

    def play(self) -> dict[str, Any]:
        app = self.application
        self.install()
        self.database.parent.mkdir(parents=True)
        for words in app.create:
            self.run(words, "sqlite")
        self.run(app.fill, "sqlite")
        before = self.dump("sqlite")
        self.say(f"{app.name} has {len(before)} characters of data on SQLite")
        (self.folder / "turnback.toml").write_text(self.configuration())
        findings = self.assess()
        self.start_guard()
        self.await_pages()
        before = self.dump("sqlite")  # a starting application may write
        migrated = self.turnback("migrate")
        cutover = self.turnback("cutover")
        self.await_pages()
        self.compare("on PostgreSQL", before, self.dump("postgres"))
        for words in app.checks:
            self.run(words, "postgres")
        self.run(app.more, "postgres")
        written = self.dump("postgres")
        if written == before:
            raise Failure("nothing was written on PostgreSQL")
        self.turnback("verify")
        rollback = self.turnback("rollback", "--planned", "--reason", "example", "--yes")
        if rollback.get("verified") is not True:
            raise Failure(f"the rollback was not verified: {rollback.get('comparison')}")
        for words in app.after_rollback:
            self.run(words, "sqlite")
        self.await_pages()
        self.compare("on SQLite again", written, self.dump("sqlite"))
        for words in app.checks:
            self.run(words, "sqlite")
        return {
            "application": app.name,
            "findings": findings,
            "rows": migrated["rows"],
            "downtime_seconds": cutover["downtime_seconds"],
            "rto_measured_seconds": rollback["rto_measured_seconds"],
            "lost": 0,
            "same_after_migrate": True,
            "same_after_rollback": True,
            "sha256": hashlib.sha256(written.encode()).hexdigest(),
        }

    def install(self) -> None:
        if self.python.exists():
            return
        self.say(f"installing {self.application.name} into an environment of its own")
        venv.create(self.folder / "venv", with_pip=True)
        requirements = HERE / self.application.folder / "requirements.txt"
        self._checked(
            [
                str(self.python),
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "-r",
                str(requirements),
            ],
            dict(os.environ),
            self.folder,
        )

    def configuration(self) -> str:
        app = self.application
        command = json.dumps([str(self.python), *(w.format(port=self.port) for w in app.serve)])
        schema = " && ".join(" ".join([str(self.python), *words]) for words in app.create)
        sides = {
            "sqlite": f'PORT = "{self.port}", DATABASE_PATH = "{{sqlite_path}}"',
            "postgres": f'PORT = "{self.port}"',
        }
        extra = "".join(f', {k} = "{v}"' for k, v in app.environment)
        text = f"""\
[sqlite]
path = "data/app.db"

[state]
allow_any_filesystem = true

[postgres]
mode = "existing"
{app.postgres}

[app]
platform = "process"
working_directory = {json.dumps(str(HERE / app.working))}
health = "http://127.0.0.1:{self.port}{app.health}"
health_timeout_seconds = 60

[app.sqlite]
command = {command}
env = {{ {sides["sqlite"]}{extra} }}

[app.postgres]
command = {command}
env = {{ {sides["postgres"]}{extra} }}
schema = {json.dumps(schema)}
"""
        return text + (HERE / app.folder / "choices.toml").read_text()

    def assess(self) -> int:
        done = self._turnback("assess", "--json")
        found = json.loads(done.stdout or "{}")
        open_ones = [f for f in found.get("findings", []) if f["severity"] != "carries"]
        for finding in open_ones:
            print(f"{finding['code']} {finding['message']}\n{finding['settle']}\n", file=sys.stderr)
        if done.returncode:
            raise Failure(f"assess: {len(open_ones)} findings to settle\n{done.stderr}")
        self.say(f"assess: {len(found['findings'])} findings, none stops the move")
        return len(found["findings"])

    def dump(self, side: str) -> str:
        return self.run(self.application.dump, side)

    def compare(self, where: str, expected: str, found: str) -> None:
        expected, found = meaning(expected), meaning(found)
        if expected != found:
            for name, text in (("expected", expected), ("found", found)):
                (self.folder / f"{name}.json").write_text(text)
            lines = zip(expected.splitlines(), found.splitlines(), strict=False)
            first = next(((a, b) for a, b in lines if a != b), ("", ""))
            raise Failure(f"{where} the application reads something else: {first[0]!r} was {first[1]!r} now")
        self.say(f"{where}: the application reads every value as before")

    # ---- its processes

    def run(self, words: tuple[str, ...], side: str) -> str:
        environment = dict(os.environ) | dict(self.application.environment)
        environment.pop("DATABASE_URL", None)
        if side == "sqlite":
            environment["DATABASE_PATH"] = str(self.database)
        else:
            environment["DATABASE_URL"] = self.address()
        return self._checked([str(self.python), *words], environment, HERE / self.application.working)

    def address(self) -> str:
        """The embedded server's, for the application's role."""
        place = json.loads((self.state / "embedded.json").read_text())
        host = place["socket"].replace("/", "%2F")
        return f"postgresql://app:{place['app_password']}@/app?host={host}&port=5432"

    def start_guard(self) -> None:
        with (self.folder / "guard.log").open("wb") as log:
            self.guard = subprocess.Popen(
                [sys.executable, "-m", "turnback", "guard"],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def turnback(self, *words: str) -> dict[str, Any]:
        self.say(f"turnback {' '.join(words)}")
        done = self._turnback(*words, "--json")
        if done.returncode:
            raise Failure(f"turnback {words[0]}: {done.stdout}\n{done.stderr}")
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    def _turnback(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "turnback", *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )

    def _checked(self, words: list[str], environment: dict[str, str], where: Path) -> str:
        done = subprocess.run(
            words,
            cwd=where,
            env=environment,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS,
            check=False,
        )
        if done.returncode:
            raise Failure(f"{' '.join(words)}: status {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def await_pages(self) -> None:
        for page in self.application.pages:
            deadline = time.monotonic() + 60
            while (status := self._status(page)) != 200:
                if time.monotonic() > deadline:
                    raise Failure(f"{page} answers {status}")
                time.sleep(0.2)

    def _status(self, page: str) -> int | None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{page}", headers=dict(self.application.headers)
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as e:
            return e.code
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def end(self) -> None:
        """The guard, the application's group, the embedded server."""
        if self.guard is not None:
            self.guard.send_signal(signal.SIGTERM)
            self.guard.wait(30)
        if self.python.exists():
            subprocess.run(["pkill", "-KILL", "-f", str(self.python)], check=False)
        EmbeddedPostgres(self.state).remove()


def meaning(dump: str) -> str:
    """The dump with JSON inside of strings read too, keys in order: jsonb does not keep the order of keys."""
    return json.dumps(_read(json.loads(dump)), indent=1, sort_keys=True, ensure_ascii=False)


def _read(value: object) -> object:
    if isinstance(value, dict):
        return {k: _read(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_read(v) for v in value]
    if isinstance(value, str) and value.startswith(("{", "[")):
        try:
            return ["JSON in a string", _read(json.loads(value))]
        except ValueError:
            return value
    return value


def _free_port() -> int:
    with closing(socket.socket()) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("application", choices=sorted(APPLICATIONS))
    parser.add_argument("--keep", type=Path, help="a new folder that is not deleted afterwards")
    arguments = parser.parse_args()
    folder = (arguments.keep or Path(tempfile.mkdtemp(prefix="turnback-app-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    journey = Journey(APPLICATIONS[arguments.application], folder)
    try:
        print(json.dumps(journey.play(), indent=2))
    except Failure as e:
        print(f"failed: {e}", file=sys.stderr)
        return 1
    finally:
        journey.end()
        if arguments.keep is None:
            shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
