"""Wagtail and JupyterHub, from the package index, with the schema that their own migrations make: there and back.

Each is `examples/apps/there_and_back.py`, as a user would run it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "apps" / "there_and_back.py"


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.hazard("F36", "choice", mode="existing")
@pytest.mark.parametrize("application", ["wagtail", "jupyterhub"])
def test_a_real_application_goes_there_and_back(application, tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), application, "--keep", str(tmp_path / "app")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["same_after_migrate"] and result["same_after_rollback"] and result["rows"] > 300
