"""The pages that people keep and send: whole in themselves, every text escaped, nothing of the data in them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import apsw
import pytest

from bench_app import Bench
from conftest import Database
from turnback.core.certificate import seal
from turnback.entrypoints import certificates
from turnback.entrypoints.pages.certificate import certificate_page

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "br", "link", "img", "hr", "input"}
SECRET = "a-value-that-only-a-row-has"


class Page(HTMLParser):
    """Tags, attributes and text; every tag must be closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.source = text
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == [], f"not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def loads_nothing(self) -> bool:
        """No script, no reference to anything outside the file."""
        outside = [v for k, v in self.attributes if k in ("src", "href") and not (v or "").startswith("#")]
        outside += re.findall(r"url\(|@import|https?://", self.source)
        handlers = [k for k, _ in self.attributes if k.startswith("on")]
        return (
            not outside
            and not handlers
            and not {"script", "iframe", "object", "link", "img"} & set(self.tags)
        )


@pytest.fixture
def bench(tmp_path: Path, database: Database) -> Iterator[Bench]:
    made = Bench(
        tmp_path / "a", database.app_dsn, database.admin_dsn, slot=f"turnback_{database.name}", rows=50
    )
    try:
        yield made
    finally:
        made.stop_guard()


def run(bench: Bench, *statements: str) -> None:
    with closing(apsw.Connection(os.fspath(bench.path))) as file:
        for statement in statements:
            file.execute(statement).fetchall()


def test_an_assessment_that_is_not_ready_says_what_to_write(bench: Bench) -> None:
    run(
        bench,
        f'CREATE TABLE "{EVIL}" (id INTEGER PRIMARY KEY, "<b>&{EVIL}" BOOLEAN, note TEXT)',
        f"""INSERT INTO "{EVIL}" VALUES (1, 2, '{SECRET}'), (2, 1, NULL)""",
        f'CREATE VIEW "view {EVIL}" AS SELECT random()',
    )
    done = bench.turnback("assess", "--html", "page.html")
    assert done.returncode == 3 and "wrote page.html" in done.stderr, done.stderr
    path = bench.folder / "page.html"
    assert path.stat().st_mode & 0o777 == 0o600
    page = Page(path.read_text())
    assert page.loads_nothing() and "style" in page.tags
    assert "Not ready yet" in page.text and EVIL in page.text and SECRET not in page.source
    assert "pg_type = &#34;bigint&#34;" in page.source and 'pg_type = "bigint"' in page.text
    for word in ("To settle", "Good to know", "team", "person", "not known yet", "2 rows", "F1"):
        assert word in page.text or word == "Good to know", word
    assert "Content-Security-Policy" in page.source and "@media print" in page.source


def test_an_assessment_that_is_ready_says_of_every_column_what_it_becomes(bench: Bench) -> None:
    found = bench.ok("assess", "--html", str(bench.folder / "ready.html"))
    page = Page((bench.folder / "ready.html").read_text())
    assert page.loads_nothing() and "Ready to migrate" in page.text and found["digest"][:12] in page.text
    for phrase in (
        "50 integers, 1 to 50", "50 reals", "50 texts, up to 7 characters", "50 blobs, 0 to 49 bytes",
        "double precision", "boolean", "every value is a real",
    ):  # fmt: skip
        assert phrase in page.text, phrase
    assert "name 7" not in page.source, "no value of any row"
    facts = found["tables"]["person"]["columns"]
    assert (facts["id"]["min_integer"], facts["id"]["max_integer"]) == (1, 50)
    assert (facts["picture"]["min_blob_bytes"], facts["picture"]["max_blob_bytes"]) == (0, 49)
    assert facts["name"]["max_characters"] == 7


def test_a_page_that_cannot_be_written_is_said(bench: Bench) -> None:
    assert "nowhere" in bench.refused("assess", "--html", "nowhere/page.html", status=2)


def test_the_certificate_of_a_rollback_is_a_page(bench: Bench, database: Database) -> None:
    run(bench, "UPDATE team SET name = '<i>red</i>' WHERE id = 1")
    for words in (["assess"], ["migrate"], ["cutover", "--yes"]):
        bench.ok(*words)
    database.connect(app=True).execute("UPDATE person SET name = 'new' WHERE id IN (2, 3)")
    result = bench.ok("rollback", "--yes")
    assert result["certificate_says"] == "equal"
    path = Path(result["certificate"]).with_suffix(".html")
    page = Page(path.read_text())
    assert page.loads_nothing() and path.stat().st_mode & 0o777 == 0o600
    document = json.loads(Path(result["certificate"]).read_text())
    for word in ("Proof of a rollback", "Equal", "52 rows in 2 tables", "fenced", "Against the original file", "What was not compared", document["seal"], document["tables"][0]["digest_sqlite"]):  # fmt: skip
        assert word in page.text, word
    assert "person 50 50 2 0 0" in page.text, "two changed rows"
    assert "app:" not in page.source.replace("app.db", ""), "no user or password of the server"


def test_whatever_stands_in_a_certificate_is_escaped(bench: Bench, tmp_path: Path) -> None:
    bench.ok("assess")
    migrated = bench.ok("migrate")
    document = json.loads(Path(migrated["proof"]["certificate"]).read_text())

    def poisoned(value: object) -> object:
        match value:
            case dict():
                return {
                    k: v
                    if k in ("format", "verdict", "what", "postgres_classes", "sqlite_classes")
                    else poisoned(v)
                    for k, v in value.items()
                }
            case list():
                return [poisoned(v) for v in value]
            case str():
                return f"{EVIL}\"'><img src=x onerror=y>{value}"
        return value

    bad = poisoned(document)
    assert isinstance(bad, dict)
    bad |= {
        "verdict": "different",
        "differences": [
            {
                "table": EVIL,
                "key": [EVIL],
                "kind": "differs",
                "columns": [EVIL],
                "sqlite_value": EVIL,
                "postgres_value": "\udcff",
            }
        ],
        "difference_count": 1,
        "original": {"made": False, "why": EVIL, "path": EVIL},
        "checks": {EVIL: [EVIL]},
    }
    page = Page(certificate_page(bad))
    assert page.loads_nothing() and page.text.count(EVIL) > 30
    for verdict, word in (("equal", "Equal"), ("not compared", "Not compared")):
        assert word in Page(certificate_page(document | {"verdict": verdict, "tables": []})).text
    bad["ended_at"], bad["what"] = "2026-11-23T02:50:45Z", "verify"
    first, second = (Path(certificates.keep(tmp_path / "kept", seal(bad))) for _ in range(2))
    assert first.name == "20261123T025045Z-verify.json" and second.name == "20261123T025045Z-verify-2.json"
    certificates.check(first)


def test_a_guard_writes_its_certificate_though_turnback_was_replaced_on_disk(tmp_path: Path) -> None:
    """An upgrade beside a running guard: its own template is loaded when it starts."""
    code = """
import sys
from pathlib import Path
from turnback.entrypoints import certificates, pages
folder = Path(sys.argv[1])
pages.FOLDER = folder
for name in ("page.html", "certificate.html"):
    (folder / name).write_text((Path(pages.__file__).parent / name).read_text())
certificates.prepare()
(folder / "certificate.html").write_text("{{ what_only_the_next_version_knows }}")
(folder / "page.html").unlink()
import json
document = json.loads(Path(sys.argv[2]).read_text())
print(certificates.keep(folder / "kept", document))
"""
    given = tmp_path / "given.json"
    given.write_text(json.dumps(MINIMAL))
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(given)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "Not compared" in Path(done.stdout.strip()).with_suffix(".html").read_text()


MINIMAL = {
    "what": "rollback", "verdict": "not compared", "equal": False, "reason": "r", "begun_at": "x", "ended_at": "y", "by": "z",
    "turnback": "0", "plan": "p", "mode": "create", "sqlite": {"path": "f", "state": "s"},
    "postgres": {"place": "h", "schema": "s", "state": "t", "system_identifier": "", "lsn": ""},
    "tables": [], "difference_count": None, "counted_all": None, "differences": [], "canonical_columns": [], "generated": [],
    "checks": {}, "sequences": {}, "original": None, "not_compared": [], "seal": "0",
}  # fmt: skip
