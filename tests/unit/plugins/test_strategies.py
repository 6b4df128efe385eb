"""One contract for every registered strategy, and what the five built-in ones do."""

from __future__ import annotations

import dataclasses
import math
import re
from types import SimpleNamespace

import pluggy
import pytest
import typical
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from autotune.base.errors import InputError
from autotune.base.types import Context, Method, Policy
from autotune.plugin import composition
from autotune.plugin.hookspecs import Strategy, hookimpl
from autotune.plugin.manager import Manager
from autotune.runtime.monitor import Snapshot

MANAGER = Manager()
TUNED = [name for name, facts in MANAGER.program_facts.items() if facts.tunables]
FIELDS = {field.name for field in dataclasses.fields(Policy)}


def context(cores=4, tasks=100):
    here = dataclasses.replace(typical.MACHINE, cores=cores, memory_gib=16.0)
    # Programs' tunables are strategies, too, for methods of theirs.
    methods = tuple(Method(program=name, method="b3lyp", basis="", driver="energy") for name in TUNED)
    return Context(machine=here, methods=methods, tasks=tasks)


def assert_sound(plan, cores):
    assert plan.workers >= 1
    assert 1 <= plan.width <= max(cores, 1)
    assert plan.core_slots >= plan.width
    assert 0 < plan.memory_fraction <= 0.8
    assert plan.order in ("input", "longest", "shortest")
    assert plan.grant in ("share", "estimate")
    assert plan.tasks_per_worker >= 0


def values_of(distribution):
    """Return what draws values of a distribution of any kind, without steps."""
    if hasattr(distribution, "choices"):
        return st.sampled_from(distribution.choices)
    return (st.integers if isinstance(distribution.low, int) else st.floats)(distribution.low, distribution.high)


@pytest.mark.parametrize("name", sorted(MANAGER.strategies))
class TestContract:
    def test_its_defaults_lie_in_its_search_space(self, name):
        strategy = MANAGER.strategies[name]
        space, defaults = strategy.space(context()), strategy.defaults(context())
        assert space.keys() == defaults.keys()
        assert not any(composition.instead_of(value, space[key]) for key, value in defaults.items())

    def test_its_space_is_the_same_each_time_so_that_trials_can_be_replayed(self, name):
        strategy = MANAGER.strategies[name]
        assert strategy.space(context()) == strategy.space(context())
        assert strategy.space(context(tasks=0)) == strategy.space(context(tasks=9999))

    @pytest.mark.parametrize("cores", [1, 2, 64])
    def test_every_point_of_its_space_makes_a_sound_policy(self, name, cores):
        strategy = MANAGER.strategies[name]

        @given(st.data())
        @settings(max_examples=30, deadline=None)
        def check(data):
            here = context(cores=cores, tasks=data.draw(st.integers(1, 1000)))
            params = {key: data.draw(values_of(distribution)) for key, distribution in strategy.space(here).items()}
            assert_sound(strategy.apply(Policy(), params, here), cores)

        check()

    def test_it_is_pure(self, name):
        strategy = MANAGER.strategies[name]
        before = Policy()
        first = strategy.apply(before, strategy.defaults(context()), context())
        assert before == Policy()
        assert first == strategy.apply(before, strategy.defaults(context()), context())

    def test_it_changes_the_policy(self, name):
        strategy = MANAGER.strategies[name]
        changed = {
            key: composition.compose([strategy], {f"{name}.{key}": choice}, context())
            for key, distribution in strategy.space(context()).items()
            for choice in (getattr(distribution, "choices", None) or (distribution.low, distribution.high))
        }
        assert any(plan != Policy() for plan in changed.values())


class Ranged(Strategy):
    """A strategy with one parameter."""

    name = "ranged"

    def __init__(self, distribution):
        self._distribution = distribution

    def defaults(self, context):
        del context
        return {"it": getattr(self._distribution, "low", True)}

    def space(self, context):
        del context
        return {"it": self._distribution}

    def apply(self, policy, params, context):
        del params, context
        return policy


@pytest.mark.parametrize(
    ("distribution", "good", "bad", "wanted"),
    [
        (CategoricalDistribution((True, "a", 2)), (True, "a", 2, 2.0), (1, "b", False, None), "one of True, a, 2"),
        (IntDistribution(1, 4), (1, 4), (0, 5, 99, 1.0, 2.5, "2", True, math.nan), "a whole number from 1 to 4"),
        (IntDistribution(2, 8, step=2), (2, 8), (3, 10, 2.0), "a whole number from 2 to 8 in steps of 2"),
        (IntDistribution(1, 1000, log=True), (1, 1000), (0, 1001), "a whole number from 1 to 1000"),
        (FloatDistribution(0, 1), (0, 0.3, 1), (-0.1, 1.1, "0.5", False, math.inf, math.nan), "a number from 0 to 1"),
        (
            FloatDistribution(0.1, 0.7, step=0.1),
            (0.1, 0.3, 0.1 + 0.2, 0.7),
            (0.15, 0.8),
            "a number from 0.1 to 0.7 in steps of 0.1",
        ),
        (FloatDistribution(1e-6, 1.0, log=True), (1e-6, 1.0), (1e-7,), "a number from 1e-06 to 1"),
    ],
    ids=str,
)
def test_a_parameter_outside_its_distribution_is_refused_whatever_its_kind(distribution, good, bad, wanted):
    for value in good:
        composition.compose([Ranged(distribution)], {"ranged.it": value}, context())
    for value in bad:
        message = re.escape(f"parameter ranged.it is {value}, but must be {wanted}") + "$"
        with pytest.raises(InputError, match=message):
            composition.compose([Ranged(distribution)], {"ranged.it": value}, context())


def test_a_parameter_of_no_chosen_strategy_is_refused():
    with pytest.raises(InputError, match=r"parameter 'hybrid\.wdith' belongs to no chosen strategy"):
        standard(parameters={"hybrid.wdith": 1})


def standard(*, without=(), parameters=None, **others):
    """Return the policy of the standard strategies but for those that are left out."""
    chosen = composition.choose(MANAGER.strategies, None, without)
    return composition.compose(chosen, parameters or {}, context(**others))


def test_the_five_standard_strategies_are_there_and_in_order():
    assert [strategy.name for strategy in composition.choose(MANAGER.strategies, None)] == list(composition.STANDARD)


@pytest.mark.parametrize("left_out", composition.STANDARD)
def test_leaving_one_out_changes_the_default_policy(left_out):
    assert standard(cores=8) != standard(cores=8, without=(left_out,))


def test_no_strategy_at_all_is_the_older_executors_schedule():
    plan = composition.compose([], {}, context())
    assert plan == Policy()
    assert (plan.workers, plan.width, plan.order, plan.tasks_per_worker) == (4, 1, "input", 1)
    assert plan.level_barriers


def test_zero_configuration_uses_every_core_with_one_thread_longest_first_resident():
    plan = standard(cores=8)
    assert (plan.workers, plan.width, plan.order, plan.tasks_per_worker) == (8, 1, "longest", 2000)
    assert not plan.level_barriers


def test_there_are_never_more_workers_than_tasks():
    assert standard(cores=64, tasks=3).workers == 3


def progress(**known):
    usual = {
        "done": 5,
        "total": 100,
        "running": 4,
        "cores_in_use": 4,
        "cores": 4,
        "busy_cores": 4.0,
        "idle_cores": 0.0,
        "resident_gib": 1.0,
        "budget_gib": 8.0,
        "elapsed_s": 20.0,
        "settled_s": 10.0,
        "eta_s": None,
        "composed": standard(),
    }
    return Snapshot(**{**usual, **known})


def test_standard_among_names_stands_for_those_that_are_applied_anyway():
    known = MANAGER.strategies
    usual = composition.choose(known, None, programs={"pyscf"})
    assert composition.choose(known, ["standard"], programs={"pyscf"}) == usual
    assert composition.choose(known, ["hybrid", "standard"])[0].name == "hybrid"
    assert sorted(one.name for one in composition.choose(known, ["hybrid", "standard"])) == sorted(composition.STANDARD)
    assert composition.choose(known, ["standard"], ["hybrid", "pyscf"], programs={"pyscf"}) == [
        one for one in usual if one.name not in {"hybrid", "pyscf"}
    ]


@pytest.mark.parametrize("name", sorted(MANAGER.strategies))
def test_where_nothing_is_amiss_no_strategy_changes_the_policy_in_mid_run(name):
    composed = progress().composed
    assert MANAGER.strategies[name].adapt(composed, progress()) == composed


def test_while_other_processes_take_the_cores_no_task_is_wide_and_afterwards_they_are_again():
    balancing, composed = MANAGER.strategies["dynamic_balancing"], progress().composed
    assert composed.widest == 4
    crowded = balancing.adapt(composed, progress(busy_cores=2.0))
    assert (crowded.widest, crowded.widen_tail) == (1, False)
    assert balancing.adapt(crowded, progress(busy_cores=2.0)) == crowded
    assert balancing.adapt(crowded, progress()) == composed
    assert crowded.pin_workers
    # On cores of their own they leave less to others: that is no sign that these are gone.
    some = progress(busy_cores=3.3)
    assert balancing.adapt(crowded, some) == crowded
    assert balancing.adapt(composed, some) == composed


def test_idle_cores_are_filled_with_workers_only_while_all_workers_are_busy_and_up_to_a_limit():
    workers, composed = MANAGER.strategies["adaptive_workers"], progress().composed
    waiting = {"busy_cores": 1.0, "idle_cores": 3.0}
    assert workers.adapt(composed, progress(**waiting)).workers == 7
    assert workers.adapt(composed, progress(**waiting, running=3)) == composed
    assert workers.adapt(composed, progress(**waiting, settled_s=0.5)) == composed
    full = dataclasses.replace(composed, workers=8, core_slots=8)
    assert workers.adapt(full, progress(**waiting, running=8)) == full


class Twice:
    @hookimpl
    def autotune_strategies(self):
        return 2 * [SimpleNamespace(name="one")]


class Misspelt:
    @hookimpl
    def autotune_strategy(self):
        return []


def test_two_strategies_of_one_name_and_a_plugin_with_an_unknown_hook_are_refused():
    with pytest.raises(InputError, match="two plugins define a strategy named 'one'"):
        Manager([Twice()]).strategies  # noqa: B018
    with pytest.raises(pluggy.PluginValidationError, match="autotune_strategy"):
        Manager([Misspelt()])


def test_plugins_can_be_blocked_by_name(monkeypatch):
    monkeypatch.setenv("AUTOTUNE_DISABLED_PLUGINS", "hybrid")
    assert "hybrid" not in Manager().strategies
    monkeypatch.setenv("AUTOTUNE_DISABLED_PLUGINS", "hybird")
    with pytest.raises(InputError, match="AUTOTUNE_DISABLED_PLUGINS names hybird, which is not an installed plugin"):
        Manager()


def test_a_plugin_that_does_not_import_is_named_with_the_cure(tmp_path, monkeypatch):
    info = tmp_path / "broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[autotune]\nbroken = no_such_module\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(
        InputError, match=r"plugin 'broken' of broken does not load \(ModuleNotFoundError.*DISABLED_PLUGINS=broken"
    ):
        Manager()
