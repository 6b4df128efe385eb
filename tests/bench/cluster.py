"""What becomes of jobs on a cluster, at random moments: a real Slurm of two nodes, each case again and again.

A run is the command on two nodes, with the configuration of the guide, or one job that runs the command with
`--resume`. At a random moment of it something happens: see `CASES`. Where the command does not come to its end by
itself it is given again with `--resume`. Half of the runs are PySCF's, whose result must be that of an undisturbed run
to the last bit. The others are of a program that only sleeps and writes a line for each task it has ended, which shows
what was ended twice. Afterwards no job may be in the queue, no process on the nodes, and all nodes are idle.

It needs the rights of root and Slurm's packages; see `make test-cluster`.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import real_slurm
from cluster_user import User
from harness import Benchmark, offer_faulty_program

LIMIT_S = 300.0  # of one run
LEFT_S = 90.0  # until everything is gone: Slurm itself keeps a job whose node has failed for a minute
SMALL_MIB = 16  # of the folder that fills up
URGENT = "#!/bin/bash\nsleep 5\n"


class Run(NamedTuple):
    """A run that is to be disturbed.

    Attributes:
        user: Who runs it.
        source: Its input.
        moment_s: When something happens, after its start.
        order: Further chance.
        seen: What was found on the way: `struck`, whether tasks were under way or done when it happened; `left` and
            `gone_after_s` each time that all should have gone.
    """

    user: User
    source: Path
    moment_s: float
    order: random.Random
    seen: dict[str, list]

    @property
    def words(self) -> tuple:
        """Of the command that runs it on two nodes."""
        return self.user.on_nodes(self.source, "--journal", "journal.db", "--threads", 1)

    def start(self) -> subprocess.Popen:
        """Start the command, and return at the moment or when it has ended."""
        process = self.user.start(*self.words)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.moment_s)
        self.seen["struck"].append(process.poll() is None)
        return process

    def gone(self) -> None:
        """Wait until nothing is left of the run, and note how long that takes and what is left all the same."""
        began = time.monotonic()
        self.seen["left"].append(nothing_left(self.user))
        self.seen["gone_after_s"].append(round(time.monotonic() - began, 1))

    def go_on(self) -> str:
        """Give the command again."""
        status, _, said = self.user.call(*self.words, "--resume", limit_s=LIMIT_S)
        if status:
            raise RuntimeError(f"--resume ends with {status}: {said}")
        return said

    def submit(self, *options: str) -> int:
        """Submit the command with `--resume` as one job and return its number at the moment."""
        job = self.user.slurm.submit(self.user.job_script(self.source), *options)
        time.sleep(self.moment_s)
        self.seen["struck"].append(self.user.slurm.state(job) == "RUNNING")
        return job

    def finish(self, job: int) -> str:
        """Wait for the end of a job that Slurm has taken back, and return what it said."""
        slurm = self.user.slurm
        deadline = time.monotonic() + LIMIT_S
        while job in slurm.jobs():
            # Slurm would hold it for two minutes, and fails a job that starts in the second of its end.
            if slurm.state(job) == "PENDING" and not slurm.steps(job):
                time.sleep(1.0)
                slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now", check=False)
            if time.monotonic() > deadline:
                raise TimeoutError(f"job {job} does not end")
            time.sleep(1.0)
        said = (self.user.folder / f"slurm-{job}.out").read_text()
        if (state := slurm.state(job)) != "COMPLETED":
            raise RuntimeError(f"job {job} is {state}: {said}")
        return said


def finish(process: subprocess.Popen) -> str:
    """Wait for a command that is to end by itself, and return what it said."""
    _, said = process.communicate(timeout=LIMIT_S)
    if process.returncode:
        raise RuntimeError(f"the command ends with {process.returncode}: {said}")
    return said


# --- what happens -----------------------------------------------------------------------------------------------------


def block_cancelled(run: Run) -> str:
    process = run.start()
    if jobs := sorted(run.user.slurm.jobs()):
        run.user.slurm.call("scancel", run.order.choice(jobs))
    return finish(process)


def block_preempted(run: Run) -> str:
    process = run.start()
    run.user.slurm.submit(run.user.script(URGENT, "urgent.sh"), "--partition=urgent", "--exclusive")
    return finish(process)


def node_fails(run: Run) -> str:
    process = run.start()
    run.user.slurm.crash_node("n1")
    try:
        time.sleep(run.order.uniform(0.0, 20.0))
    finally:
        run.user.slurm.start_node("n1")
    return finish(process)


def command_killed(run: Run) -> str:
    process = run.start()
    process.kill()
    process.communicate()
    run.gone()
    return run.go_on()


def command_interrupted(run: Run) -> str:
    process = run.start()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=LIMIT_S)
    run.gone()
    return run.go_on()


def job_requeued(run: Run) -> str:
    job = run.submit()
    run.user.slurm.call("scontrol", "requeue", job, check=False)
    return run.finish(job)


def job_preempted(run: Run) -> str:
    job = run.submit()
    urgent = run.user.script(URGENT, "urgent.sh")
    for _ in range(2):
        run.user.slurm.submit(urgent, "--partition=urgent", "--exclusive")
    return run.finish(job)


def time_limit(run: Run) -> str:
    """A minute is the shortest, and Slurm looks twice a minute: the run begins so late that its end falls within."""
    late = run.user.job_script(run.source, before=f"sleep {run.order.uniform(30.0, 58.0):.1f}\n")
    job = run.user.slurm.submit(late, "--time=1")
    real_slurm.wait(lambda: job not in run.user.slurm.jobs(), LIMIT_S, f"job {job} does not end")
    run.seen["struck"].append(run.user.slurm.state(job) == "TIMEOUT")
    return run.finish(run.user.slurm.submit(run.user.job_script(run.source)))


def folder_full(run: Run) -> str:
    """All that the user has lies on it: input, journal, record, result, and the files of Parsl."""
    process = run.start()
    filler = run.user.folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"0" * 2**12):
            pass
    _, said = process.communicate(timeout=LIMIT_S)
    if "Traceback" in said:
        raise RuntimeError(said)
    filler.unlink()
    run.gone()
    return run.go_on()


def blocks_drain(run: Run) -> str:
    """Blocks have two minutes and take no bundle in the second one; the run takes two minutes of two of them."""
    limits = 'executor = config.executors[0]\nexecutor.provider.walltime, executor.drain_period = "00:02:00", 60\n'
    words = run.words
    run.user.configuration(more=limits)  # in its place
    said = finish(run.user.start(*words))
    scripts = [path for path in run.user.folder.glob("parsl/*/submit_scripts/*") if path.suffix != ".stderr"]
    run.seen["struck"].append(sum(path.suffix != ".stdout" for path in scripts) > 2)
    return said


class Case(NamedTuple):
    """What happens, and to what.

    Attributes:
        happen: Does it, and returns when the run has come to its end.
        alone: The run is one job, not one on two nodes.
        length: Of the run: `short`, a quarter of a minute; `long`, one; `longest`, two, which only sleeps.
    """

    happen: Callable[[Run], str]
    alone: bool = False
    length: str = "short"


CASES = {
    "a block is cancelled": Case(block_cancelled),
    "a block is preempted": Case(block_preempted),
    "a node fails and comes back": Case(node_fails),
    "the command is killed, then resumed": Case(command_killed),
    "the command is interrupted, then resumed": Case(command_interrupted),
    "the shared folder is full, then resumed": Case(folder_full),
    "blocks drain before their time limit": Case(blocks_drain, length="longest"),
    "a job is requeued": Case(job_requeued, alone=True),
    "a job is preempted": Case(job_preempted, alone=True),
    "a job reaches its time limit, then the next": Case(time_limit, alone=True, length="long"),
}


# --- runs -------------------------------------------------------------------------------------------------------------


def measure(arguments) -> Iterator[dict]:
    offer_faulty_program()
    with folder() as name, real_slurm.running(Path(name)) as slurm:
        undisturbed: dict[tuple[bool, str, bool], tuple[float, object]] = {}
        for case in arguments.cases:
            for number in range(arguments.first, arguments.repeats):
                order = random.Random(f"{case} {number}")
                _, alone, length = CASES[case]
                pyscf = number % 2 == 0 and length != "longest"
                kind = alone, length, pyscf
                if kind not in undisturbed:
                    undisturbed[kind] = leave_alone(slurm, pyscf=pyscf, alone=alone, length=length)
                lasts_s, expected = undisturbed[kind]
                row = disturb(case, slurm, pyscf=pyscf, moment_s=order.uniform(0.0, lasts_s), order=order)
                right = row.pop("result") == expected
                yield {"case": case, "number": number, **row, "right": right}


def leave_alone(slurm: real_slurm.Slurm, *, pyscf: bool, alone: bool, length: str) -> tuple[float, object]:
    """Return how long the run takes that nothing happens to, and its result."""
    with place(slurm) as user:
        run = Run(user, source_of(user, length, pyscf=pyscf), 0.0, random.Random(0), defaultdict(list))
        began = time.monotonic()
        run.finish(run.submit()) if alone else finish(run.start())
        return time.monotonic() - began, result_of(user)


def disturb(case: str, slurm: real_slurm.Slurm, *, pyscf: bool, moment_s: float, order: random.Random) -> dict:
    with place(slurm, mib=SMALL_MIB if CASES[case].happen is folder_full else 0) as user:
        run = Run(user, source_of(user, CASES[case].length, pyscf=pyscf), moment_s, order, defaultdict(list))
        began = time.monotonic()
        said = CASES[case].happen(run)
        ended = time.monotonic()
        run.gone()
        record = json.loads((user.folder / "record.json").read_text())
        lost = [int(count.replace(",", "")) for count in re.findall(r"a bundle of ([\d,]+) tasks? did not come", said)]
        return {
            "program": "pyscf" if pyscf else "sleep",
            "moment_s": round(moment_s, 2),
            "wall_s": round(ended - began, 1),
            "struck": all(run.seen["struck"]),
            "gone_after_s": run.seen["gone_after_s"],
            "tasks": record["tasks"],
            "recalled": record["recalled"],
            "lost": record["tasks"] - record["recalled"] - len({task["number"] for task in record["task_records"]}),
            "bundles_lost": len(lost),
            "tasks_in_flight": sum(lost),
            "computed_twice": None if pyscf else user.done - record["tasks"],
            "left": sum(run.seen["left"]),
            "result": result_of(user),
        }


def source_of(user: User, length: str, *, pyscf: bool) -> Path:
    if length == "longest":
        return user.sleeping("water10", seconds=4.5)
    if not pyscf:
        return user.sleeping(seconds=2.0 if length == "long" else 0.5)
    name, basis = ("water16", "6-31g") if length == "long" else ("water6", "6-31g*")
    return user.input(name, basis=basis, max_nbody=3)


def result_of(user: User) -> object:
    result = json.loads((user.folder / "result.json").read_text())
    return [result["return_result"], result["cluster_properties"]]


def nothing_left(user: User) -> int:
    """Wait until nothing is left of a user's jobs; return how many jobs, processes and busy nodes still are."""

    def left() -> int:
        busy = sum(state != "idle" for state in user.slurm.states().values())
        return len(user.slurm.jobs()) + len(user.slurm.processes()) + busy

    with contextlib.suppress(TimeoutError):
        real_slurm.wait(lambda: left() == 0, LEFT_S, "")
    return left()


@contextlib.contextmanager
def place(slurm: real_slurm.Slurm, *, mib: int = 0) -> Iterator[User]:
    """Give a user a folder, on a file system of so many MiB of its own if told; show it where a run ends badly."""
    with folder() as name:
        if mib:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", name], check=True)
        try:
            yield User(Path(name), slurm)
        finally:
            if mib:
                subprocess.run(["umount", "--lazy", name], check=True)


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """Make a folder that others may enter, as Slurm wants it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield name


def sums(rows: Sequence[dict]) -> dict:
    return {
        "runs": len(rows),
        "runs_by_case": {case: sum(row["case"] == case for row in rows) for case in CASES},
        "wrong": sum(not row["right"] for row in rows),
        "lost": sum(row["lost"] for row in rows),
        "left": sum(row["left"] for row in rows),
        "bundles_lost": sum(row["bundles_lost"] for row in rows),
        "tasks": sum(row["tasks"] for row in rows),
        "struck": sum(row["struck"] for row in rows),
        "longest_gone_after_s": max(max(row["gone_after_s"]) for row in rows),
        "sleeping_tasks": sum(row["tasks"] for row in rows if row["computed_twice"] is not None),
        "finished_twice": sum(row["computed_twice"] or 0 for row in rows),
    }


BENCHMARK = Benchmark(
    what="a real Slurm of two nodes: what happens to jobs, at random moments",
    measure=measure,
    rows="rows",
    key=("case", "number"),
    cases=tuple(CASES),
    repeats=10,
    options={"--first": {"type": int, "default": 0, "help": "go on from this number of a case"}},
    summary=sums,
    fails=lambda record: bool(record["wrong"] or record["lost"] or record["left"]),
)
