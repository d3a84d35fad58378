"""What the journey does to the hub's database through the hub's own ORM.

python hub.py create         the schema, as a starting hub makes it
python hub.py fill|more      users, groups, tokens, servers; what a second database is written to
python hub.py dump           every row of every table, as the ORM reads them
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import sys

from jupyterhub import orm, roles
from jupyterhub_config import database
from sqlalchemy import select
from sqlalchemy.orm import Session

MOMENTS = [
    dt.datetime(2024, 3, 31, 2, 30),  # naive: the hub stores UTC
    dt.datetime(2024, 10, 27, 0, 30, 0, 123456),
    dt.datetime(2026, 1, 1, 0, 0, 0, 1),
    None,
]
ODD = ["plain", "Ünïcode 漢字 🐘", "quote ' \" \\", "line\nbreak"]


def fill(db: Session) -> None:
    for role in roles.get_default_roles():
        roles.create_role(db, role)
    db.add(orm.OAuthClient(identifier="jupyterhub", description="JupyterHub"))  # as a starting hub does
    groups = [
        orm.Group(name=f"group-{n}", properties={"quota": n, "z": [1.5, None], "a": "é"}) for n in range(4)
    ]
    db.add_all(groups)
    for n in range(60):
        user = orm.User(
            name=f"user-{n}", admin=n % 7 == 0, created=MOMENTS[n % 4], last_activity=MOMENTS[(n + 1) % 4]
        )
        user.state = {"number": n, "text": ODD[n % 4]}
        user.encrypted_auth_state = bytes(range(n, n + 50)) if n % 3 else None
        user.groups = groups[: n % 4]
        db.add(user)
        db.flush()
        server = orm.Server(
            proto="http", ip="127.0.0.1", port=10_000 + n, base_url=f"/user/{n}/", cookie_name="c"
        )
        db.add(server)
        db.add(
            orm.Spawner(
                user=user,
                server=server if n % 2 else None,
                name="" if n % 2 else ODD[n % 4],
                state={"pid": n},
                started=MOMENTS[n % 4],
                last_activity=MOMENTS[n % 4],
                user_options={"b": 1, "a": 2},
            )
        )
        user.new_api_token(
            f"token-of-user-{n}-with-its-own-length", note=ODD[n % 4], expires_in=3600 * (n + 1)
        )
    db.commit()


def more(db: Session) -> None:
    made = orm.User(name="on-postgresql", admin=False, created=MOMENTS[1], state={"new": True})
    db.add(made)
    db.flush()
    made.new_api_token("token-made-on-postgresql-itself", note="new")
    changed = db.scalars(select(orm.User).where(orm.User.name == "user-3")).one()
    changed.name, changed.last_activity, changed.encrypted_auth_state = (
        "user-3-renamed",
        MOMENTS[2],
        b"\x00\xff",
    )
    changed.state = {"changed": [1, 2, {"x": None}]}
    db.delete(db.scalars(select(orm.User).where(orm.User.name == "user-4")).one())
    db.scalars(select(orm.Group).where(orm.Group.name == "group-1")).one().users.append(made)
    db.commit()


def dump(db: Session) -> None:
    found = {}
    for table in orm.Base.metadata.sorted_tables:
        # When a token was last used is written by the hub itself, also by the questions of the journey.
        columns = [c for c in table.columns if (table.name, c.name) != ("api_tokens", "last_activity")]
        rows = [
            {c.name: plain(v) for c, v in zip(columns, row, strict=True)}
            for row in db.execute(select(*columns))
        ]
        found[table.name] = sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
    print(json.dumps(found, indent=1, sort_keys=True))


def plain(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, dt.datetime) else value


if __name__ == "__main__":
    session = orm.new_session_factory(database())()
    match sys.argv[1]:
        case "fill":
            fill(session)
        case "more":
            more(session)
        case "dump":
            dump(session)
    session.close()
