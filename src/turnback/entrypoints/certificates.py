"""Certificates as files beside the journal: one JSON document and one page each, for their owner alone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnback.core.certificate import FORMAT, headline, seal_holds
from turnback.errors import DiskFull, ProofFailed, UsageError


def keep(folder: Path, document: Mapping[str, Any]) -> str:
    """Writes FOLDER/<UTC>-<what>.json and .html, mode 0600. Returns the JSON file's path.

    Raises DiskFull where they cannot be written: a proof that nobody can read is none.
    """
    from turnback.entrypoints.pages.certificate import certificate_page  # with jinja2: imported when needed

    moment = "".join(c for c in document["ended_at"] if c.isalnum())
    page = certificate_page(document)
    try:
        folder.mkdir(mode=0o700, exist_ok=True, parents=True)
        path = _unused(folder, f"{moment}-{document['what']}")
        write_private(path, json.dumps(document, indent=2) + "\n")
        write_private(path.with_suffix(".html"), page)
    except OSError as e:
        raise DiskFull(
            f"{folder}: the certificate cannot be written: {e.strerror}",
            hint="make room there, then run `turnback resume` (or verify again)",
        ) from e
    return str(path)


def prepare() -> None:
    """For the guard: what `keep` needs is loaded while it is the version that runs."""
    from turnback.entrypoints.pages.certificate import prepare as prepare_page

    prepare_page()


def _unused(folder: Path, name: str) -> Path:
    path, number = folder / f"{name}.json", 1
    while path.exists():
        number += 1
        path = folder / f"{name}-{number}.json"
    return path


def write_private(path: Path, text: str) -> None:
    """A file that only its owner can read, whole or not there; what stood under that name is replaced."""
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
        os.fchmod(descriptor, 0o600)
        file.write(text)
    part.replace(path)


def check(path: Path) -> dict[str, Any]:
    """The certificate in the file, its seal proven. Raises UsageError (none there), ProofFailed (changed)."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as e:
        raise UsageError(f"{path}: {e.strerror}", hint="`turnback verify` writes certificates") from e
    except ValueError as e:
        raise UsageError(f"{path}: not JSON", hint="give the certificate's .json file") from e
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageError(f"{path}: not a certificate", hint=f'its "format" must be "{FORMAT}"')
    if not seal_holds(document):
        raise ProofFailed(
            f"{path}: the seal is broken: the certificate was changed after it was written",
            hint="trust nothing in it; `turnback verify --full` makes a new one",
        )
    return document


def said(document: Mapping[str, Any]) -> str:
    """What `turnback verify --certificate FILE` prints."""
    return f"the seal holds; {headline(document)}; made by {document['by'] or 'nobody named'}"
