"""How exact a many-body sum can be: it multiplies what energies of components are off by, by its coefficients.

Rules: pure. How far energies are off at a program's thresholds is a fact of its plugin, as measured
(`results/convergence.json`). The errors of components are taken as independent, so that they add up as the root of the
sum of squares; nothing is known of a sum with a supersystem.
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType

from autotune.base.text import join_words
from autotune.base.types import Method, Task
from autotune.costs.terms import family
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE
from autotune.plugin.facts import Convergence
from autotune.programs.facts import facts_of

PER_ENERGY_HARTREE = 1.0e-8  # of which is told what it makes, where nothing is known of a program
NOTABLE_FACTOR = 10  # smaller coefficients are not worth a line
DOUBTFUL_KCAL = 0.05  # in a sum, from which on tighter thresholds are advised
LEAST_KCAL = 1.0e-5
SAID_KCAL = 0.001  # from which on it is said of a result
_MOST_TERMS = 300_000  # of a screened expansion that are counted one by one: a second


@dataclass(frozen=True, slots=True, kw_only=True)
class Exactness:
    """What becomes of errors of components in a many-body sum.

    Attributes:
        factors: By number of fragments, the coefficient of such components' energies in the sum; the largest of several
            methods, or of a screened expansion.
        error_hartree: What the energies of each program are off by, root mean square; None where that is not known.
        in_sum_hartree: What that makes of the sum, one standard deviation; None where that is not known.
        per_energy_hartree: What `PER_ENERGY_HARTREE` in each energy makes of it.
        tighter: Keywords that converge energies more tightly, by program, where these are not set.
    """

    factors: Mapping[int, int]
    error_hartree: Mapping[str, float | None]
    in_sum_hartree: float | None
    per_energy_hartree: float
    tighter: Mapping[str, Mapping[str, float]]

    @property
    def is_notable(self) -> bool:
        """Whether the sum multiplies errors by much."""
        return max(map(abs, self.factors.values()), default=0) >= NOTABLE_FACTOR

    def before_words(self) -> str:
        """Return what to say before a run; empty where the sum multiplies errors by little."""
        if not self.is_notable:
            return ""
        shown = join_words([f"{factor:,}" for factor in self.factors.values()])
        words = f"the sum takes energies of 1 to {max(self.factors)} fragments times {shown}"
        if self.in_sum_hartree is None:
            per_energy = _about(self.per_energy_hartree)
            return f"{words}: {PER_ENERGY_HARTREE:.0e} Eh in each make {per_energy} kcal/mol"
        errors = join_words([f"{error:.0e} Eh ({name})" for name, error in self.error_hartree.items()])
        words += f": as converged they are off by {errors}, which makes {_about(self.in_sum_hartree)} kcal/mol"
        if self.in_sum_hartree * KCAL_PER_HARTREE >= DOUBTFUL_KCAL and self.tighter:
            told = [f"{name}={value:g}" for more in self.tighter.values() for name, value in more.items()]
            words += f"; to converge them more tightly: --keywords {','.join(told)}"
        return words

    def after_words(self) -> str:
        """Return what to say of a sum that was computed; empty where it is exact, or nothing is known."""
        if self.in_sum_hartree is None or self.in_sum_hartree * KCAL_PER_HARTREE < SAID_KCAL:
            return ""
        return f"by the thresholds of its energies the sum is exact to {_about(self.in_sum_hartree)} kcal/mol"


def coefficients(fragments: int, levels: Iterable[int]) -> dict[int, int]:
    """Return the coefficient of components' energies in the sum of the terms of some levels, by number of fragments.

    A term of n fragments holds the energies of its parts with alternating signs, and a part of m of them is in
    C(N - m, n - m) such terms: Richard, Lao and Herbert, J. Chem. Phys. 141, 014108 (2014).

    Args:
        fragments: N.
        levels: Every n of which there are terms.
    """
    found: Counter[int] = Counter()
    for level in levels:
        for part in range(1, level + 1):
            found[part] += (-1) ** (level - part) * math.comb(fragments - part, level - part)
    return dict(found)


def exactness(
    tasks: Sequence[Task],
    *,
    fragments: int,
    levels: Mapping[int, str],
    left_out: Collection[str] = (),
    equal: Mapping[str, str] = MappingProxyType({}),
) -> Exactness | None:
    """Return how exact the sum of some tasks can be; None where that is not defined: with vmfc or a supersystem.

    Args:
        tasks: Of one workload, all of them.
        fragments: How many there are.
        levels: The label of the model chemistry of each n-body level.
        left_out: Keys of the tasks whose terms are left out.
        equal: By key of a task that another one's energy is taken for, the other one's: their errors are one.
    """
    if any(task.real != task.basis and len(task.basis) < fragments for task in tasks):
        return None
    squares: dict[str, float] = {}
    factors: dict[int, int] = {}
    methods = {task.level: task.method for task in tasks}
    for label in methods:
        own = [level for level, named in levels.items() if named == label]
        of_level = [task for task in tasks if task.level == label]
        if not left_out and not equal:
            of = coefficients(fragments, own)
            # Each component's energy is its own; those of counterpoise corrections are counted once.
            counts = Counter(map(len, {task.real for task in of_level}))
            for size in counts:
                factors[size] = max(factors.get(size, 0), of.get(size, 0), key=abs)
            squares[label] = float(sum(count * of.get(size, 0) ** 2 for size, count in counts.items()))
            continue
        counted = _factors(of_level, own, fragments, left_out)
        if counted is None:
            return None
        # Counterpoise corrections have the components of a sum a second time, with its coefficients.
        key_of = {task.real: equal.get(task.key, task.key) for task in of_level}
        of_energy: defaultdict[str, int] = defaultdict(int)
        for part, factor in counted.items():
            # One that is there under another level's label has an energy all the same.
            of_energy[key_of.get(part, str(part))] += factor
            factors[len(part)] = max(factors.get(len(part), 0), factor, key=abs)
        squares[label] = float(sum(factor**2 for factor in of_energy.values()))
    errors = {label: error_of(method) for label, method in methods.items()}
    known = [error**2 * squares[label] for label, error in errors.items() if error is not None]
    return Exactness(
        factors=dict(sorted(factors.items())),
        error_hartree={str(method): errors[label] for label, method in methods.items()},
        in_sum_hartree=math.sqrt(math.fsum(known)) if len(known) == len(errors) else None,
        per_energy_hartree=PER_ENERGY_HARTREE * math.sqrt(math.fsum(squares.values())),
        tighter={method.program: more for method in methods.values() if (more := _tighter(method))},
    )


def _factors(
    tasks: Sequence[Task], levels: Sequence[int], fragments: int, left_out: Collection[str]
) -> Mapping[tuple[int, ...], int] | None:
    """Return the coefficient of each component by its fragments; None where they are too many."""
    parts = {task.real for task in tasks}
    kept = {task.real for task in tasks if task.key not in left_out}
    if parts == kept:
        of = coefficients(fragments, levels)
        return {part: of.get(len(part), 0) for part in parts}
    if len(kept) > _MOST_TERMS:
        return None
    found: defaultdict[tuple[int, ...], int] = defaultdict(int)
    for term in kept:
        if len(term) in levels:
            for size in range(1, len(term) + 1):
                for part in combinations(term, size):
                    found[part] += (-1) ** (len(term) - size)
    return found


def error_of(method: Method) -> float | None:
    """Return what a method's energies are off by at its thresholds, root mean square (Eh); None where not known.

    Where one threshold is loosened, a tighter one beside it does not help.
    """
    known, shares = _thresholds(method)
    if known is None:
        return None
    loosest = max(shares, default=1.0)
    return known.error_hartree * (loosest if loosest > 1.0 else min(shares, default=1.0))


def _thresholds(method: Method) -> tuple[Convergence | None, list[float]]:
    """Return what is known of a method's convergence, and by how much each threshold that is stated changes it."""
    known = facts_of(method.program).convergence.get(family(method))
    thresholds = known.thresholds if known is not None else {}
    shares = []
    for name, value in json.loads(method.keywords).items():
        usual, power = thresholds.get(name.lower(), (0.0, 0.0))
        if usual and isinstance(value, int | float) and value > 0.0:
            shares.append((value / usual) ** power)
    return known, shares


def _tighter(method: Method) -> Mapping[str, float]:
    """Return the keywords that converge a method more tightly, unless that is done already."""
    known, shares = _thresholds(method)
    return {} if known is None or (shares and max(shares) < 1.0) else known.tighter


def _about(hartree: float) -> str:
    """Return an energy in kcal/mol with one digit; nobody wants to read of less than `LEAST_KCAL`."""
    kcal = hartree * KCAL_PER_HARTREE
    return f"about {kcal:.1g}" if kcal >= LEAST_KCAL else f"less than {LEAST_KCAL:.5f}"
