"""Is a simulation of nodes right? Predicted and measured wall times of real runs on a Slurm of two nodes.

Each case first runs on one machine, with as many cores as both nodes have; from that record `simulate --replay`
predicts the run on two nodes of one core. Then the run itself, with the configuration of the guide, under a real Slurm;
the medians of several such pairs count. Where a node is lost, its block is cancelled as long after the first bundle as
the simulation has it. Compared is the time from the first task until the last results are back: the simulation knows no
start of jobs, and no assembly. What it is told beside: a lost node is noticed after the 12 s of the configuration's
heartbeats, and another is there when the real run got one, which no simulation can know.

It needs the rights of root and Slurm's packages; see `make test-cluster`.
"""

from __future__ import annotations

import contextlib
import json
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
import real_slurm
from cluster import finish, folder, nothing_left
from cluster_user import User
from harness import Benchmark, Computation, Folder, autotune_command, offer_faulty_program, run_command

from autotune.schedule import node_simulator
from autotune.schedule.node_simulator import PretendedNodes

NOTICED_S = 12.0
SEED = 1  # of the moment at which a node is lost


class Case(NamedTuple):
    """A run.

    Attributes:
        computation: What it computes.
        lost: A node is lost.
        left_alone: Programs are: PySCF puts the integrals of a trimer together from those of its pairs, which a node
            that has not computed them computes once more, and no simulation knows that.
    """

    computation: Computation
    lost: bool = False
    left_alone: bool = False


FAST = Computation("water64", "gfn2-xtb", max_nbody=3, program="tblite")
SHORT = Computation("water16", "hf", "6-31g*", max_nbody=3)
UNEVEN = Computation("methanol_water6", "hf", "cc-pvdz", max_nbody=3)
SLOW = Computation("water6", "mp2", "cc-pvtz", max_nbody=2)
CASES = {
    "(H2O)64 GFN2-xTB, 3-body": Case(FAST),
    "(H2O)16 HF/6-31G*, 3-body": Case(SHORT),
    "CH3OH(H2O)6 HF/cc-pVDZ, 3-body": Case(UNEVEN),
    "(H2O)6 MP2/cc-pVTZ, 2-body": Case(SLOW),
    "(H2O)16 HF/6-31G*, 3-body, program left alone": Case(SHORT, left_alone=True),
    "CH3OH(H2O)6 HF/cc-pVDZ, 3-body, program left alone, a node lost": Case(UNEVEN, lost=True, left_alone=True),
}


def measure(arguments) -> Iterator[dict]:
    offer_faulty_program()  # the environment of the cluster's users
    with folder() as name, real_slurm.running(Path(name)) as slurm:
        for case in arguments.cases:
            for number in range(arguments.repeats):
                with folder() as here:
                    row = {"case": case, "number": number, **compare(CASES[case], User(Path(here), slurm))}
                yield row


def compare(case: Case, user: User) -> dict:
    source = user.folder / "input.json"
    source.write_text(json.dumps(case.computation.fields))
    alone = Folder(user.folder)
    untuned = ("--no-program-tuning",) if case.left_alone else ()
    words = ("--tuning", "none", "--journal", "none", "--threads", 1, *untuned)
    command = alone.command(source, *words, "--workers", 2, "--quiet")
    run_command(command, environment=alone.environment)
    (user.folder / "record.json").rename(user.folder / "alone.json")
    told = [
        "--tuning",
        "none",
        "--threads",
        1,
        *untuned,
        "--cores",
        1,
        "--nodes",
        2,
        "--replay",
        user.folder / "alone.json",
    ]

    def simulated(*more: object) -> dict:
        simulate = autotune_command("simulate", source, *told, *more, "--json")
        (found,) = json.loads(run_command(simulate, environment=alone.environment)[1])["runs"]
        return found

    predicted = simulated()
    real = run_on_nodes(user, source, words, lost_after_s=lost_after_s(predicted) if case.lost else None)
    if case.lost:
        back_s = real["back_after_s"] and max(0.0, real["back_after_s"] - NOTICED_S)
        befalls = ("--lost", 1, "--noticed", NOTICED_S, "--seed", SEED)
        predicted = simulated(*befalls, *(("--back", back_s) if back_s is not None else ()))
    return {
        "tasks": real["tasks"],
        "predicted_s": predicted["makespan_s"],
        "measured_s": real["tasks_s"],
        "off": predicted["makespan_s"] / real["tasks_s"] - 1,
        "bundles_predicted": predicted["bundles"],
        **real,
    }


def lost_after_s(predicted: Mapping) -> float:
    """Return when the simulation has its node lost, by its own draw."""
    pretended = PretendedNodes(count=2, cores=1, memory_gib=1.0, lost=1, seed=SEED)
    nodes = node_simulator._nodes(pretended, within_s=predicted["bound_s"])
    return min(node.lost_after_s for node in nodes)


def run_on_nodes(user: User, source: Path, words: Sequence, *, lost_after_s: float | None) -> dict:
    process = user.start(*user.on_nodes(source, *words))
    back_after_s = None
    if lost_after_s is not None:
        real_slurm.wait(lambda: at_work(user) == 2, 120.0, "the nodes do not begin")
        time.sleep(lost_after_s)
        user.slurm.call("scancel", min(user.slurm.jobs()))
        lost = time.monotonic()
        real_slurm.wait(lambda: at_work(user) < 2, 60.0, "no node is lost")
        while process.poll() is None and back_after_s is None:
            if at_work(user) == 2:
                back_after_s = time.monotonic() - lost
            time.sleep(2.0)  # each look costs a tenth of a second
    said = finish(process)
    record = json.loads((user.folder / "record.json").read_text())
    return {
        "tasks": record["tasks"],
        "tasks_s": record["wall_s"] - record["gap"]["startup"] - record["gap"]["assembly"],
        "wall_s": record["wall_s"],
        "bundles_lost": said.count("did not come back"),
        "lost_after_s": lost_after_s,
        "back_after_s": back_after_s,
        "left": nothing_left(user),
    }


def at_work(user: User) -> int:
    """Return on how many nodes workers have been started."""
    zygotes = {each.pid: each for each in user.slurm.processes() if is_zygote(each)}
    return sum(parent_of(each) not in zygotes for each in zygotes.values())


def is_zygote(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return "autotune.workers.zygote" in process.cmdline()
    return False


def parent_of(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return process.ppid()
    return 0


def sums(rows: Sequence[dict]) -> dict:
    """Return the medians of each case: from a prediction to its run the machine's speed drifts by a tenth."""
    cases = []
    for case in dict.fromkeys(row["case"] for row in rows):
        runs = [row for row in rows if row["case"] == case]
        predicted_s, measured_s = (
            statistics.median(row[side] for row in runs) for side in ("predicted_s", "measured_s")
        )
        cases.append(
            {
                "case": case,
                "runs": len(runs),
                "tasks": runs[0]["tasks"],
                "predicted_s": predicted_s,
                "measured_s": measured_s,
                "off": statistics.median(row["off"] for row in runs),
                "range": [min(row["off"] for row in runs), max(row["off"] for row in runs)],
            }
        )
    return {
        "cases": cases,
        "runs": len(rows),
        "within_tenth": sum(abs(case["off"]) <= 0.1 for case in cases),
        "largest_off": max(abs(case["off"]) for case in cases),
    }


BENCHMARK = Benchmark(
    what="wall times on a real Slurm of two nodes, simulated and measured",
    measure=measure,
    rows="rows",
    key=("case", "number"),
    cases=tuple(CASES),
    repeats=3,
    summary=sums,
)
