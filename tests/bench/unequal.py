"""Cores that are not alike: a run that learns its workers' speeds and may tie them to cores, against the same without.

One core is shared with another process that is pinned to it, or one worker may use 40 % of a core (quota of a control
group), or nothing disturbs the run. Each run is in a fresh process with warm workers, at the defaults. The bound is
that of the tasks' times alone, one at a time on the idle machine, with cores of these speeds. Quotas need the rights of
root, and the first version of control groups.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from harness import Benchmark, Computation, call_in_process, interval, take_turns
from processes import below

from autotune.base.options import Options
from autotune.compare.judgement import compare_pairs
from autotune.schedule import bounds
from autotune.schedule.speeds import Speeds
from autotune.session.session import Session
from autotune.workers.pool import Pool

QUOTA = 0.4
SIDES = ("learned", "without")
SPEEDS = {"alike": (1.0, 1.0), "a core shared": (1.0, 0.5), "a worker at 40 %": (1.0, QUOTA)}
LOADS = {
    "uneven": Computation("methanol_water6", "hf", "cc-pvdz", 3),
    "few large": Computation("water6", "mp2", "cc-pvtz", 2),
}
CASES = {f"{load}, {state}": (load, state) for load in LOADS for state in SPEEDS}


def measure(arguments) -> Iterator[dict]:
    alone_s = {}
    for case in arguments.cases:
        load, state = CASES[case]
        if load not in alone_s:
            alone_s[load] = call_in_process(times_alone, load)
        sides = {side: partial(call_in_process, run, load, state, side) for side in SIDES}
        found = take_turns(sides, repeats=arguments.repeats)
        seconds = {side: [each["tasks_s"] for each in runs] for side, runs in found.items()}
        bound_s = bounds.lower_bound_of_speeds_s(alone_s[load], SPEEDS[state])
        gain = compare_pairs(seconds["without"], seconds["learned"])
        yield {
            "case": case,
            "tasks": len(alone_s[load]),
            "seconds": seconds,
            "speedup": round(gain.speedup, 4),
            "interval": interval(gain),
            "bound_s": round(bound_s, 3),
            "of_bound": {side: round(bound_s / statistics.median(each), 3) for side, each in seconds.items()},
            "speeds_found": [each["speeds"] for each in found["learned"]],
        }


def times_alone(load: str) -> list[float]:
    with Session(Options(tuning="none", workers=1, threads=1, journal="none")) as session:
        session.run(LOADS[load].fields)
        return [task.wall_s for task in session.record.task_records]


def run(load: str, state: str, side: str) -> dict:
    computation, found = LOADS[load], [()]
    ask = Speeds.found

    def asked(speeds: Speeds, seats: int, **words: float) -> tuple[float, ...]:
        found.append(ask(speeds, seats, **words))
        return () if side == "without" else found[-1]

    Speeds.found = asked
    with Session(Options(tuning="none", journal="none")) as session:
        session.run(computation._replace(max_nbody=1).fields)
        if side == "without":
            Pool.pin = lambda *_: None
        with DISTURBANCES[state]():
            session.run(computation.fields)
        record = session.record
    return {
        "tasks_s": record.wall_s - record.gap.startup - record.gap.assembly,
        "speeds": [round(each, 3) for each in found[-1]],
    }


@contextlib.contextmanager
def competitor() -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
        yield
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def quota() -> Iterator[None]:
    group = Path("/sys/fs/cgroup/cpu/autotune-unequal")
    group.mkdir()
    try:
        (group / "cpu.cfs_quota_us").write_text(str(round(QUOTA * 100_000)))
        (group / "cgroup.procs").write_text(str(max(workers())))
        yield
    finally:
        root = group.parent / "cgroup.procs"
        for pid in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                root.write_text(pid)
        time.sleep(0.1)
        group.rmdir()


DISTURBANCES = {"alike": contextlib.nullcontext, "a core shared": competitor, "a worker at 40 %": quota}


def workers() -> list[int]:
    zygotes = [each for each in below() if "autotune.workers.zygote" in each.cmdline()]
    (zygote,) = [each for each in zygotes if each.ppid() == os.getpid()]
    return [each.pid for each in zygote.children()]


def sums(rows: Sequence[dict]) -> dict:
    return {
        "speedups": {row["case"]: row["speedup"] for row in rows},
        "of_bound": {row["case"]: row["of_bound"]["learned"] for row in rows},
    }


BENCHMARK = Benchmark(
    what="two cores that are not alike: speeds learned in the run against the same run without",
    measure=measure,
    rows="rows",
    key=("case",),
    cases=tuple(CASES),
    repeats=5,
    summary=sums,
)
