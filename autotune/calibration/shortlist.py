"""What is worth trying first: what the simulator finds fast with the measured costs, and what other tunings found.

Rules: the simulator knows workers, widths, order, the tail and memory; what it cannot tell apart stays at the default.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from autotune.base.records import Tuning
from autotune.base.types import Context, Machine, Method, Parameter, Parameters, Policy
from autotune.calibration.instances import Instance
from autotune.calibration.search import Proposal, space
from autotune.costs.cost_law import Costs
from autotune.costs.terms import family
from autotune.plugin import composition
from autotune.plugin.hookspecs import Strategy
from autotune.schedule.simulator import simulate

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

MOST_SIMULATED = 300  # policies
MOST_SECONDS = 3.0  # of simulating
SIMULATED = 4  # of them tried for real
VALUES_OF_A_RANGE = 5  # that stand for all of its numbers
TRANSFERRED = 2


def fastest_simulated(
    *,
    strategies: Sequence[Strategy],
    searched: Sequence[Strategy],
    context: Context,
    instances: Sequence[Instance],
    costs: Costs,
    contention: float,
    seed: int,
) -> list[Proposal]:
    """Return the policies with the shortest simulated time over all instances, other than the default's, best first.

    For each number of workers and width only the best: what differs otherwise is mostly within the simulator's error.
    Takes seconds at most: what is not reached in time is not proposed.

    Args:
        strategies: All that are applied.
        searched: Those whose parameters may vary.
        context: For them.
        instances: What is simulated.
        costs: Of tasks while all cores work.
        contention: Time of a task while all cores work over its time alone.
        seed: Of the choice, where there are too many policies.
    """
    machine = context.machine
    defaults = composition.default_parameters(searched, context)
    default = composition.compose(strategies, defaults, context)
    found: dict[tuple[object, ...], tuple[Policy, Parameters]] = {}
    for parameters in _combinations(strategies, searched, context, defaults, seed):
        plan = composition.compose(strategies, parameters, context)
        # The one with the fewest changes stands for all that the simulator cannot tell apart.
        found.setdefault(_seen_by_the_simulator(plan), (plan, parameters))
    estimates = [{task.number: costs.estimate(task) for task in instance.tasks} for instance in instances]

    def predicted(plan: Policy) -> float:
        total = 0.0
        for instance, of_tasks in zip(instances, estimates, strict=True):
            run = simulate(
                instance.tasks,
                of_tasks,
                policy=plan,
                machine=machine,
                memory_budget_gib=plan.memory_fraction * machine.memory_gib,
                # The costs are of busy cores: with fewer at work, tasks take less.
                contention=lambda busy: contention ** (min(1.0, busy) - 1.0),
            )
            total += math.log(run.makespan_s)
        return total

    best: dict[tuple[int, int], tuple[float, int, Parameters]] = {}
    deadline = time.monotonic() + MOST_SECONDS
    for number, (plan, parameters) in enumerate(found.values()):
        if plan != default and time.monotonic() < deadline:
            offered = (predicted(plan), number, parameters)
            cell = (plan.workers, plan.width)
            best[cell] = min(best.get(cell, offered), offered, key=lambda one: one[:2])
    ranked = sorted(best.values(), key=lambda one: one[:2])
    return [Proposal(parameters, "simulated") for _, _, parameters in ranked[:SIMULATED]]


def transfer(
    known: Iterable[Tuning], *, machine: Machine, method: Method, searched: Sequence[Strategy], context: Context
) -> list[Proposal]:
    """Return the parameters of the nearest tunings that differ from the default: same method first, then machine.

    A parameter that is not in the search space here keeps its default.
    """
    near = [t for t in known if t.method.program == method.program and t.parameters]
    near.sort(
        key=lambda t: (
            t.method != method,
            family(t.method) != family(method),
            t.machine.key != machine.key,
            t.machine.cores != machine.cores,
            t.method.driver != method.driver,
            t.method.basis != method.basis,
        )
    )
    here = space(searched, context)
    defaults = composition.default_parameters(searched, context)
    proposals = []
    for tuning in near[:TRANSFERRED]:
        fitting = {
            name: value
            for name, value in tuning.parameters.items()
            if name in here and not composition.instead_of(value, here[name])
        }
        proposals.append(Proposal(defaults | fitting, "transferred"))
    return proposals


def _combinations(
    strategies: Sequence[Strategy],
    searched: Sequence[Strategy],
    context: Context,
    defaults: Mapping[str, Parameter],
    seed: int,
) -> list[Parameters]:
    """Return combinations of all values that the simulator can tell from the default's, fewest changes first.

    Where there are too many, those with the fewest changes. A range is represented by a few of its numbers.
    """

    def seen(changed: Mapping[str, Parameter]) -> tuple[object, ...]:
        return _seen_by_the_simulator(composition.compose(strategies, {**defaults, **changed}, context))

    before, choices = seen({}), dict[str, list[Parameter]]()
    for name, distribution in space(searched, context).items():
        values = [value for value in _values(distribution) if seen({name: value}) != before]
        if values:
            choices[name] = [defaults[name], *values]
    made = [{**defaults, **dict(zip(choices, v, strict=True))} for v in itertools.product(*choices.values())]
    # Of equally many changes any may be left out, of fewer none: what several changes do, their parts show first.
    random.Random(seed).shuffle(made)  # noqa: S311 - a choice of configurations, not a secret
    return sorted(made, key=lambda parameters: sum(parameters[n] != defaults[n] for n in parameters))[:MOST_SIMULATED]


def _values(distribution: BaseDistribution) -> tuple[Parameter, ...]:
    """Return the choices of a distribution; of a range all its numbers, or both ends and a few between them."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return tuple(choice for choice in distribution.choices if choice is not None)
    if not isinstance(distribution, IntDistribution | FloatDistribution):
        return ()
    low, high, step = distribution.low, distribution.high, distribution.step
    if step is not None and (high - low) / step < VALUES_OF_A_RANGE:
        found = [low + number * step for number in range(round((high - low) / step) + 1)]
    else:
        shares = [number / (VALUES_OF_A_RANGE - 1) for number in range(VALUES_OF_A_RANGE)]
        found = [low * (high / low) ** s if distribution.log else low + s * (high - low) for s in shares]
        if step is not None:
            found = [low + step * round((value - low) / step) for value in found]
    whole = isinstance(distribution, IntDistribution)
    return tuple(dict.fromkeys(int(value) if whole else min(value, high) for value in found))


def _seen_by_the_simulator(plan: Policy) -> tuple[object, ...]:
    return (
        plan.workers,
        plan.core_slots,
        plan.width,
        plan.widest,
        plan.order,
        plan.level_barriers,
        plan.widen_tail,
        plan.batch_s,
        plan.memory_fraction,
        plan.memory_admission,
        plan.grant,
    )
