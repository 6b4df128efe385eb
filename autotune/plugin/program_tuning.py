"""A program's tunables as a strategy: their values join the search space, and tunings, under the program's name.

Rules: made of what a program's plugin states, so no program is known here. What a value does is the harness's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.base.types import Context, Parameter, Policy
from autotune.plugin.facts import ProgramFacts, Tunable
from autotune.plugin.hookspecs import Strategy

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


class ProgramTuning(Strategy):
    """Owns the tunables of one program.

    Args:
        facts: Of the program.
        untouched: The defaults are the program's own ways, instead of what its plugin states as fastest.
    """

    def __init__(self, facts: ProgramFacts, *, untouched: bool = False) -> None:
        self._facts, self._untouched = facts, untouched

    @property
    def name(self) -> str:
        """Name of the program."""
        return self._facts.name

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """What the plugin states to be fastest, of all that matters to the methods."""
        return {each.name: each.untouched if self._untouched else each.default for each in self._mattering(context)}

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """What the plugin states."""
        return {each.name: each.distribution() for each in self._mattering(context)}

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Add the values, by `PROGRAM.NAME`."""
        values = tuple((f"{self.name}.{each.name}", params[each.name]) for each in self._mattering(context))
        return replace(policy, tunables=(*policy.tunables, *values))

    def left_alone(self) -> ProgramTuning:
        """Return the same with the program's own ways as its defaults."""
        return ProgramTuning(self._facts, untouched=True)

    def untouched(self, context: Context) -> Mapping[str, Parameter]:
        """Return the values that leave the program as it is."""
        return {each.name: each.untouched for each in self._mattering(context)}

    def _mattering(self, context: Context) -> list[Tunable]:
        own = [method for method in context.methods if method.program == self.name]
        return [each for each in self._facts.tunables if any(each.matters(method) for method in own)]


def of_program(tunables: Iterable[tuple[str, Parameter]], program: str) -> dict[str, Parameter]:
    """Return the values of one program by name, of a policy's."""
    prefix = f"{program}."
    return {name.removeprefix(prefix): value for name, value in tunables if name.startswith(prefix)}


def touches_digits(tunables: Iterable[tuple[str, Parameter]], facts: ProgramFacts) -> bool:
    """Return whether values of a policy change last digits of what a program gives when it is left alone."""
    given = of_program(tunables, facts.name)
    return any(given.get(each.name, each.untouched) != each.untouched for each in facts.tunables if not each.exact)
