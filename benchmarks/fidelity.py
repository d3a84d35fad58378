"""The corpus through pgloader and through turnback: what each loses, counted by the same comparison.

Writes docs/fidelity.md. Needs pgloader (`apt-get install pgloader`); without it nothing is measured, and
that is said.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from psycopg import conninfo, sql

from benchmarks.equivalence import Losses, losses
from turnback.adapters.postgres.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "fidelity.md"
PGLOADER_SECONDS = 60.0
ALL = "all"
sys.path.insert(0, str(ROOT / "tests"))

CONFIG = """\
[sqlite]
path = "app.db"
[state]
allow_any_filesystem = true
[postgres]
url = "env:APP_URL"
admin_url = "env:ADMIN_URL"
"""


def run(*, names: tuple[str, ...] = (), page: Path | None = PAGE) -> dict[str, Any]:
    """Per file what each tool lost; `names`: these files only. Shape: {"versions", "files", "totals"}."""
    if shutil.which("pgloader") is None:
        print(
            "fidelity: SKIPPED: pgloader is not installed (apt-get install pgloader)",
            file=sys.stderr,
            flush=True,
        )
        return {"skipped": "pgloader is not installed"}
    from corpus.cases import CASES
    from corpus.make import make

    with tempfile.TemporaryDirectory(prefix="turnback-fidelity-") as folder:
        corpus = make(Path(folder) / "corpus")
        server = EmbeddedPostgres(Path(folder) / "server", settings={"shared_buffers": "64MB"})
        server.ensure_running()
        try:
            files = {}
            for name, path in corpus.items():
                if names and name not in names:
                    continue
                case = CASES.get(name)
                files[name] = {
                    "hazard": case.hazard if case else "all",
                    "what": case.what if case else "everything that is carried, in one file",
                    "pgloader": _in_database(
                        server, f"p_{name}", lambda a, d, path=path: _pgloader(path, a, d)
                    ),
                    "turnback": _in_database(
                        server,
                        f"t_{name}",
                        lambda a, d, path=path, case=case: _turnback(path, a, d, case.settle if case else ""),
                    ),
                }
                print(f"  {name}", file=sys.stderr, flush=True)
            report = {"versions": _versions(server), "files": files, "totals": _totals(files)}
        finally:
            server.remove()
    if page is not None and not names:
        page.write_text(_page(report))
        print(f"wrote {page.relative_to(ROOT)}", file=sys.stderr, flush=True)
    return report


def _in_database(
    server: EmbeddedPostgres, name: str, act: Callable[[str, str], dict[str, Any]]
) -> dict[str, Any]:
    """`act` gets the DSNs of the application and of the administrator of a database of its own."""
    with closing(psycopg.connect(server.admin_dsn("postgres"), autocommit=True)) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {} OWNER app").format(sql.Identifier(name)))
        with closing(psycopg.connect(server.admin_dsn(name), autocommit=True)) as inside:
            inside.execute("ALTER SCHEMA public OWNER TO app")
        try:
            return act(server.app_dsn(name), server.admin_dsn(name))
        finally:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


# ---- pgloader --------------------------------------------------------------------------------------


def _pgloader(path: Path, app: str, admin: str) -> dict[str, Any]:
    at = conninfo.conninfo_to_dict(app)
    url = f"postgresql://{at['user']}:{at['password']}@unix:{at['host']}:{at['port']}/{at['dbname']}"
    words = ["pgloader", os.fspath(path), url]
    with subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=path.parent,
    ) as loader:
        try:
            output, _ = loader.communicate(timeout=PGLOADER_SECONDS)
            status: int | str = loader.returncode
        except subprocess.TimeoutExpired:
            loader.kill()
            output, _ = loader.communicate()
            status = f"none: killed after {PGLOADER_SECONDS:.0f} s"
    errors = re.findall(r"(?:ERROR|FATAL) (.*)", output)
    return _counted(losses(path, admin)) | {
        "status": status,
        "errors": len(errors),
        "first_error": _plain(errors[0], path) if errors else "",
    }


def _plain(text: str, path: Path) -> str:
    return text.replace(os.fspath(path.parent), "").strip()[:160]


# ---- turnback --------------------------------------------------------------------------------------


def _turnback(path: Path, app: str, admin: str, settle: str) -> dict[str, Any]:
    """Assess; where it stops, again with the lines that it offers; migrate; the same comparison."""
    with tempfile.TemporaryDirectory(prefix="turnback-fidelity-") as folder:
        home = Path(folder)
        shutil.copy(path, home / "app.db")
        environment = os.environ | {"APP_URL": app, "ADMIN_URL": admin}

        def command(*words: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                [sys.executable, "-m", "turnback", *words, "--json"],
                cwd=home,
                env=environment,
                capture_output=True,
                text=True,
                timeout=600,
                stdin=subprocess.DEVNULL,
            )

        (home / "turnback.toml").write_text(CONFIG)
        first = command("assess")
        stopped = first.returncode != 0
        if stopped and settle:
            (home / "turnback.toml").write_text(_merged(settle))
        if stopped and (not settle or command("assess").returncode != 0):
            return {"outcome": "stopped", "findings": _codes(first.stdout), "status": first.returncode}
        done = command("migrate")
        if done.returncode != 0:
            return {"outcome": "stopped", "findings": done.stderr.strip()[:200], "status": done.returncode}
        counted = _counted(losses(path, admin))
        return {
            "outcome": "choice" if stopped else "carried",
            "findings": _codes(first.stdout),
            "status": 0,
        } | counted


def _codes(text: str) -> str:
    try:
        found = json.loads(text)["findings"]
    except (ValueError, KeyError):
        return ""
    return ", ".join(sorted({f["code"] for f in found if f["severity"] != "carries"}))


def _merged(settle: str) -> str:
    """The configuration with the lines; tables that are there already get the lines added."""
    table, _, lines = settle.partition("\n")
    return CONFIG.replace(table + "\n", settle + "\n") if table in CONFIG else f"{CONFIG}\n{table}\n{lines}\n"


# ---- the report ------------------------------------------------------------------------------------


def _counted(found: Losses) -> dict[str, Any]:
    return {
        "tables_missing": found.tables,
        "columns_missing": found.columns,
        "rows_missing": found.rows,
        "values_nulled": found.nulled,
        "values_changed": found.changed,
        "renamed": found.renamed,
        "structure_lost": dict(sorted(found.structure.items())),
        "examples": found.said,
    }


DATA = ("tables_missing", "columns_missing", "rows_missing", "values_nulled", "values_changed")


def _totals(files: dict[str, Any]) -> dict[str, Any]:
    """Over the files of one hazard each; the one of everything would outweigh them all."""
    totals: dict[str, Any] = {}
    for tool in ("pgloader", "turnback"):
        found = [f[tool] for name, f in files.items() if name != ALL]
        totals[tool] = {k: sum(f.get(k, 0) for f in found) for k in (*DATA, "renamed")}
        totals[tool]["structure_lost"] = sum(sum(f.get("structure_lost", {}).values()) for f in found)
        totals[tool]["files_with_data_lost"] = sum(any(f.get(k) for k in DATA) for f in found)
        totals[tool]["of_these_exit_status_0"] = sum(
            any(f.get(k) for k in DATA) and f["status"] == 0 for f in found
        )
    for outcome in ("carried", "choice", "stopped"):
        totals["turnback"][outcome] = sum(
            f["turnback"]["outcome"] == outcome for name, f in files.items() if name != ALL
        )
    return totals


def _versions(server: EmbeddedPostgres) -> dict[str, str]:
    from turnback import __version__

    loader = subprocess.run(["pgloader", "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    package = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Version}", "pgloader"], capture_output=True, text=True
    ).stdout
    with closing(psycopg.connect(server.admin_dsn("postgres"))) as admin:
        row = admin.execute("SHOW server_version").fetchone()
    assert row is not None
    named = loader.split('"')[1] if '"' in loader else loader
    return {
        "pgloader": f"{named} (Debian package {package})" if package else named,
        "turnback": __version__,
        "postgresql": str(row[0]),
        "date": datetime.now(UTC).date().isoformat(),
    }


HEAD = """\
# Fidelity: the corpus through pgloader and through turnback

Measured on {date} by `python -m benchmarks fidelity`: pgloader {pgloader}, turnback {turnback}, PostgreSQL
{postgresql}.

Each file of the corpus (`tests/corpus`: a hazard each, and one of everything that is carried) is moved into
a database of its own by `pgloader FILE URL` with its defaults, and by `turnback assess` and `migrate` in
mode create, with the lines that assess offers where it asks. One comparison, without code of turnback,
counts for both. It is lenient where that is honest: 1 is true, an epoch and a timestamp may be the same
instant, a number may have become the same number as text. Rows are found by their key.

The corpus was chosen by turnback's authors, from cases where tools of this kind are known to stumble: it
says what each loses on such input, not how often such input occurs. A load command with casting rules can
make pgloader do better on some of these files. Structure that turnback lacks was left behind by name, by
the user's choice.

"""


def _page(report: dict[str, Any]) -> str:
    loader, ours = report["totals"]["pgloader"], report["totals"]["turnback"]
    count = sum(name != ALL for name in report["files"])
    lines = [
        HEAD.format(**report["versions"]),
        "The files of one hazard each; `all` is in the second table only.",
        "",
        "| | pgloader | turnback |",
        "| --- | --- | --- |",
        f"| files of one hazard | {count} | {count}: {ours['carried']} carried, "
        f"{ours['choice']} carried after a choice, {ours['stopped']} stopped before anything was touched |",
        *(f"| {label} | {loader[k]} | {ours[k]} |" for k, label in TOTALS.items()),
        "",
        "| file | what | pgloader | turnback |",
        "| --- | --- | --- | --- |",
    ]
    for name, f in report["files"].items():
        lines.append(
            f"| {name} | {_cell(f['what'])} | {_cell(_said(f['pgloader']))} | {_cell(_said(f['turnback']))} |"
        )
    return "\n".join(lines) + "\n"


TOTALS = {
    "files_with_data_lost": "files of which data was lost or changed",
    "of_these_exit_status_0": "of these with exit status 0",
    "tables_missing": "tables missing",
    "columns_missing": "columns missing",
    "rows_missing": "rows missing",
    "values_nulled": "values that became NULL",
    "values_changed": "values changed",
    "renamed": "tables and columns under another name",
    "structure_lost": "keys, indexes, constraints, defaults, views, next ids missing",
}
LABELS = {k: TOTALS[k] for k in (*DATA, "renamed")}


def _said(found: dict[str, Any]) -> str:
    if found.get("outcome") == "stopped":
        return f"stopped: {found['findings']}"
    parts = [f"{found[k]} {label}" for k, label in LABELS.items() if found[k]]
    lost = found["structure_lost"]
    if lost:
        left = "left behind by choice" if found.get("outcome") == "choice" else "lost"
        parts.append(f"{left}: " + ", ".join(f"{n} {kind}" for kind, n in lost.items()))
    if found.get("errors"):
        parts.append(f"{found['errors']} errors (exit status {found['status']}): {found['first_error']}")
    elif found["status"] != 0:
        parts.append(f"exit status {found['status']}")
    if found["examples"]:
        parts.append("e.g. " + "; ".join(found["examples"][:1]))
    said = "; ".join(parts) or "everything is there"
    return f"after a choice ({found['findings']}): {said}" if found.get("outcome") == "choice" else said


def _cell(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown.replace("|", "\\|").replace("<", "&lt;")
