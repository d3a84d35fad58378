"""The catalogue as PostgreSQL itself tells it."""

from __future__ import annotations

from contextlib import closing

import pytest

from assessing import run_statements
from conftest import Database
from turnback.adapters.postgres.connect import connect
from turnback.adapters.postgres.introspect import read_schema
from turnback.core.schema import PostgresSchema
from turnback.errors import ServerError

SCHEMA = """
CREATE TYPE public.mood AS ENUM ('sad', 'Ok');
CREATE DOMAIN public.email AS text;
CREATE TABLE public.parent (a integer, "B c" varchar(20), PRIMARY KEY ("B c", a));
CREATE TABLE public."Child" (
  id serial PRIMARY KEY,
  big bigint GENERATED ALWAYS AS IDENTITY,
  at timestamptz(3) NOT NULL DEFAULT now(),
  m public.mood, e public.email, tags text[], doubled integer GENERATED ALWAYS AS (1 + 1) STORED,
  pa integer, pb varchar(20),
  gone integer,
  UNIQUE (pa) DEFERRABLE INITIALLY DEFERRED,
  CHECK (pa > 0),
  CONSTRAINT up FOREIGN KEY (pb, pa) REFERENCES public.parent ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED
);
ALTER TABLE public."Child" DROP COLUMN gone;
CREATE UNIQUE INDEX partial ON public."Child" (pb, lower(pb)) INCLUDE (m) WHERE pa > 1;
CREATE UNLOGGED TABLE public.fast (x text);
CREATE TABLE public.split (k integer) PARTITION BY RANGE (k);
CREATE TABLE public.split_1 PARTITION OF public.split FOR VALUES FROM (0) TO (10);
INSERT INTO public.split VALUES (1);
CREATE FUNCTION public.nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER mine BEFORE INSERT ON public."Child" FOR EACH ROW EXECUTE FUNCTION public.nothing();
CREATE TRIGGER turnback_fence BEFORE INSERT ON public."Child" FOR EACH ROW EXECUTE FUNCTION public.nothing();
"""


@pytest.fixture
def schema(database: Database) -> PostgresSchema:
    run_statements(database.admin_dsn, [SCHEMA])
    with closing(connect(database.admin_dsn)) as connection:
        return read_schema(connection, "public")


def test_columns(schema: PostgresSchema) -> None:
    columns = {c.name: c for c in schema.table("Child").columns}
    assert list(columns) == ["id", "big", "at", "m", "e", "tags", "doubled", "pa", "pb"]
    assert {n: (c.type_name, c.type_kind) for n, c in columns.items() if c.type_kind != "base"} == {
        "m": ("public.mood", "enum"),
        "e": ("public.email", "domain"),
        "tags": ("text[]", "array"),
    }
    assert columns["at"].type_name == "timestamp(3) with time zone" and columns["at"].not_null
    assert columns["big"].identity == "always" and columns["doubled"].generated
    assert columns["doubled"].default_sql is None
    assert columns["m"].labels == ("sad", "Ok")
    assert columns["e"].base_type == "text" and columns["m"].base_type == ""


def test_constraints_and_indexes(schema: PostgresSchema) -> None:
    child = schema.table("Child")
    by_kind = {c.kind: c for c in child.constraints}
    assert set(by_kind) == {"primary_key", "unique", "check", "foreign_key"}
    up = by_kind["foreign_key"]
    assert (up.columns, up.parent, up.parent_columns) == (("pb", "pa"), "parent", ("B c", "a"))
    assert (up.on_update, up.on_delete, up.deferred) == ("NO ACTION", "CASCADE", True)
    partial = next(i for i in child.indexes if i.name == "partial")
    assert partial.columns == ("pb", "") and partial.partial and partial.unique
    deferred = next(i for i in child.indexes if i.columns == ("pa",))
    assert not deferred.immediate
    assert schema.table("parent").constraints[0].columns == ("B c", "a")


def test_kinds_triggers_and_sequences(schema: PostgresSchema) -> None:
    kinds = {t.name: (t.kind, t.persistence, t.has_rows) for t in schema.tables}
    assert kinds["fast"] == ("table", "unlogged", False)
    assert kinds["split"] == ("partitioned", "permanent", True)
    assert kinds["split_1"] == ("partition", "permanent", True)
    assert schema.table("Child").triggers == ("mine",)
    assert {s.owner for s in schema.sequences} == {("Child", "id"), ("Child", "big")}


def test_a_schema_that_is_not_there(database: Database) -> None:
    with closing(connect(database.admin_dsn)) as connection:
        with pytest.raises(ServerError, match="no schema nowhere"):
            read_schema(connection, "nowhere")
