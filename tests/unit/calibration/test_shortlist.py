"""What is tried first is what the simulator finds fast and what others found, and nothing that cannot be tried here."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from pretended import CONTEXT, DEFAULT, MACHINE, METHOD, Crew, instance
from tuning_factory import make_tuning

from autotune.base.types import Context
from autotune.calibration import shortlist
from autotune.calibration.shortlist import MOST_SIMULATED, SIMULATED, TRANSFERRED, fastest_simulated, transfer
from autotune.costs.cost_law import Costs
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.schedule.simulator import simulate

FIVE = composition.choose(Manager().strategies, None)
MANY = (instance(functions=[*30 * [40], *30 * [60]]),)
ONE_LARGE = (instance(functions=[400, *4 * [40]]),)


def costs_of(instances, alone_s=lambda functions: (functions / 40) ** 3):
    costs = Costs()
    for one in instances:
        for task in one.tasks:
            costs.observe(task, wall_s=alone_s(task.size.functions), width=1, peak_gib=0.1)
    return costs


def listed(instances, strategies=FIVE, *, searched=None, context=CONTEXT, contention=1.0, seed=1):
    return fastest_simulated(
        strategies=strategies,
        searched=strategies if searched is None else searched,
        context=context,
        instances=instances,
        costs=costs_of(instances),
        contention=contention,
        seed=seed,
    )


def composed(parameters, strategies=FIVE, context=CONTEXT):
    return composition.compose(strategies, parameters, context)


def span_s(plan, instances, contention=1.0):
    """Return the geometric mean of the simulated times, as the costs were measured: while all cores work."""
    logs = []
    for one in instances:
        costs = costs_of(instances)
        run = simulate(
            one.tasks,
            {task.number: costs.estimate(task) for task in one.tasks},
            policy=plan,
            machine=MACHINE,
            memory_budget_gib=plan.memory_fraction * MACHINE.memory_gib,
            contention=lambda busy: contention ** (min(1.0, busy) - 1.0),
        )
        logs.append(math.log(run.makespan_s))
    return math.exp(sum(logs) / len(logs))


# --- the simulator ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contention", [1.0, 2.0])
@pytest.mark.parametrize("instances", [MANY, ONE_LARGE, MANY + ONE_LARGE], ids=["many", "one large", "both"])
def test_a_few_are_listed_the_shortest_simulated_times_first_one_of_each_kind_and_no_default(instances, contention):
    found = listed(instances, contention=contention)
    assert 0 < len(found) <= SIMULATED
    assert {proposal.source for proposal in found} == {"simulated"}
    plans = [composed(proposal.parameters) for proposal in found]
    spans = [span_s(plan, instances, contention) for plan in plans]
    assert spans == sorted(spans)
    assert len({(plan.workers, plan.width) for plan in plans}) == len(plans)
    defaults = composition.default_parameters(FIVE, CONTEXT)
    assert composed(defaults) not in plans
    for parameters, _ in found:  # what the simulator cannot tell apart stays at the default
        assert all(parameters[name] == value for name, value in defaults.items() if name.startswith("method_tuning."))


def test_parameters_that_are_not_searched_are_not_proposed():
    searched = composition.choose(Manager().strategies, ["adaptive_workers"])
    for parameters, _ in listed(MANY, searched=searched):
        assert parameters.keys() == {"adaptive_workers.per_core"}


def test_one_large_task_among_small_ones_is_given_more_cores():
    narrow = composition.choose(Manager().strategies, ["adaptive_workers", "hybrid"])
    best = composed(listed(ONE_LARGE, narrow)[0].parameters, narrow)
    default = composed({}, narrow)
    assert span_s(best, ONE_LARGE) <= span_s(default, ONE_LARGE) * 1.0001
    assert best.widest == MACHINE.cores


def test_the_longest_first_is_found_where_the_default_is_any_order():
    # Many short tasks, and the long one last.
    uneven = (instance(functions=[*16 * [40], 100]),)
    best = composed(listed(uneven, [Crew()])[0].parameters, [Crew()])
    assert best.order == "longest"


def test_a_strategy_with_nothing_to_choose_gives_no_proposals():
    class Fixed(Crew):
        name = "fixed"

        def space(self, context):
            from optuna.distributions import CategoricalDistribution

            return {name: CategoricalDistribution((value,)) for name, value in self.defaults(context).items()}

    assert listed(MANY, [Fixed()]) == []


class Ranged(Crew):
    """Takes its workers from a range instead of choices, and a share that the simulator knows as memory."""

    def __init__(self, workers):
        self._workers = workers

    def defaults(self, context):
        return {**super().defaults(context), "share": 0.5}

    def space(self, context):
        from optuna.distributions import FloatDistribution

        return {**super().space(context), "workers": self._workers, "share": FloatDistribution(0.25, 0.75)}

    def apply(self, policy, params, context):
        return replace(super().apply(policy, params, context), memory_fraction=params["share"])


def test_parameters_in_a_range_are_simulated_too_and_what_is_proposed_lies_in_it():
    from optuna.distributions import IntDistribution

    found = listed(MANY, [Ranged(IntDistribution(1, 8))])
    workers = {proposal.parameters["crew.workers"] for proposal in found}
    assert 8 in workers  # the fastest here
    assert workers <= set(range(1, 9))
    assert all(0.25 <= proposal.parameters["crew.share"] <= 0.75 for proposal in found)
    for proposal in found:
        composed(proposal.parameters, [Ranged(IntDistribution(1, 8))])


@pytest.mark.parametrize(
    ("kind", "arguments", "values"),
    [
        ("Categorical", {"choices": (1, "a", True)}, (1, "a", True)),
        ("Int", {"low": 1, "high": 4}, (1, 2, 3, 4)),
        ("Int", {"low": 2, "high": 10, "step": 2}, (2, 4, 6, 8, 10)),
        ("Int", {"low": 1, "high": 100}, (1, 26, 51, 75, 100)),
        ("Int", {"low": 1, "high": 256, "log": True}, (1, 4, 16, 64, 256)),
        ("Float", {"low": 0.0, "high": 1.0}, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ("Float", {"low": 0.0, "high": 1.0, "step": 0.5}, (0.0, 0.5, 1.0)),
        ("Float", {"low": 0.01, "high": 100.0, "log": True}, (0.01, 0.1, 1.0, 10.0, 100.0)),
        ("Int", {"low": 3, "high": 3}, (3,)),
    ],
)
def test_a_range_is_represented_by_both_ends_and_a_few_numbers_between(kind, arguments, values):
    from optuna import distributions

    distribution = getattr(distributions, f"{kind}Distribution")(**arguments)
    found = shortlist._values(distribution)
    assert found == pytest.approx(values)
    assert [type(value) for value in found] == [type(value) for value in values]
    assert not any(composition.instead_of(value, distribution) for value in found)


def test_at_most_so_many_policies_are_simulated_however_large_the_space_and_the_same_with_a_seed(monkeypatch):
    calls = []
    monkeypatch.setattr(shortlist, "simulate", lambda *args, **options: calls.append(1) or simulate(*args, **options))
    large = replace(CONTEXT, machine=replace(MACHINE, cores=64))
    found = listed(ONE_LARGE, context=large)
    assert 0 < len(calls) <= MOST_SIMULATED
    assert listed(ONE_LARGE, context=large) == found
    defaults = composition.default_parameters(FIVE, large)
    drawn = shortlist._combinations(FIVE, FIVE, large, defaults, 1)
    changes = [sum(one[name] != defaults[name] for name in defaults) for one in drawn]
    assert changes == sorted(changes)  # of fewer changes none is left out
    assert changes[0] == 0


# --- other tunings ---------------------------------------------------------------------------------------------------

HERE = replace(MACHINE, key="here")
ELSEWHERE = replace(MACHINE, key="elsewhere")
WHERE = Context(machine=HERE, methods=(METHOD,), tasks=100)


def tuning(*, method="hf", basis="6-31g*", program="pyscf", machine=HERE, workers=8, **parameters):
    return make_tuning(
        program,
        method,
        basis,
        machine=machine,
        parameters={"crew.workers": workers, **parameters},
        strategies=("crew",),
    )


def proposed(*known, searched=None):
    return transfer(known, machine=HERE, method=METHOD, searched=[searched or Crew()], context=WHERE)


def workers(proposals):
    return [proposal.parameters["crew.workers"] for proposal in proposals]


def test_parameters_of_other_tunings_are_laid_over_the_default_where_they_are_in_the_space_here():
    assert proposed(tuning(workers=8)) == [(DEFAULT | {"crew.workers": 8}, "transferred")]
    (proposal,) = proposed(tuning(workers=64, **{"crew.order": "longest", "hybrid.width": 2}))
    assert proposal.parameters == DEFAULT | {"crew.order": "longest"}
    composed(proposal.parameters, [Crew()], WHERE)


def test_the_same_method_comes_first_then_the_same_machine():
    same_elsewhere = tuning(machine=ELSEWHERE, workers=1)
    other_here = tuning(method="mp2", workers=2)
    other_elsewhere = tuning(method="mp2", machine=ELSEWHERE, workers=8)
    assert workers(proposed(other_elsewhere, other_here, same_elsewhere)) == [1, 2]
    assert workers(proposed(other_elsewhere, other_here)) == [2, 8]
    assert workers(proposed(same_elsewhere, tuning(workers=8))) == [8, 1]
    assert workers(proposed(other_here, tuning(basis="cc-pvdz", workers=8))) == [8, 2]


def test_few_are_taken():
    assert len(proposed(*(tuning(workers=n) for n in (1, 2, 8)))) == TRANSFERRED


def test_tunings_of_other_programs_and_those_that_keep_the_default_are_passed_over():
    keeps = make_tuning(machine=HERE, parameters={}, verdict="same")
    assert proposed(tuning(program="psi4"), keeps) == []
    assert proposed() == []


def test_numbers_in_a_range_are_transferred_and_others_keep_their_default():
    from optuna.distributions import IntDistribution

    for (n, share), taken in (((12, 0.3), (12, 0.3)), ((64, 0.9), (4, 0.5))):
        (proposal,) = proposed(tuning(workers=n, **{"crew.share": share}), searched=Ranged(IntDistribution(1, 16)))
        assert (proposal.parameters["crew.workers"], proposal.parameters["crew.share"]) == taken
