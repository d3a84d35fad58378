"""Capture: what it refuses to follow, law 2, exactly once, and when it may acknowledge."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import apsw

import patience
from capturing import Both, column, table
from mutants import Mutant, Place, demand
from mutants.gate import copy
from turnback.adapters.sqlite.apply import TableWriter
from turnback.adapters.sqlite.fallback import Fallback
from turnback.app.capture import Capture
from turnback.app.transactions import Assembler
from turnback.core.lsn import ZERO
from turnback.core.plan import Plan
from turnback.errors import DiskFull, NotReady
from turnback.ports import Position, StreamItem

BODY = '{"b":  1, "a":2}'  # jsonb keeps neither this order nor these spaces
AHEAD = 1 << 20  # bytes of WAL

_ID = column("id", "integer", "INTEGER")
_TABLES = (
    table(
        "doc", ("id",), _ID, column("note", "text", "TEXT"), column("body", "json_text", "TEXT", respell=True)
    ),
    table("log", (), column("line", "text", "TEXT")),
)


def both_sides(place: Place) -> Both:
    both = Both(
        place.database,
        place.folder,
        Plan("create", "public", _TABLES),
        "CREATE TABLE doc (id INTEGER PRIMARY KEY, note TEXT, body TEXT); CREATE TABLE log (line TEXT)",
        "CREATE TABLE doc (id bigint PRIMARY KEY, note text, body jsonb); CREATE TABLE log (line text)",
    )
    with closing(apsw.Connection(os.fspath(both.path))) as file:
        file.execute("INSERT INTO doc VALUES (1, 'old', ?)", (BODY,))
    both.pg.execute("INSERT INTO doc VALUES (1, 'old', %s)", [BODY])
    both.open_up()
    return both


def _follow(both: Both) -> None:
    """Capture from where the fallback stands. A row that is written now arrives, or capture says why not."""
    capture = both.capture()
    capture.start()
    try:
        capture.wait_streaming(20)
        both.pg.execute("INSERT INTO log VALUES ('from now on')")
        token = f"here {time.monotonic_ns()}"
        arrived = capture.wait_for(token, both.emit(token), 1.5)
    except NotReady:
        return
    finally:
        capture.stop()
    lines = [row[0] for row in both.rows("log")]
    demand(arrived and "from now on" in lines, "streams, and what is written does not arrive")


def _standing_on(place: Place, what: str, value: object) -> None:
    """The fallback followed another server, or timeline, whose positions are used again by this one."""
    both = both_sides(place)
    with closing(apsw.Connection(os.fspath(both.path))) as file:
        file.execute(
            f"UPDATE _turnback_position SET {what} = ?, applied_lsn = applied_lsn + ?", (value, AHEAD)
        )
    _follow(both)


def another_timeline(place: Place) -> None:
    """After a failover the server may be behind the fallback."""
    _standing_on(place, "timeline", 7)


def another_server(place: Place) -> None:
    """The same name, another cluster."""
    _standing_on(place, "system_identifier", "7000000000000000000")


def an_older_fallback_file(place: Place) -> None:
    """The server has let go of what it lacks."""
    both = both_sides(place)
    older = place.folder / "older.db"
    copy(both.path, older)
    with both.capturing() as capture:
        both.pg.execute("INSERT INTO log VALUES ('once')")
        both.drain(capture)
    copy(older, both.path)
    capture = both.capture()
    capture.start()
    try:
        capture.wait_streaming(20)
        both.drain(capture)
    except NotReady as e:
        assert "older file" in str(e)
        return
    finally:
        capture.stop()
    demand(both.rows("log") == [("once",)], "streams, and a row is missing for good")


def an_untouched_value(place: Place) -> None:
    """An update of its neighbour leaves its bytes alone."""
    both = both_sides(place)
    both.pg.execute("UPDATE doc SET note = 'new'")
    both.pump()
    ((note, body),) = both.rows("doc", "note, body")
    assert note == "new"
    demand(body == BODY, f"the untouched value is now {body!r}")


def a_transaction_sent_again(place: Place) -> None:
    """The acknowledgement was lost: a table without a key would show the row twice."""
    both = both_sides(place)
    both.pg.execute("INSERT INTO log VALUES ('once')")
    for token in ("first", "second"):
        both.emit(token)
        _apply_from_the_slot(both, token)
    lines = both.rows("log")
    demand(lines == [("once",)], f"the row is there {len(lines)} times")


def _apply_from_the_slot(both: Both, token: str) -> None:
    """All that the slot still has, up to the token, without acknowledging any of it."""
    with closing(both.fallback()) as fallback, closing(both.stream(ZERO)) as stream:
        assembler = Assembler(fallback.folder)
        deadline = time.monotonic() + patience.SECONDS
        try:
            while fallback.seen_token(token) is None:
                assert time.monotonic() < deadline
                for item in stream.receive(0.2):
                    done = assembler.add(item.message) if isinstance(item, StreamItem) else None
                    if done is not None:
                        fallback.apply([done])
        finally:
            assembler.close()


def a_disk_that_was_full(place: Place) -> None:
    """What could not be applied is sent again once there is room."""
    both = both_sides(place)
    proper = Fallback.apply

    def apply(*_: object) -> None:
        raise DiskFull("no room, says the test", hint="make room")

    place.patch.setattr(Fallback, "apply", apply)
    capture = both.capture()
    capture.start()
    try:
        capture.wait_streaming(20)
        both.pg.execute("INSERT INTO log VALUES ('once')")
        _until(lambda: capture.status().state == "stopped")
    finally:
        capture.stop()
    assert "no room" in str(capture.status().error)
    place.patch.setattr(Fallback, "apply", proper)
    again = both.capture()
    again.start()
    try:
        again.wait_streaming(20)
        both.drain(again)
    except NotReady as e:
        demand(False, f"the way back is lost: {e}")
    finally:
        again.stop()
    demand(both.rows("log") == [("once",)], "a row is missing for good")


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + patience.SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _trusting(change: Callable[[Capture, Position], Position]) -> Callable[[Place], None]:
    """Capture that takes a part of the stored position for the server's own."""

    def remove(place: Place) -> None:
        proper = Capture._refuse_other_server

        def refuse(capture: Capture, position: Position) -> None:
            proper(capture, change(capture, position))

        place.patch.setattr(Capture, "_refuse_other_server", refuse)

    return remove


def _any_slot(capture: Capture, position: Position) -> Position:
    capture._confirmed_flush = lambda: ZERO
    return position


def _write_all(place: Place) -> None:
    def differences(
        writer: TableWriter, old: object, new: tuple[str | None, ...]
    ) -> list[tuple[int, object]]:
        codecs = writer.map.codec.codecs
        return [(p, None if t is None else codecs[p].decode(t)) for p, t in enumerate(new)]

    place.patch.setattr(TableWriter, "_differences", differences)


def _nothing_is_applied_yet(place: Place) -> None:
    proper = Fallback.position
    place.patch.setattr(Fallback, "position", lambda fallback: replace(proper(fallback), applied_lsn=ZERO))


def _acknowledge_first(place: Place) -> None:
    proper = Capture._apply

    def apply(capture: Capture, sink: object, stream: object, ready: list) -> None:
        stream.acknowledge(ready[-1].commit.end_lsn)
        proper(capture, sink, stream, ready)

    place.patch.setattr(Capture, "_apply", apply)


SILENT = "streams, and what is written does not arrive"

MUTANTS = {
    "the timeline": Mutant(
        "any timeline will do",
        _trusting(lambda capture, p: replace(p, timeline=capture._identify().timeline)),
        another_timeline,
        SILENT,
    ),
    "the system identifier": Mutant(
        "any server will do",
        _trusting(lambda capture, p: replace(p, system_identifier=capture._identify().identifier)),
        another_server,
        SILENT,
    ),
    "the position against the slot": Mutant(
        "nobody asks what the slot has let go of",
        _trusting(_any_slot),
        an_older_fallback_file,
        "streams, and a row is missing for good",
    ),
    "law 2: the comparison": Mutant(
        "an update writes every column that it was sent",
        _write_all,
        an_untouched_value,
        "the untouched value is now",
    ),
    "exactly once: what is applied is left out": Mutant(
        "every transaction that is given is applied",
        _nothing_is_applied_yet,
        a_transaction_sent_again,
        "the row is there 2 times",
    ),
    "acknowledge only after commit": Mutant(
        "what has arrived is acknowledged before it is applied",
        _acknowledge_first,
        a_disk_that_was_full,
        "the way back is lost: .*has let go of changes",
    ),
}
