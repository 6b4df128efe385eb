"""What a task costs: time on one core, how it divides over more, and memory; learned while tasks finish.

Rules: an analytic prior before anything is measured, a fitted law per method from a tuning, corrected by every finished
task: exactly for tasks of the same size, through the law for all others. Costs rank and predict; they never decide.

A law is a sum of operation counts (`terms.py`) with seconds per operation that cannot be negative, fitted to relative
errors. The fit asks how far each term is off its prior, with a ridge at "as the prior says": a term that the measured
sizes say nothing about, but larger ones would, keeps its proportion instead of vanishing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from autotune.base.records import Law
from autotune.base.types import Estimate, Method, Task, TaskSize
from autotune.costs.memory import Need, need
from autotune.costs.terms import family, prior, terms
from autotune.programs.facts import facts_of

RIDGE = 0.05  # weight of a term's prior against one measured size
CONTRADICTED = 0.5  # of its spread: so much better the prior must fit before a stored law is dropped
_SWEEPS = 500
_MOST_START = 0.9  # of a task's time, where tasks take less than what is stated of the start
_LEAST_SPREAD, _UNMEASURED_SPREAD = 0.05, 0.5
# Share of the time that divides over cores, at most, and the seconds of a task of which half of that does. Judged from
# a few clusters on one and two cores with PySCF in the environment that `method_tuning` sets; a tuning fits its own.
_PARALLEL: Mapping[str, tuple[float, float]] = {
    "hf": (0.97, 0.06),
    "hf df": (0.9, 0.5),
    "dft": (0.95, 0.25),
    "dft df": (0.95, 0.3),
    "mp2": (0.95, 0.06),
    "mp2 df": (0.85, 0.8),
    "ccsd": (0.9, 10.0),
    "ccsd(t)": (0.9, 10.0),
    "semiempirical": (0.5, 2.0),
}


@dataclass(slots=True)
class _Seen:
    """Finished tasks of one size."""

    count: int = 0
    sum_s: float = 0.0
    sum_pairs: float = 0.0
    sum_square_log: float = 0.0
    sum_log: float = 0.0
    peak_gib: float = 0.0

    def add(self, size: TaskSize, alone_s: float, peak_gib: float) -> None:
        self.count += 1
        self.sum_s += alone_s
        self.sum_pairs += size.pairs
        self.sum_log += math.log(alone_s)
        self.sum_square_log += math.log(alone_s) ** 2
        self.peak_gib = max(self.peak_gib, peak_gib)

    @property
    def mean_s(self) -> float:
        return self.sum_s / self.count

    @property
    def spread(self) -> float:
        variance = self.sum_square_log / self.count - (self.sum_log / self.count) ** 2
        return max(_LEAST_SPREAD, math.sqrt(max(0.0, variance)))

    def typical(self, size: TaskSize) -> TaskSize:
        return replace(size, pairs=self.sum_pairs / self.count)


@dataclass(slots=True)
class _MethodCosts:
    """What is known of one method: the law it came with, what has finished, the law that fits both."""

    given: Law | None
    seen: dict[TaskSize, _Seen] = field(default_factory=dict)
    needs: dict[TaskSize, Need] = field(default_factory=dict)
    law: Law | None = None
    typical_s: dict[TaskSize, float] = field(default_factory=dict)  # by the law, for the mean task of each size
    estimates: dict[tuple[TaskSize, float, bool], Estimate] = field(default_factory=dict)  # until something finishes

    def current(self, method: Method) -> Law | None:
        """Return the law fitted to what has finished; None while nothing is known."""
        if not self.seen:
            return self.given
        if self.law is None:
            samples = [(seen.typical(size), seen.mean_s, 1.0) for size, seen in self.seen.items()]
            law = fit_law(method, samples, given=self.given)
            if self.given and len(samples) > 1:
                # A stored law that measured times contradict makes way for the prior.
                anew = fit_law(method, samples)
                law = anew if anew.spread < CONTRADICTED * law.spread else law
            self.law = law
        return self.law


class Costs:
    """The cost model of one run or calibration.

    Args:
        laws: Fitted laws by method, from a tuning; none means the bare prior.

    Attributes:
        one_core: Programs that take one core whatever they are given.
    """

    def __init__(self, laws: Mapping[Method, Law] | None = None) -> None:
        self.one_core: frozenset[str] = frozenset()
        self._of = {method: _MethodCosts(given=law) for method, law in (laws or {}).items()}

    def is_measured(self, method: Method) -> bool:
        """Return whether a method's times are fitted ones of a tuning; otherwise they are guesses."""
        known = self._of.get(method)
        return known is not None and known.given is not None

    def estimate(self, task: Task) -> Estimate:
        """Return what a task is expected to cost."""
        method, size = task.method, task.size
        known = self._known(method)
        # Thousands of tasks have few sizes, and all are asked for at once.
        key = (size, size.pairs, method.program in self.one_core)
        found = known.estimates.get(key)
        if found is None:
            found = known.estimates[key] = self._estimate(known, method, size)
        return found

    def _estimate(self, known: _MethodCosts, method: Method, size: TaskSize) -> Estimate:
        law = known.current(method)
        seen = known.seen.get(size)
        alone_s = law_s(law, method, size)
        if seen:
            # Right on average for tasks of this size; geometry still tells them apart.
            typical_s = known.typical_s.get(size)
            if typical_s is None:
                typical_s = known.typical_s[size] = law_s(law, method, seen.typical(size))
            alone_s *= seen.mean_s / typical_s
        most, half_s = (law.parallel, law.half_s) if law else _PARALLEL[family(method)]
        needed = known.needs.get(size)
        if needed is None:
            needed = known.needs[size] = need(method, size)
        gpu = facts_of(method.program).gpu
        return Estimate(
            alone_s=alone_s,
            parallel=most * alone_s / (alone_s + half_s),
            memory_gib=seen.peak_gib if seen and seen.peak_gib else needed.peak_gib,
            grant_gib=needed.grant_gib,
            spread=seen.spread if seen else law.spread if law else _UNMEASURED_SPREAD,
            one_core=method.program in self.one_core,
            program=method.program,
            start_s=min(facts_of(method.program).start_of_task_s, _MOST_START * alone_s),
            gpus=0 if gpu is None else 1,
            gpu_memory_gib=0.0 if gpu is None else gpu.memory_gib(method, size),
        )

    def observe(self, task: Task, *, wall_s: float, width: int, peak_gib: float) -> None:
        """Learn from a finished task."""
        alone_s = wall_s
        if width > 1:
            expected = self.estimate(task)
            alone_s = wall_s * expected.alone_s / expected.wall_s(width)
        known = self._known(task.method)
        known.seen.setdefault(task.size, _Seen()).add(task.size, alone_s, peak_gib)
        known.law = None
        known.typical_s.clear()
        known.estimates.clear()

    def laws(self) -> dict[Method, Law]:
        """Return the law of each method of which something is known."""
        current = {method: known.current(method) for method, known in self._of.items()}
        return {method: law for method, law in current.items() if law is not None}

    def _known(self, method: Method) -> _MethodCosts:
        known = self._of.get(method)
        if known is None:
            known = self._of[method] = _MethodCosts(given=None)
        return known


def by_itself_s(method: Method, wall_s: float, *, sharers: int, speed: float) -> float:
    """Return the wall time of a task by itself on the fastest worker.

    Args:
        method: Of the task.
        wall_s: What it took.
        sharers: So many shared one start of their program.
        speed: Of the worker that it ran on, 1 for the fastest.
    """
    return wall_s * speed + facts_of(method.program).start_of_task_s * (1.0 - 1.0 / sharers)


def law_s(law: Law | None, method: Method, size: TaskSize) -> float:
    """Return the seconds of a task alone on one core by a law, or by the bare prior."""
    return sum(_contributions(law, method, size).values())


def _contributions(law: Law | None, method: Method, size: TaskSize) -> dict[str, float]:
    seconds, before = law.seconds if law else {}, prior(method)
    return {term: seconds.get(term, before[term]) * count for term, count in terms(method, size).items()}


def fit(samples: Iterable[tuple[Task, float, int]]) -> dict[Method, Law]:
    """Return a law per method from (task, wall seconds, width) of tasks that ran.

    Tasks of one size have the weight of one task together, so that many small ones do not outvote few large ones. Where
    no task of a method ran on one core, times alone are made of the wider ones by the prior.
    """
    alone: dict[Method, list[tuple[TaskSize, float]]] = {}
    wide: dict[Method, list[tuple[TaskSize, float, int]]] = {}
    for task, wall_s, width in samples:
        if width == 1:
            alone.setdefault(task.method, []).append((task.size, wall_s))
        else:
            wide.setdefault(task.method, []).append((task.size, wall_s, width))
    for method in wide.keys() - alone.keys():
        most, _ = _PARALLEL[family(method)]
        alone[method] = [(size, wall_s / (1.0 - most + most / width)) for size, wall_s, width in wide[method]]
    laws = {}
    for method, pairs in alone.items():
        equal = Counter(size for size, _ in pairs)
        law = fit_law(method, [(size, wall_s, 1.0 / equal[size]) for size, wall_s in pairs])
        most, half_s = _fit_parallel(law, method, wide.get(method, []))
        laws[method] = replace(law, parallel=most, half_s=half_s)
    return laws


def fit_law(method: Method, samples: Sequence[tuple[TaskSize, float, float]], *, given: Law | None = None) -> Law:
    """Return the law that fits (size, seconds alone, weight) best in relative errors, near what was given before.

    All terms are scaled together first (the hardware), then each by itself (the proportions).
    """
    rows = []
    for size, seconds, weight in samples:
        rows.append(({term: s / seconds for term, s in _contributions(given, method, size).items()}, weight))
    scale = math.exp(-sum(w * math.log(sum(row.values())) for row, w in rows) / sum(w for _, w in rows))
    scaled = [({term: scale * share for term, share in row.items()}, weight) for row, weight in rows]
    off = _nonnegative(scaled, RIDGE)
    squares = sum(w * math.log(sum(off[term] * share for term, share in row.items())) ** 2 for row, w in scaled)
    most, half_s = (given.parallel, given.half_s) if given else _PARALLEL[family(method)]
    before = given.seconds if given else prior(method)
    return Law(
        seconds={term: scale * off[term] * before[term] for term in off},
        spread=max(_LEAST_SPREAD, math.sqrt(squares / sum(w for _, w in scaled))),
        parallel=most,
        half_s=half_s,
    )


def _nonnegative(rows: Sequence[tuple[Mapping[str, float], float]], ridge: float) -> dict[str, float]:
    """Return x >= 0 that minimises sum w (row . x - 1)^2 + ridge sum (x - 1)^2, by coordinate descent.

    The problem is strictly convex, so cyclic descent with clipping converges to its only minimum (Franc, Hlavac and
    Navara 2005).
    """
    names = list(rows[0][0])
    x = dict.fromkeys(names, 1.0)
    left = [1.0 - sum(row.values()) for row, _ in rows]
    curvature = {name: ridge + sum(w * row[name] ** 2 for row, w in rows) for name in names}
    for _ in range(_SWEEPS):
        largest = 0.0
        for name in names:
            slope = sum(w * row[name] * gap for (row, w), gap in zip(rows, left, strict=True)) + ridge * (1.0 - x[name])
            step = max(0.0, x[name] + slope / curvature[name]) - x[name]
            if step:
                x[name] += step
                left = [gap - step * row[name] for (row, _), gap in zip(rows, left, strict=True)]
                largest = max(largest, abs(step))
        if largest < 1e-6:  # noqa: PLR2004 - of the prior
            break
    return x


def _fit_parallel(law: Law, method: Method, wide: Sequence[tuple[TaskSize, float, int]]) -> tuple[float, float]:
    """Return the share that divides and the half-time that fit measured times at larger widths; the prior's if none."""
    most, half_s = _PARALLEL[family(method)]
    if not wide:
        return most, half_s

    def error(most: float, half_s: float) -> float:
        total = 0.0
        for size, wall_s, width in wide:
            alone_s = law_s(law, method, size)
            share = most * alone_s / (alone_s + half_s)
            total += math.log(alone_s * (1.0 - share + share / width) / wall_s) ** 2
        return total

    grid = [(m / 20, half_s * 2.0**power) for m in range(21) for power in range(-6, 7)]
    return min(grid, key=lambda point: error(*point))
