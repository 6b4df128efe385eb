"""Measure how well costs are predicted: fit on some clusters, predict the tasks of others.

Every task runs alone on one core of an otherwise idle machine, in a resident worker; runs of one cluster are repeated
and interleaved with the others, and the median of a task's times counts. The record has every task's size, time and
memory, from which the figures can be made again (`--from`).
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from harness import Benchmark, cluster
from scipy.stats import spearmanr

from autotune.base.options import Options
from autotune.base.types import Task, TaskSize
from autotune.costs import cost_law, memory
from autotune.expansion import workload
from autotune.session.session import Session


class Cluster(NamedTuple):
    geometry: str
    bsse: str
    max_nbody: int


class Case(NamedTuple):
    method: str
    basis: str
    repeats: int
    fitted: Sequence[Cluster]
    predicted: Sequence[Cluster]
    keywords: Mapping[str, object] = {}


WATERS, AMMONIA, BENZENES = Cluster("water6", "nocp", 3), Cluster("ammonia5", "nocp", 2), Cluster("benzene3", "nocp", 1)
MIXED, SALT = Cluster("methanol_water6", "nocp", 2), Cluster("sodium_chloride_water6", "nocp", 2)
FEWER, PAIRS, TRIPLES = Cluster("water4", "nocp", 3), Cluster("water4", "cp", 2), Cluster("water4", "cp", 3)
THREE, FIT = [WATERS, AMMONIA, BENZENES], {"density_fit": True}
CASES = {
    "HF/6-31G*": Case("hf", "6-31g*", 3, THREE, [MIXED, TRIPLES, SALT]),
    "DF-MP2/cc-pVDZ": Case("mp2", "cc-pvdz", 3, THREE, [MIXED, TRIPLES], FIT),
    "MP2/cc-pVDZ": Case("mp2", "cc-pvdz", 2, THREE, [MIXED, PAIRS]),
    "B3LYP/def2-SVP": Case("b3lyp", "def2-svp", 1, [FEWER, AMMONIA, BENZENES], [MIXED, PAIRS]),
    "CCSD(T)/cc-pVDZ": Case("ccsd(t)", "cc-pvdz", 1, [FEWER, AMMONIA], [MIXED, PAIRS]),
}


class Sample(NamedTuple):
    cluster: Cluster
    task: Task
    seconds: float
    peak_gib: float


def measure(arguments) -> dict:
    before = json.loads(arguments.source.read_text()) if arguments.source else {}
    rows = arguments.earlier.get("cases", {})
    for name in arguments.cases:
        case = CASES[name]
        samples = read(case, before["cases"][name]["tasks"]) if before else list(run(case))
        rows[name] = judge(case, samples)
        print(name, json.dumps(rows[name]), flush=True)
        rows[name]["tasks"] = [row_of(sample) for sample in samples]
    measured_by = {name: before[name] for name in ("machine", "versions") if name in before}
    return {**measured_by, "cases": {name: rows[name] for name in CASES if name in rows}}


def judge(case: Case, samples: Sequence[Sample]) -> dict[str, object]:
    """Return how far predictions of the unseen clusters are off."""
    law = next(iter(cost_law.fit((s.task, s.seconds, 1) for s in samples if s.cluster in case.fitted).values()))
    unseen = [sample for sample in samples if sample.cluster in case.predicted]
    expected = np.array([cost_law.law_s(law, s.task.method, s.task.size) for s in unseen])
    measured = np.array([s.seconds for s in unseen])
    off = np.abs(expected / measured - 1.0)
    inside = np.abs(np.log(expected / measured)) <= 1.645 * law.spread
    over = [s.peak_gib > memory.need(s.task.method, s.task.size).peak_gib for s in samples]
    return {
        "tasks_fitted": len(samples) - len(unseen),
        "tasks_predicted": len(unseen),
        "median_relative_error": round(float(np.median(off)), 4),
        "quantile_90_relative_error": round(float(np.quantile(off, 0.9)), 4),
        "rank_correlation": round(float(spearmanr(expected, measured)[0]), 4),
        "rank_correlation_of_sizes": round(rank_by_size(unseen, expected), 4),
        "inside_90_percent_interval": round(float(np.mean(inside)), 4),
        "total_predicted_over_measured": round(float(expected.sum() / measured.sum()), 4),
        "tasks_above_predicted_memory": round(float(np.mean(over)), 4),
        "seconds_per_operation": {term: float(f"{value:.3g}") for term, value in law.seconds.items()},
        "spread": round(law.spread, 4),
    }


def rank_by_size(samples: Sequence[Sample], expected: Sequence[float]) -> float:
    """Return the rank correlation with equal tasks averaged, whose order no prediction by size can know."""
    groups: dict[TaskSize, list[tuple[float, float]]] = {}
    for sample, seconds in zip(samples, expected, strict=True):
        groups.setdefault(sample.task.size, []).append((seconds, sample.seconds))
    means = [tuple(statistics.fmean(column) for column in zip(*pairs, strict=True)) for pairs in groups.values()]
    return float(spearmanr(*zip(*means, strict=True))[0])


def run(case: Case) -> Iterator[Sample]:
    clusters = [*case.fitted, *case.predicted]
    times: dict[tuple[Cluster, int], list[float]] = {}
    peaks: dict[tuple[Cluster, int], float] = {}
    works = {cluster: workload.load(fields_of(case, cluster)) for cluster in clusters}
    with Session(Options(workers=1, threads=1, tuning="none")) as session:
        for _ in range(case.repeats):
            for cluster in clusters:
                session.run(fields_of(case, cluster))
                assert session.record is not None
                for record in session.record.task_records:
                    times.setdefault((cluster, record.number), []).append(record.wall_s)
                    peaks[cluster, record.number] = max(peaks.get((cluster, record.number), 0.0), record.peak_gib)
    for (cluster, number), walls in times.items():
        yield Sample(cluster, works[cluster].tasks[number], statistics.median(walls), peaks[cluster, number])


def fields_of(case: Case, on: Cluster) -> dict[str, object]:
    like = {"method": case.method, "basis": case.basis, "keywords": dict(case.keywords)}
    return cluster(on.geometry, **like, bsse=on.bsse, max_nbody=on.max_nbody)


def row_of(sample: Sample) -> dict[str, object]:
    return {
        "cluster": list(sample.cluster),
        "number": sample.task.number,
        "seconds": float(f"{sample.seconds:.4g}"),
        "peak_gib": float(f"{sample.peak_gib:.4g}"),
        **dataclasses.asdict(sample.task.size),
    }


def read(case: Case, rows: Sequence[Mapping[str, object]]) -> list[Sample]:
    works = {cluster: workload.load(fields_of(case, cluster)) for cluster in (*case.fitted, *case.predicted)}
    samples = []
    for row in rows:
        cluster = Cluster(*row["cluster"])
        samples.append(Sample(cluster, works[cluster].tasks[row["number"]], row["seconds"], row["peak_gib"]))
    return samples


BENCHMARK = Benchmark(
    what="time and memory of tasks of clusters that the fit did not see, predicted against measured alone",
    measure=measure,
    cases=CASES,
    options={"--from": {"dest": "source", "type": Path, "metavar": "RECORD", "help": "take the measurements of this"}},
)
