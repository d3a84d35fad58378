"""The wall clock jumps by a day and back under a running guard; the clock that decides does not."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from guarded import Guarded

# Adds the seconds in a file to the wall clock of a process. (libfaketime 0.9.10, told to leave the monotonic clock
# alone, makes time.sleep fail.)
SHIFTED = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <sys/time.h>

static long shift(void) {
    long by = 0;
    FILE *file = fopen(getenv("CLOCK_SHIFT"), "re");
    if (file) { if (fscanf(file, "%ld", &by) != 1) by = 0; fclose(file); }
    return by;
}
int clock_gettime(clockid_t which, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int done = real(which, t);
    if (which == CLOCK_REALTIME) t->tv_sec += shift();
    return done;
}
int gettimeofday(struct timeval *t, void *zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    t->tv_sec = now.tv_sec;
    t->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *t) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (t) *t = now.tv_sec;
    return now.tv_sec;
}
"""
HOUR, DAY = 3600, 86_400


@pytest.mark.long
def test_a_wall_clock_that_jumps_decides_nothing_and_spoils_no_report(guarded, tmp_path: Path) -> None:
    shift = tmp_path / "shift"

    def set_clock(by: int) -> None:
        beside = shift.with_suffix(".new")
        beside.write_text(f"{by}\n")
        beside.rename(shift)

    set_clock(0)
    g: Guarded = guarded(environment={"LD_PRELOAD": str(library(tmp_path)), "CLOCK_SHIFT": str(shift)})
    g.to_postgres()
    for by in (DAY, -HOUR, 400 * DAY, -HOUR):
        set_clock(by)
        settle(g)
        told = g.turnback("status").stdout
        assert nonsense(told) == [], told
    assert not g.rollbacks() and g.decisions() == [], g.told()
    set_clock(DAY)
    settle(g)
    (g.folder / "broken").touch()
    g.kill_application()
    g.wait_until(lambda: g.decisions("rollback"), g.told)
    set_clock(-HOUR)
    g.assert_rolled_back("application-health")
    bad = {}
    for command in (["status"], ["report"], ["report", "--json"], ["brief"], ["brief", "--md"]):
        out = g.turnback(*command)
        assert out.returncode == 0, out.stderr
        if found := nonsense(out.stdout):
            bad[" ".join(command)] = (found, out.stdout)
    assert not bad, "\n".join(f"{c}: {found}\n{text}" for c, (found, text) in bad.items())


def library(folder: Path) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler: the library that sets a process's clock is made with it")
    (folder / "shifted.c").write_text(SHIFTED)
    made = folder / "shifted.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", made, folder / "shifted.c", "-ldl"], check=True)
    return made


def settle(g: Guarded) -> None:
    """The guard has read its clock anew, and judged each of its probes by it."""
    before = g.gateway.asked.copy()
    g.wait_until(
        lambda: all(g.gateway.asked[p] > before[p] + 8 for p in before), lambda: f"{before} {g.gateway.asked}"
    )


def nonsense(text: str) -> list[str]:
    """Durations below zero, and ages and durations of hours in a test of a minute."""
    return re.findall(
        r"(?<![\w.-])-\d[\d.,]* ?(?:s|ms|min|h|d)\b|\bin \d+ (?:day|hour|minute)s?\b|\b\d{4,}(?:\.\d+)? s\b"
        r'|\d+ (?:days?|hours?|h|d)\b ago|"\w*seconds": -?\d{4,}|"\w*seconds": -\d',
        text,
    )
