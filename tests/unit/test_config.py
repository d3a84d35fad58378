"""turnback.toml: what is accepted, how problems are named, and that no secret shows."""

from __future__ import annotations

import re
from pathlib import Path

import apsw
import pytest

from turnback.core.choices import ColumnChoice
from turnback.entrypoints.config_reading import load
from turnback.entrypoints.init import write_config
from turnback.entrypoints.toml_lines import key_lines, line_of
from turnback.errors import ConfigError, SourceError

WHOLE = """\
[sqlite]
path = "data/app.db"
busy_seconds = 5
leave_behind = ["users_view", "users.check"]

[postgres]
url = "env:DATABASE_URL"
admin_url = "file:secrets/admin"
schema = "app"
mode = "existing"
max_retained_wal_bytes = 1_000_000

[state]
folder = "state"
allow_any_filesystem = true

[app]
platform = "process"
health = "http://127.0.0.1:3000/api/health"
stop_seconds = 2.5
url_env = "PG_URL"

[app.sqlite]
command = ["python", "app.py"]
env = {USE_SQLITE = "1", DATABASE_PATH = "{sqlite_path}"}

[app.postgres]
command = ["python", "app.py"]
schema = "python migrate.py"
[app.postgres.env]
DSN = "{postgres_url}"

[app.maintenance]
on = "touch down"
off = "rm down"

[rollback]
rto_objective_seconds = 60

[fallback]
keep = "36h"

[guard]
listen = "127.0.0.1:9187"

[tables.alembic_version]
replica_identity = "full"
[tables.cache]
exclude = true
[tables."Odd name"]
postgres = "odd_name"
columns.at = {codec = "epoch", unit = "ms"}
[tables.users.columns.id]
respell = true
pg_type = "uuid"
postgres = "user_id"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "turnback.toml"
    path.write_text(text)
    return path


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    return str(caught.value)


def test_the_smallest_file_has_every_default(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[sqlite]\npath = "app.db"\n'))
    assert config.sqlite_path == tmp_path / "app.db"
    assert config.state_folder == tmp_path / "app.db.turnback"
    assert config.plan_path == tmp_path / "turnback.plan.json"
    assert config.app.platform == "manual"
    assert config.postgres.schema_name == "public"
    assert config.postgres.mode == "create"
    assert config.fallback.keep_seconds == 14 * 86400
    assert config.resolve_urls({}) is None


def test_every_key(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets/admin").write_text("host=db user=root password=hush\n")
    config = load(write(tmp_path, WHOLE))
    assert config.state_folder == tmp_path / "state"
    assert config.app.postgres.schema_command == "python migrate.py"
    assert config.app.sqlite.env["USE_SQLITE"] == "1"
    assert config.app.maintenance is not None and config.app.maintenance.off == "rm down"
    assert config.fallback.keep_seconds == 36 * 3600
    choices = config.choices()
    assert choices.leave_behind == ("users_view", "users.check")
    assert choices.tables["alembic_version"].full
    assert choices.tables["cache"].exclude and not choices.tables["cache"].full
    assert choices.tables["Odd name"].postgres == "odd_name"
    assert choices.tables["Odd name"].columns["at"] == ColumnChoice(codec="epoch", unit="ms")
    assert choices.tables["users"].columns["id"] == ColumnChoice(
        pg_type="uuid", respell=True, postgres="user_id"
    )
    urls = config.resolve_urls({"DATABASE_URL": "postgresql://app:s3cret@db/app"})
    assert urls is not None
    assert urls.app_dsn == "postgresql://app:s3cret@db/app"
    assert urls.admin_dsn == "host=db user=root password=hush"
    for shown in (str(urls), repr(urls), str(config), repr(config)):
        assert "s3cret" not in shown and "hush" not in shown


def test_the_admin_url_defaults_to_the_applications(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[sqlite]\npath = "a.db"\n[postgres]\nurl = "env:U"\n'))
    urls = config.resolve_urls({"U": "postgresql://db/app"})
    assert urls is not None and urls.admin_dsn == urls.app_dsn == "postgresql://db/app"


def test_all_problems_at_once_each_with_its_line(tmp_path: Path) -> None:
    text = """\
[sqlite]
path = "app.db"
busy_second = 3

[app]
platform = "process"
[app.sqlite]
comand = ["x"]
[app.postgres]
command = "python app.py"
env = {A = 1}

[tables.users.columns.id]
respel = true
codec = "uuid"
"""
    assert refused(tmp_path, text).splitlines() == [
        "turnback.toml, line 3: [sqlite] busy_second: unknown key; did you mean busy_seconds?",
        "turnback.toml, line 8: [app.sqlite] comand: unknown key; did you mean command?",
        'turnback.toml, line 10: [app.postgres] command: must be a list of strings: ["one", "two"]',
        "turnback.toml, line 11: [app.postgres.env] A: must be a valid string",
        "turnback.toml, line 14: [tables.users.columns.id] respel: unknown key; did you mean respell?",
        "turnback.toml, line 15: [tables.users.columns.id] codec: must be 'integer', 'real', 'number',"
        " 'boolean', 'text', 'blob', 'timestamp_text', 'date_text', 'epoch', 'json_text', 'uuid_text',"
        " 'uuid_blob', 'affine', 'text_bytes', 'char', 'inet', 'array', 'verbatim', 'float4', 'decimal_text',"
        " 'interval', 'time_text' or 'epoch_real'",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "turnback.toml: sqlite: is needed"),
        ("[sqlite]\n", "line 1: [sqlite] path: is needed"),
        ('[sqlit]\npath = "a"\n', "line 1: sqlit: unknown key; did you mean sqlite?"),
        (
            '[sqlite]\npath = "a"\nbusy_seconds = "10"',
            "line 3: [sqlite] busy_seconds: must be a valid number",
        ),
        ('[sqlite]\npath = "a"\nbusy_seconds = -1', "line 3: [sqlite] busy_seconds: must be greater than 0"),
        ("[sqlite]\npath = a\n", "turnback.toml, line 2: invalid value"),
        (
            '[sqlite]\npath = "a"\n[fallback]\nkeep = "a fortnight"',
            "line 4: [fallback] keep: must be a number",
        ),
        ('[sqlite]\npath = "a"\n[app]\nplatform = "systemd"', "line 4: [app] platform: must be 'process'"),
        (
            '[sqlite]\npath = "a"\n[app]\nplatform = "process"\n',
            '[app.sqlite] command: is needed with [app] platform = "process"',
        ),
        (
            '[sqlite]\npath = "a"\n[app.sqlite]\ncommand = ["x"]\n',
            'line 4: [app.sqlite] command: does not fit [app] platform = "manual", but "process"',
        ),
        (
            '[sqlite]\npath = "a"\n[postgres]\nadmin_url = "env:X"\n',
            "line 4: [postgres] admin_url: needs url too",
        ),
        (
            '[sqlite]\npath = "a"\n[app.postgres]\nschema = "m --url {postgres_url}"\n',
            "line 4: [app.postgres] schema: {postgres_url} would show the password: use $DATABASE_URL",
        ),
        (
            '[sqlite]\npath = "a"\n[app.sqlite.env]\nU = "{postgres_url}"\n',
            "line 4: [app.sqlite.env] U: {postgres_url} is for [app.postgres]",
        ),
        (
            '[sqlite]\npath = "a"\n[app.maintenance]\non = " "\noff = "x {postgres_url}"\n',
            "line 4: [app.maintenance] on: is empty\n"
            "turnback.toml, line 5: [app.maintenance] off: {postgres_url} would show",
        ),
    ],
)
def test_each_problem_has_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:s3cret@db/app",
        "host=db password=s3cret",
        "postgresql://db/app?password=s3cret",
        "postgresql://app:s3cret%ZZ@db/app",
    ],
)
def test_a_password_in_the_file_is_refused_and_never_shown(tmp_path: Path, url: str) -> None:
    message = refused(tmp_path, f'[sqlite]\npath = "a"\n[postgres]\nurl = "{url}"\n')
    assert "line 4: [postgres] url" in message
    assert "s3cret" not in message


def test_a_literal_without_a_password_is_fine(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[sqlite]\npath = "a"\n[postgres]\nurl = "postgresql://db/app"\n'))
    urls = config.resolve_urls({})
    assert urls is not None and urls.app_dsn == "postgresql://db/app"


@pytest.mark.parametrize(
    ("url", "environment", "said"),
    [
        ("env:U", {}, "the environment variable U is not set"),
        (
            "env:U",
            {"U": "postgresql://app:s3cret@db/app?schema=public"},
            "the environment variable U holds no",
        ),
        ("file:gone", {}, "the file gone: No such file or directory"),
    ],
)
def test_a_url_that_does_not_resolve(
    tmp_path: Path, url: str, environment: dict[str, str], said: str
) -> None:
    config = load(write(tmp_path, f'[sqlite]\npath = "a"\n[postgres]\nurl = "{url}"\n'))
    with pytest.raises(ConfigError) as caught:
        config.resolve_urls(environment)
    assert said in str(caught.value)
    assert caught.value.__context__ is None or "s3cret" not in str(caught.value.__context__)
    assert "s3cret" not in str(caught.value)


def test_a_missing_file_names_init(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "turnback.toml")
    assert "turnback init" in caught.value.hint


def test_lines_of_keys_in_every_spelling() -> None:
    text = 'a.b = 1\n["x.y".z]\n"q r" = """\nfake = 1\n"""\nin = {one = 1, two.three = 2}\n[[list]]\nk = 1\n'
    lines = key_lines(text)
    assert lines == {
        ("a", "b"): 1,
        ("x.y", "z"): 2,
        ("x.y", "z", "q r"): 3,
        ("x.y", "z", "in"): 6,
        ("x.y", "z", "in", "one"): 6,
        ("x.y", "z", "in", "two", "three"): 6,
        ("list",): 7,
        ("list", "k"): 8,
    }
    assert line_of(lines, ("x.y", "z", "in", "two", "missing")) == 6
    assert line_of(lines, ("nowhere",)) is None


# ---- init ----------------------------------------------------------------------------------------


def make_database(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = apsw.Connection(str(path))
    for _ in connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)"):
        pass
    connection.close()


def test_init_finds_the_database(tmp_path: Path) -> None:
    make_database(tmp_path / "data/app.sqlite3")
    make_database(tmp_path / "node_modules/other.db")
    (tmp_path / "thumbs.db").write_bytes(b"not a database")
    path = write_config(tmp_path)
    config = load(path)
    assert config.sqlite.path == "data/app.sqlite3"
    assert config.resolve_urls({}) is None
    with pytest.raises(ConfigError, match="already there"):
        write_config(tmp_path)


def test_what_init_leaves_commented_out_is_a_configuration_too(tmp_path: Path) -> None:
    make_database(tmp_path / "app.db")
    path = write_config(tmp_path)
    smallest = load(path)
    assert (smallest.guard.listen, smallest.app.platform) == (None, "manual")
    path.write_text(re.sub(r"^# (?=\[|[a-z_]+ = )", "", path.read_text(), flags=re.MULTILINE))
    whole = load(path)
    assert (whole.guard.mode, whole.guard.listen) == ("recommend", "127.0.0.1:9464")
    assert whole.guard.database.url and whole.guard.metrics.url and whole.guard.notify.webhook
    assert (whole.validate_.page, whole.validate_.marker) == ("/", "Welcome")
    assert (whole.app.platform, whole.app.health) == ("process", "http://127.0.0.1:3000/api/health")


def test_init_asks_which_of_several(tmp_path: Path) -> None:
    make_database(tmp_path / "one.db")
    make_database(tmp_path / "two.db")
    with pytest.raises(SourceError, match=r"one\.db, two\.db") as caught:
        write_config(tmp_path)
    assert "--sqlite one.db" in caught.value.hint
    assert not (tmp_path / "turnback.toml").exists()
    assert load(write_config(tmp_path, tmp_path / "two.db")).sqlite.path == "two.db"


def test_init_finds_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no SQLite database found"):
        write_config(tmp_path)
    (tmp_path / "x.db").write_text("text")
    with pytest.raises(SourceError, match="not a SQLite database"):
        write_config(tmp_path, tmp_path / "x.db")
    assert not (tmp_path / "turnback.toml").exists()


def test_init_outside_the_folder_names_the_whole_path(tmp_path: Path) -> None:
    make_database(tmp_path / 'else"where/app.db')
    (tmp_path / "project").mkdir()
    config = load(write_config(tmp_path / "project", tmp_path / 'else"where/app.db'))
    assert config.sqlite_path == tmp_path / 'else"where/app.db'
