"""Is a simulation of nodes right? Predicted and measured wall times of real runs on a Slurm of two nodes.

Each case first runs on one machine, with as many cores as both nodes have; from that record `simulate --replay`
predicts the run on two nodes of one core. Then the run itself, with the configuration of the guide, under a real Slurm.
Where a node is lost, its block is cancelled as long after the first bundle as the simulation has it. Compared is the
time from the first task until the last results are back: the simulation knows no start of jobs, and no assembly. What
it is told beside: a lost node is noticed after the 12 s of the configuration's heartbeats, and another is there when
Slurm has started it, `BACK_S` later, as a job that nothing happens to takes here.

It needs the rights of root and Slurm's packages; see `make test-cluster`.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import real_slurm
from cluster import finish, folder, nothing_left
from cluster_user import User
from harness import Benchmark, Computation, Folder, offer_faulty_program, run_command

from autotune.schedule import node_simulator
from autotune.schedule.node_simulator import PretendedNodes

NOTICED_S, BACK_S = 12.0, 15.0
SEED = 1  # of the moment at which a node is lost


class Case(NamedTuple):
    """A run.

    Attributes:
        computation: What it computes.
        lost: A node is lost.
    """

    computation: Computation
    lost: bool = False


FAST = Computation("water64", "gfn2-xtb", max_nbody=3, program="tblite")
SHORT = Computation("water16", "hf", "6-31g*", max_nbody=3)
UNEVEN = Computation("methanol_water6", "hf", "cc-pvdz", max_nbody=3)
SLOW = Computation("water6", "mp2", "cc-pvtz", max_nbody=2)
SLOWEST = Computation("water4", "ccsd(t)", "cc-pvdz", max_nbody=3)
CASES = {
    "(H2O)64 GFN2-xTB, 3-body": Case(FAST),
    "(H2O)16 HF/6-31G*, 3-body": Case(SHORT),
    "CH3OH(H2O)6 HF/cc-pVDZ, 3-body": Case(UNEVEN),
    "(H2O)6 MP2/cc-pVTZ, 2-body": Case(SLOW),
    "(H2O)4 CCSD(T)/cc-pVDZ, 3-body": Case(SLOWEST),
    "(H2O)16 HF/6-31G*, 3-body, a node lost": Case(SHORT, lost=True),
    "CH3OH(H2O)6 HF/cc-pVDZ, 3-body, a node lost": Case(UNEVEN, lost=True),
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
    words = ("--tuning", "none", "--journal", "none", "--threads", 1)
    command = alone.command(source, *words, "--workers", 2, "--quiet")
    run_command(command, environment=alone.environment)
    (user.folder / "record.json").rename(user.folder / "alone.json")
    told = ["--tuning", "none", "--threads", 1, "--cores", 1, "--nodes", 2, "--replay", user.folder / "alone.json"]
    if case.lost:
        told += ["--lost", 1, "--noticed", NOTICED_S, "--back", BACK_S, "--seed", SEED]
    simulate = [sys.executable, "-P", "-m", "autotune", "simulate", source, *told, "--json"]
    (predicted,) = json.loads(run_command([*map(str, simulate)], environment=alone.environment)[1])["runs"]
    real = run_on_nodes(user, source, words, lost_after_s=lost_after_s(predicted) if case.lost else None)
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
    pretended = PretendedNodes(count=2, cores=1, memory_gib=1.0, lost=1, back_s=BACK_S, seed=SEED)
    nodes = node_simulator._nodes(pretended, within_s=predicted["bound_s"])
    return min(node.lost_after_s for node in nodes)


def run_on_nodes(user: User, source: Path, words: Sequence, *, lost_after_s: float | None) -> dict:
    process = user.start(*user.on_nodes(source, *words))
    cancelled_s = None
    if lost_after_s is not None:
        wait_for_work(user)
        began = time.monotonic()
        time.sleep(lost_after_s)
        user.slurm.call("scancel", min(user.slurm.jobs()))
        cancelled_s = time.monotonic() - began
    said = finish(process)
    record = json.loads((user.folder / "record.json").read_text())
    return {
        "tasks": record["tasks"],
        "tasks_s": record["wall_s"] - record["gap"]["startup"] - record["gap"]["assembly"],
        "wall_s": record["wall_s"],
        "bundles_lost": said.count("did not come back"),
        "cancelled_after_s": cancelled_s,
        "left": nothing_left(user),
    }


def wait_for_work(user: User) -> None:
    """Wait until both nodes have workers: then the first bundles have been dealt."""
    real_slurm.wait(
        lambda: sum("zygote" in " ".join(each.cmdline()) for each in user.slurm.processes()) >= 4,
        120.0,
        "the nodes do not begin",
    )


def sums(rows: Sequence[dict]) -> dict:
    return {
        "runs": len(rows),
        "within_tenth": sum(abs(row["off"]) <= 0.1 for row in rows),
        "largest_off": max(abs(row["off"]) for row in rows),
        "median_off": statistics.median(abs(row["off"]) for row in rows),
    }


BENCHMARK = Benchmark(
    what="wall times on a real Slurm of two nodes, simulated and measured",
    measure=measure,
    rows="rows",
    key=("case", "number"),
    cases=tuple(CASES),
    repeats=2,
    summary=sums,
)
