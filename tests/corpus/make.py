"""Writes the corpus: `python -m corpus.make FOLDER` from tests/, or `make(folder)`. Nothing binary is committed."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path

import apsw

from corpus.cases import CASES
from corpus.everything import everything


def make(folder: Path) -> dict[str, Path]:
    """One file per case and all.db, by their names without .db."""
    folder.mkdir(parents=True, exist_ok=True)
    makers = {name: case.make for name, case in CASES.items()} | {"all": everything}
    made = {}
    for name, maker in makers.items():
        made[name] = folder / f"{name}.db"
        with closing(apsw.Connection(os.fspath(made[name]))) as file:
            if callable(maker):
                maker(file)
            else:
                for _ in file.execute(maker):
                    pass
    return made


if __name__ == "__main__":
    for path in make(Path(sys.argv[1])).values():
        print(path)
