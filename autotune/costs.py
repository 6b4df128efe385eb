"""What a task costs: time on one core, how it divides over more, and memory.

Rules: an analytic prior before anything is measured, a power law per method once records exist, and the mean of its own
kind (same method, same size) as soon as one of the kind has finished. Costs rank and predict; they never decide.

Priors are operation counts with n basis functions, o occupied orbitals, v = n - o: SCF n³ to n⁴, MP2 o n⁴ (the
conventional transformation), CCSD o²v⁴, (T) o³v⁴ (standard formal scalings), times a rate that only sets the unit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from autotune.types import Estimate, Method, PowerLaw, Task, TaskSize

_SCF_S, _SCF_POWER = 1.2e-6, 2.7  # seconds and exponent of n for one small-molecule SCF on a 2020s core
_CORRELATION_RATE = 2.0e9  # operations a second of the correlated steps, idem
_START_S = 0.02  # what any task costs beside its algebra
_FUNCTIONS_PER_ATOM = 8  # where the basis is unknown
_BASE_GIB = 0.25  # a resident worker with its program loaded
_HALF_PARALLEL_S = 1.0  # a task this long is taken to divide half of its time over cores
_MOST_PARALLEL = 0.9
_DRIVER_FACTORS = {"energy": 1.0, "gradient": 2.5}
_MIN_SIZES_FOR_POWER = 2


class Costs:
    """The cost model of one run or calibration.

    Args:
        laws: Fitted laws by method, from a tuning; none means the bare prior.
    """

    def __init__(self, laws: Mapping[Method, PowerLaw] | None = None) -> None:
        self._laws = dict(laws or {})
        self._sums: dict[tuple[Method, TaskSize], tuple[float, int]] = {}
        self._peaks: dict[tuple[Method, TaskSize], float] = {}
        self._ratios: dict[Method, tuple[float, int]] = {}

    def estimate(self, task: Task) -> Estimate:
        """Return what a task is expected to cost."""
        kind = (task.method, task.size)
        if kind in self._sums:
            total, count = self._sums[kind]
            alone_s = total / count
        else:
            alone_s = self._expected_s(task) * self._correction(kind[0])
        return Estimate(
            alone_s=alone_s,
            parallel=_MOST_PARALLEL * alone_s / (alone_s + _HALF_PARALLEL_S),
            memory_gib=self._peaks.get(kind, memory_gib(task)),
        )

    def observe(self, task: Task, *, wall_s: float, width: int, peak_gib: float) -> None:
        """Learn from a finished task."""
        kind = (task.method, task.size)
        expected = self.estimate(task)
        alone_s = wall_s * expected.alone_s / expected.wall_s(width)
        total, count = self._sums.get(kind, (0.0, 0))
        self._sums[kind] = (total + alone_s, count + 1)
        log_ratio, seen = self._ratios.get(kind[0], (0.0, 0))
        self._ratios[kind[0]] = (log_ratio + math.log(alone_s / self._expected_s(task)), seen + 1)
        if peak_gib:
            self._peaks[kind] = max(self._peaks.get(kind, 0.0), peak_gib)

    def _expected_s(self, task: Task) -> float:
        law = self._laws.get(task.method)
        prior = prior_s(task.method, task.size)
        return law.apply(prior) if law else prior

    def _correction(self, method: Method) -> float:
        """Return measured over expected, as a geometric mean over this method's finished tasks."""
        log_ratio, seen = self._ratios.get(method, (0.0, 0))
        return math.exp(log_ratio / seen) if seen else 1.0


def fit(samples: Iterable[tuple[Task, float]]) -> dict[Method, PowerLaw]:
    """Return a law per method from (task, seconds alone on one core) pairs.

    The exponent is fitted only where a method has at least two sizes; least squares in logarithms, so that relative
    errors count.
    """
    points: dict[Method, list[tuple[float, float]]] = {}
    for task, alone_s in samples:
        prior = prior_s(task.method, task.size)
        points.setdefault(task.method, []).append((math.log(prior), math.log(alone_s / prior)))
    return {method: _line(pairs) for method, pairs in points.items()}


def _line(pairs: Sequence[tuple[float, float]]) -> PowerLaw:
    centre = sum(x for x, _ in pairs) / len(pairs)
    mean = sum(y for _, y in pairs) / len(pairs)
    spread = sum((x - centre) ** 2 for x, _ in pairs)
    enough = len({round(x, 6) for x, _ in pairs}) >= _MIN_SIZES_FOR_POWER
    bend = sum((x - centre) * (y - mean) for x, y in pairs) / spread if enough and spread > 0 else 0.0
    return PowerLaw(scale=math.exp(mean), bend=bend, reference_s=math.exp(centre))


def prior_s(method: Method, size: TaskSize) -> float:
    """Return the analytic guess of a task's seconds alone on one core."""
    functions, occupied = _orbitals(size)
    virtual = max(functions - occupied, 1)
    seconds = _START_S + _SCF_S * functions**_SCF_POWER
    name = method.method
    if "mp2" in name:
        seconds += occupied * functions**4 / _CORRELATION_RATE
    if "ccsd" in name:
        seconds += 15 * 4 * occupied**2 * virtual**4 / 8 / _CORRELATION_RATE / 4
    if "(t)" in name:
        seconds += 2 * occupied**3 * virtual**4 / 6 / _CORRELATION_RATE
    if method.driver == "hessian":
        return float(seconds * 3 * (size.atoms + size.ghost_atoms))
    return float(seconds * _DRIVER_FACTORS.get(method.driver, 1.0))


def memory_gib(task: Task) -> float:
    """Return the analytic guess of a task's peak resident memory, program included."""
    functions, occupied = _orbitals(task.size)
    virtual = max(functions - occupied, 1)
    doubles = functions**4 / 8 + 8 * functions**2  # two-electron integrals kept with their eightfold symmetry
    if "mp2" in task.method.method:
        doubles += 2 * (occupied * virtual) ** 2
    if "ccsd" in task.method.method:
        doubles += virtual**4 / 4 + 6 * (occupied * virtual) ** 2
    return _BASE_GIB + doubles * 8 / 2**30


def _orbitals(size: TaskSize) -> tuple[int, int]:
    functions = size.functions or _FUNCTIONS_PER_ATOM * (size.atoms + size.ghost_atoms)
    return functions, max(size.electrons // 2, 1)
