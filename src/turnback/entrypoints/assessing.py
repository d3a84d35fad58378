"""`turnback assess` and `turnback plan`: reads both sides, asks the mapping, writes the plan."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace

from turnback.adapters.postgres.connect import connect
from turnback.adapters.postgres.extensions import try_extensions
from turnback.adapters.postgres.introspect import read_schema as read_postgres
from turnback.adapters.postgres.rights import try_rights
from turnback.adapters.postgres.scratch import scratch_database
from turnback.adapters.postgres.value_trial import ServerTrial
from turnback.adapters.sqlite.census import Census
from turnback.adapters.sqlite.database import open_database
from turnback.adapters.sqlite.introspect import read_schema as read_sqlite
from turnback.adapters.sqlite.missing import missing_parts
from turnback.adapters.sqlite.rebuilds import try_rebuilds
from turnback.app.assess import Assessment
from turnback.app.assess import assess as assess_values
from turnback.core import ddl
from turnback.core.findings import Finding, blocking, counted
from turnback.core.mapping.virtual import judged, offered, without_offer
from turnback.core.phases import Intent, Phase, transition
from turnback.core.schema import PostgresSchema, SqliteSchema
from turnback.entrypoints.output import print_json
from turnback.entrypoints.wiring import Setup, schema_digest
from turnback.errors import ServerError
from turnback.ports import Progress


def assess(setup: Setup, progress: Progress) -> Assessment:
    """All findings at once; where none blocks, the plan file is written and the journal knows of it."""
    state = setup.state()
    transition(state.phase, Intent.ASSESS)
    config = setup.config
    path = setup.sqlite.original()
    open_database(  # says what is wrong with it
        path, "read", busy_seconds=config.sqlite.busy_seconds, extensions=config.sqlite_extensions
    ).close()
    with ExitStack() as held, Census(path, extensions=config.sqlite_extensions) as census:
        schema = read_sqlite(census.connection, path)
        lacking = missing_parts(census.connection, schema, config.choices())
        rights: tuple[Finding, ...] = ()
        target: PostgresSchema | None = None
        server_trial: ServerTrial | None = None
        try:
            rights = try_rights(
                setup.urls.admin_dsn,
                setup.urls.app_dsn,
                config.postgres.schema_name,
                config.postgres.mode,
                config.postgres.max_retained_wal_bytes,
            )
            target, dsn = _target(setup, schema, held)
            server_trial = ServerTrial(dsn)
        except ServerError as e:
            # The values are still worth knowing: everything that is wrong, in one run.
            if not any(f.code == "rights.connect" for f in rights):
                rights += (Finding("rights.connect", "refused", str(e), settle=e.hint),)
        assessment = assess_values(
            schema,
            census,
            config.choices(),
            mode=config.postgres.mode,
            target=target if target is not None or config.postgres.mode == "create" else _nothing(setup),
            progress=progress,
            postgres_schema=config.postgres.schema_name,
            rights=(*rights, *lacking.findings),
            lacking=lacking.names,
            server_trial=server_trial,
        )
    assessment = _with_rebuilds_tried(setup, assessment, progress)
    if assessment.draft.extensions and server_trial is not None:
        refused = try_extensions(
            setup.urls.admin_dsn, assessment.draft.extensions, config.postgres.schema_name
        )
        assessment = _with(assessment, (*assessment.findings, *refused))
    setup.journal.append("findings", counted(assessment.findings))
    if assessment.plan is not None:
        config.plan_path.write_text(assessment.plan.to_json())
        setup.journal.append("assessed", {"plan": assessment.plan.digest(), "schema": schema_digest(schema)})
    return assessment


def _with_rebuilds_tried(setup: Setup, assessment: Assessment, progress: Progress) -> Assessment:
    """Every rebuild of a virtual table is tried on a copy of the file. One that would not do is a finding;
    one that triggers amount to is offered only where it is exact (HAZARDS R17).
    """
    choices, schema = setup.config.choices(), assessment.schema
    asked = {
        t.name: t
        for t in schema.tables
        if t.kind == "virtual"
        and any(f.table == t.name and f.severity == "choice" for f in assessment.findings)
    }
    lacking = {f.table for f in assessment.findings if f.code == "F44"}
    offers = {name: plan for name, t in asked.items() if (plan := offered(t, schema)) is not None}
    planned = [p for p in assessment.draft.virtual if p.name not in lacking]
    if not planned and not offers:
        return assessment
    trials = try_rebuilds(
        setup.sqlite.original(),
        [*planned, *(p for p in offers.values() if p.name not in lacking)],
        setup.state_folder / "rebuild-trial.db",
        progress,
        extensions=setup.config.sqlite_extensions,
    )
    exact = {name for name in offers if (t := trials.get(name)) and not (t.error or t.missing or t.extra)}
    findings = [
        without_offer(f, asked[f.table], schema, choices)
        if f.code == "F33" and f.table in offers and f.table not in exact
        else f
        for f in assessment.findings
    ]
    findings += [judged(p, trials[p.name]) for p in planned]
    return _with(assessment, tuple(findings))


def _with(assessment: Assessment, findings: tuple[Finding, ...]) -> Assessment:
    return replace(assessment, findings=findings, plan=None if blocking(findings) else assessment.plan)


def _nothing(setup: Setup) -> PostgresSchema:
    return PostgresSchema(setup.config.postgres.schema_name, (), ())


def _target(setup: Setup, schema: SqliteSchema, held: ExitStack) -> tuple[PostgresSchema | None, str]:
    """The schema to map to, and the DSN of a database that has it.

    In existing mode with a schema command that has not run yet, that is a scratch database, held as long as
    it is needed: assess changes nothing.
    """
    own = setup.urls.admin_dsn
    config = setup.config
    name = config.postgres.schema_name
    with connect(setup.urls.admin_dsn) as connection:
        there = read_postgres(connection, name)
    if setup.state().phase is Phase.ON_SQLITE:
        # After a rollback the plan's tables and rows are there by our hand; `migrate --again` clears them.
        there = replace(there, tables=tuple(replace(t, has_rows=False) for t in there.tables))
        if config.postgres.mode == "create":
            return None, own
    if config.postgres.mode == "create":
        return there, own
    command = config.app.postgres.schema_command
    names = {t.name for t in schema.tables}
    if command is None or any(t.name in names for t in there.tables):
        return there, own
    scratch = held.enter_context(scratch_database(setup.urls.admin_dsn, setup.urls.app_dsn))
    setup.run_schema_command(command, scratch.app_dsn)
    with connect(scratch.admin_dsn) as connection:
        return read_postgres(connection, name), scratch.admin_dsn


def show_plan(setup: Setup, as_json: bool) -> None:
    """The plan as it will be (or was) used, and the statements of create mode."""
    plan = setup.plan()
    statements = [*ddl.create_schema(plan), *ddl.build_constraints(plan)] if plan.mode == "create" else []
    if as_json:
        print_json({"digest": plan.digest(), "plan": plan.to_json(), "statements": statements})
        return
    print(f"plan {plan.digest()[:12]}, mode {plan.mode}, schema {plan.schema}")
    for table in plan.tables:
        print(f"\n{table.sqlite} -> {plan.schema}.{table.postgres}")
        for column in table.columns:
            print(f"    {column.sqlite:<28} {column.pg_type:<28} {column.codec:<16} {column.why}")
        for constant in (*table.postgres_constants, *table.sqlite_constants):
            print(f"    {constant.column:<28} {'':<28} {'constant':<16} {constant.value!r}")
        if table.clear_first:
            print(f"    its {table.seed_rows} seed rows in PostgreSQL are deleted before the load")
    for sequence in plan.sequences:
        print(f"\nsequence {sequence.name} goes on from {sequence.table}.{sequence.column}")
    for excluded in plan.excluded:
        print(f"\nnot carried: {excluded.side} {excluded.name}: {excluded.why}")
    if statements:
        print("\n" + "\n".join(f"{s};" for s in statements))
