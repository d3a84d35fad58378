"""examples/hyperpage/turnback.toml, as it lies there: read, and used on the application that it is written for."""

from __future__ import annotations

import shutil
import sys
import urllib.request
from pathlib import Path

from journey import EXAMPLE, Journey, free_port
from turnback.entrypoints.alerts import export
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.rules import rules

FILE = EXAMPLE / "turnback.toml"


def test_it_says_what_the_guard_goes_by() -> None:
    config = load(FILE)
    decided_by = rules(config)
    assert (decided_by.mode, decided_by.alerts) == ("recommend", {"HighErrorRate": "high"})
    assert decided_by.critical_endpoints == ("/api/users", "/api/users/:id")
    assert decided_by.other_causes == ("dependency",)
    assert config.validate_.marker == "Hyperpage" and config.validate_.state["version"].expect == "1.4.2"
    exported = export.made(config)
    assert {"HighErrorRate", "HighResponseTime"} <= {a.name for a in exported.alerts}
    assert any("hyperpage" in text for text in exported.files.values())


def test_the_application_passes_it(tmp_path: Path) -> None:
    """On SQLite, before anything is moved: no server is asked for."""
    j = Journey(tmp_path / "it", "", "", rows=300)
    for file in (*EXAMPLE.glob("*.py"), *EXAMPLE.glob("*.sql")):
        shutil.copy(file, j.folder)
    listen = str(free_port())
    text = FILE.read_text().replace("data/hyperpage.db", "data/app.db").replace('"python"', f'"{sys.executable}"')
    text = text.replace("3000", str(j.port)).replace("9464", listen)
    (j.folder / "turnback.toml").write_text("[state]\nallow_any_filesystem = true\n\n" + text)
    try:
        j.start_guard()
        j.wait_until(j.serving, "the application serves")
        with urllib.request.urlopen(f"http://127.0.0.1:{listen}/healthz", timeout=5) as answer:
            assert answer.status == 200
        report = j.ok("validate")
    finally:
        j.close()
    groups = {"endpoints", "page", "database", "rows", "state", "resources", "log"}
    assert {c["group"] for c in report["checks"] if c["ok"]} == groups, report
    assert not [c for c in report["checks"] if c["ok"] is False], report
