"""Whether a change made workloads slower: a verdict for each workload, and one for all of them. Pure; no files.

Rules:
- All workloads are one family: p-values go through Holm's procedure, so that the chance of any false alarm among them
  stays below 1 - confidence. A difference must also be past a practical threshold to count.
- What cannot be told is said to be so, with the smallest change that these data would have shown.
- Times of different machines are not compared. A workload that is missing, or an energy that changed, is no matter of
  statistics: both are said whatever the times are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from autotune.compare import judgement
from autotune.compare.samples import Sample, by_workload, mean_s, tell_apart

Verdict: TypeAlias = Literal["faster", "same", "slower", "cannot tell", "new", "missing"]

# Programs repeat an energy to 1e-13 to 1e-10 Eh across thread counts; sums of many bodies amplify that.
ENERGY_TOLERANCE_HARTREE = 1.0e-8
CONFIDENCE = 0.98  # of fifty comparisons of equal sides, one may call a workload slower or faster
STATUS = {"slower": 1, "cannot tell": 3, "same": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One workload.

    Attributes:
        workload: Its name.
        verdict: Of HEAD against BASE; `new` and `missing` where only one of them has it.
        base_s: Geometric mean of BASE's times; None without any.
        head_s: Of HEAD's.
        base_runs: Times of BASE.
        head_runs: Times of HEAD.
        change: Relative change of the time, above 0 where HEAD is slower.
        low: Lower end of its confidence interval; None where it cannot be told.
        high: Upper end.
        p_value: Of "nothing changed", adjusted for all workloads (Holm).
        detectable: Smallest relative change that these data would have shown; None where no change would have been.
        energy_change_hartree: HEAD's energy less BASE's; None where one is unknown or the work is not the same.
        energy_changed: It is beyond what programs repeat.
        note: Why it cannot be told, and what else is wrong; empty for nothing.
    """

    workload: str
    verdict: Verdict
    base_s: float | None = None
    head_s: float | None = None
    base_runs: int = 0
    head_runs: int = 0
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    detectable: float | None = None
    energy_change_hartree: float | None = None
    energy_changed: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """The answer.

    Attributes:
        base: Name of the one side.
        head: Name of the other.
        rows: Workloads.
        confidence: Of the family of verdicts, and of each interval.
        threshold: Relative change that does not matter.
        noise: Run-to-run coefficient of variation that was taken as known; None without.
        paired: The sides were measured in turn.
        verdict: `slower` (one is, or an energy changed), `cannot tell` (of at least one), or `same`: none is slower.
        status: Exit status of that: 1, 3 or 0.
    """

    base: str
    head: str
    rows: tuple[Row, ...]
    confidence: float
    threshold: float
    noise: float | None
    paired: bool
    verdict: str
    status: int


def judge(
    base: Sequence[Sample],
    head: Sequence[Sample],
    *,
    names: tuple[str, str] = ("BASE", "HEAD"),
    confidence: float = CONFIDENCE,
    threshold: float = 0.05,
    noise: judgement.Noise | None = None,
    paired: bool = False,
    any_machine: bool = False,
) -> Regression:
    """Return what two sides' samples say.

    Args:
        base: The one side.
        head: The other.
        names: Of the sides.
        confidence: Of all verdicts together.
        threshold: Relative change that does not matter.
        noise: How much equal runs differ, from runs made to learn it.
        paired: Samples of one workload were measured in turn, in this order.
        any_machine: Compare times although the machines differ.

    Raises:
        InputError: A time is not positive, or the sides are no pairs.
    """
    base, head = tell_apart(base, head)
    sides = by_workload(base), by_workload(head)
    both = [name for name in sides[0] if name in sides[1]]
    apart = {} if any_machine else {name: note for name in both if (note := _apart(sides[0][name], sides[1][name]))}
    compared = {
        name: _compare(
            sides[0][name],
            sides[1][name],
            confidence=confidence,
            threshold=threshold,
            family=max(len(both) - len(apart), 1),
            noise=noise,
            paired=paired,
        )
        for name in both
        if name not in apart
    }
    adjusted = dict(zip(compared, judgement.holm([one.p_value for one, _ in compared.values()]), strict=True))
    rows = [
        _row(
            name,
            sides[0][name],
            sides[1][name],
            found=compared.get(name),
            p_value=adjusted.get(name),
            note=apart.get(name, ""),
        )
        for name in both
    ]
    rows += [_single(name, sides[0][name], "missing") for name in sides[0] if name not in sides[1]]
    rows += [_single(name, sides[1][name], "new") for name in sides[1] if name not in sides[0]]
    verdict = _overall(rows)
    return Regression(
        base=names[0],
        head=names[1],
        rows=tuple(rows),
        confidence=confidence,
        threshold=threshold,
        noise=noise.cv if noise else None,
        paired=paired,
        verdict=verdict,
        status=STATUS[verdict],
    )


def _compare(
    base: Sequence[Sample],
    head: Sequence[Sample],
    *,
    confidence: float,
    threshold: float,
    family: int,
    noise: judgement.Noise | None,
    paired: bool,
) -> tuple[judgement.Comparison, float]:
    """Return the comparison of one workload, and the change that it would have shown among its family."""
    walls = [sample.wall_s for sample in base], [sample.wall_s for sample in head]
    levels = confidence, 1.0 - (1.0 - confidence) / family
    if paired:
        usual, strict = (judgement.compare_pairs(*walls, confidence=level, threshold=threshold) for level in levels)
    else:
        usual, strict = (
            judgement.compare_groups(*walls, confidence=level, threshold=threshold, noise=noise) for level in levels
        )
    return usual, strict.detectable


def _row(
    name: str,
    base: Sequence[Sample],
    head: Sequence[Sample],
    *,
    found: tuple[judgement.Comparison, float] | None,
    p_value: float | None,
    note: str,
) -> Row:
    energy_change, wrong = _energy_change(base, head)
    notes = [part for part in (note, wrong) if part]
    if _content(base) != _content(head):
        notes.append("the work is not the same: other geometries, keywords or expansion")
    row = Row(
        workload=name,
        verdict="cannot tell",
        base_s=mean_s(base),
        head_s=mean_s(head),
        base_runs=len(base),
        head_runs=len(head),
        energy_change_hartree=energy_change,
        energy_changed=bool(wrong),
        note="; ".join(notes),
    )
    if found is None or p_value is None or _content(base) != _content(head):
        return row
    usual, detectable = found
    if math.isinf(usual.high):
        notes.append("one run a side shows nothing; give several, or the noise of equal runs")
    return replace(
        row,
        verdict=_verdict(usual, p_value),
        change=1.0 / usual.speedup - 1.0,
        low=None if math.isinf(usual.high) else 1.0 / usual.high - 1.0,
        high=None if usual.low == 0.0 else 1.0 / usual.low - 1.0,
        p_value=p_value,
        detectable=None if math.isinf(detectable) else detectable,
        note="; ".join(notes),
    )


def _verdict(found: judgement.Comparison, p_value: float) -> Verdict:
    past = abs(math.log(found.speedup)) > math.log1p(found.threshold)
    if past and p_value <= 1.0 - found.confidence:
        return "faster" if found.speedup > 1.0 else "slower"
    # Of a single workload these would be past the threshold; among its family they may be chance.
    return "cannot tell" if found.verdict in ("faster", "slower") else found.verdict


def _overall(rows: Sequence[Row]) -> str:
    if any(row.verdict == "slower" or row.energy_changed for row in rows):
        return "slower"
    unclear = any(row.verdict in ("cannot tell", "missing") for row in rows) or all(
        row.verdict == "new" for row in rows
    )
    return "cannot tell" if unclear else "same"


def _single(name: str, samples: Sequence[Sample], verdict: Literal["new", "missing"]) -> Row:
    if verdict == "new":
        return Row(workload=name, verdict=verdict, head_s=mean_s(samples), head_runs=len(samples), note="not in BASE")
    return Row(workload=name, verdict=verdict, base_s=mean_s(samples), base_runs=len(samples), note="not in HEAD")


def _apart(base: Sequence[Sample], head: Sequence[Sample]) -> str:
    """Return why times cannot be compared, empty if they can."""
    machines = sorted({sample.machine for sample in (*base, *head)})
    return f"measured on different machines: {', '.join(machines)}" if len(machines) > 1 else ""


def _energy_change(base: Sequence[Sample], head: Sequence[Sample]) -> tuple[float | None, str]:
    """Return HEAD's energy less BASE's, None where there is none, and what is wrong with it; empty for nothing."""
    if _content(base) != _content(head) or not _content(base):
        return None, ""
    energies = [[s.energy_hartree for s in side if s.energy_hartree is not None] for side in (base, head)]
    if not energies[0]:
        return None, ""
    if len(energies[1]) < len(head):
        return None, "HEAD has no energy"
    if not all(math.isfinite(energy) for side in energies for energy in side):
        return None, "an energy is not a number"
    # The largest difference, so that one wrong run among many is not averaged away.
    change = max((h - b for b in energies[0] for h in energies[1]), key=abs)
    return change, f"the energy changed by {change:+.1e} Eh" if abs(change) > ENERGY_TOLERANCE_HARTREE else ""


def _content(samples: Sequence[Sample]) -> str:
    return ",".join(sorted({sample.content for sample in samples}))
