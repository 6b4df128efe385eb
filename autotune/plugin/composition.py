"""Strategies composed into a policy.

Rules: `compose` folds the strategies' `apply` over the bare `Policy`, in the order given; parameters are namespaced
`strategy.parameter`. Strategy objects come from plugins and are only called here and in `calibrate`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from autotune.base.errors import InputError
from autotune.base.types import Context, Parameter, Parameters, Policy
from autotune.plugin.hookspecs import Strategy
from autotune.plugin.program_tuning import ProgramTuning

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

ON_A_STEP = 1e-8  # of a step, by which a number may miss one; as Optuna has it
ALL_STANDARD = "standard"
STANDARD = ("adaptive_workers", "memory_scheduling", "method_tuning", "hybrid", "dynamic_balancing")


def choose(
    known: Mapping[str, Strategy],
    names: Sequence[str] | None,
    without: Sequence[str] = (),
    *,
    programs: Collection[str] = (),
) -> list[Strategy]:
    """Return strategies by name, in order.

    Args:
        known: All there are.
        names: Those wanted; None, or `standard` among them, means the five standard ones, and the tunables of the
            programs.
        without: Those left out again.
        programs: Names of programs.

    Raises:
        InputError: A name is not known.
    """
    standard = [name for name in STANDARD if name in known] + programs_tuned(known, programs)
    wanted = [one for name in names or () for one in (standard if name == ALL_STANDARD else [name])]
    wanted = standard if names is None else list(dict.fromkeys(wanted))
    for name in (*wanted, *without):
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise InputError(f"there is no strategy {name!r}; {hint}")
    return [known[name] for name in wanted if name not in without]


def programs_tuned(known: Mapping[str, Strategy], programs: Collection[str]) -> list[str]:
    """Return the names of those strategies that are the tunables of one of some programs."""
    return [name for name, strategy in known.items() if name in programs and isinstance(strategy, ProgramTuning)]


def default_parameters(strategies: Sequence[Strategy], context: Context) -> Parameters:
    """Return the parameters used before anything was measured."""
    return {f"{s.name}.{key}": value for s in strategies for key, value in s.defaults(context).items()}


def parameters_for(strategies: Sequence[Strategy], context: Context, stored: Mapping[str, Parameter]) -> Parameters:
    """Return those of a tuning's parameters that some strategies may take; for `compose` to judge.

    A program's tunable may matter to the tuning's method and not to another one.
    """
    applied = {strategy.name: strategy for strategy in strategies}
    taken: Parameters = {}
    for key, value in stored.items():
        owner, _, name = key.partition(".")
        strategy = applied.get(owner)
        if strategy is not None and not (
            isinstance(strategy, ProgramTuning) and name not in strategy.defaults(context)
        ):
            taken[key] = value
    return taken


def compose(strategies: Sequence[Strategy], parameters: Mapping[str, Parameter], context: Context) -> Policy:
    """Return the policy the strategies make of their parameters; those not given take their default.

    Raises:
        InputError: A parameter does not belong to any of the strategies' search spaces, or lies outside its range.
    """
    _check(strategies, parameters, context)
    policy = Policy()
    for strategy in strategies:
        own = dict(strategy.defaults(context))
        prefix = f"{strategy.name}."
        own.update({key.removeprefix(prefix): v for key, v in parameters.items() if key.startswith(prefix)})
        policy = strategy.apply(policy, own, context)
    return policy


def _check(strategies: Sequence[Strategy], parameters: Mapping[str, Parameter], context: Context) -> None:
    if not parameters:
        # The common case; search spaces are Optuna's, which takes a third of a second to import.
        return
    spaces = {f"{s.name}.{key}": distribution for s in strategies for key, distribution in s.space(context).items()}
    for name, value in parameters.items():
        if name not in spaces:
            raise InputError(f"parameter {name!r} belongs to no chosen strategy; known are {', '.join(spaces)}")
        if wanted := instead_of(value, spaces[name]):
            raise InputError(f"parameter {name} is {value}, but must be {wanted}")


def instead_of(value: Parameter, distribution: BaseDistribution) -> str:
    """Return what a parameter must be instead of a value, in words; an empty text where its distribution has the value.

    All of Optuna's distributions are known: choices, and whole or other numbers in a range, in steps where it has some.
    """
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        # Python takes True for 1; a tuning file does not.
        known = any(value == choice and isinstance(value, bool) == isinstance(choice, bool) for choice in choices)
        return "" if known else f"one of {', '.join(map(str, choices))}"
    low, high, step = (getattr(distribution, name, None) for name in ("low", "high", "step"))
    if low is None or high is None:
        return ""  # somebody else's kind of distribution, which only that one can judge
    whole = isinstance(low, int)
    right = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and low <= value <= high
    if right and step is not None and isinstance(value, int | float):
        steps = (value - low) / step
        right = abs(steps - round(steps)) < ON_A_STEP
    in_steps = f" in steps of {step:g}" if step not in (None, 1 if whole else None) else ""
    return "" if right else f"a {'whole ' if whole else ''}number from {low:g} to {high:g}{in_steps}"
