"""Tunables of a program as a strategy: what it sets, for which methods, and what it is without."""

from __future__ import annotations

import dataclasses
import re

import pytest
import typical
from places import ROOT

from autotune.base.errors import InputError
from autotune.base.types import Context, Method, Policy
from autotune.plugin import Tunable, choices, composition, hookimpl
from autotune.plugin.facts import ProgramFacts
from autotune.plugin.manager import Manager
from autotune.plugin.program_tuning import ProgramTuning, of_program, touches_digits
from autotune.programs import facts

PAGE = (ROOT / "docs" / "programs.md").read_text()
GUESS = Tunable(
    name="guess", about="what it starts from", distribution=choices("own", "parts"), default="parts", untouched="own"
)
KEEP = Tunable(
    name="keep",
    about="what it keeps",
    distribution=choices(True, False),
    default=True,
    untouched=False,
    exact=True,
    matters=lambda method: method.method == "dft",
)
FACTS = ProgramFacts(name="solver", tunables=(GUESS, KEEP))
STRATEGY = ProgramTuning(FACTS)


def context(*methods, program="solver"):
    of = tuple(Method(program=program, method=method, basis="", driver="energy") for method in methods)
    return Context(machine=typical.MACHINE, methods=of, tasks=10)


class Plugin:
    @hookimpl
    def autotune_program_facts(self):
        return [FACTS]


KNOWN = Manager([Plugin()]).strategies


@pytest.mark.parametrize(
    ("methods", "values"),
    [
        (context("hf"), {"guess": "parts"}),
        (context("dft"), {"guess": "parts", "keep": True}),
        (context("hf", "dft"), {"guess": "parts", "keep": True}),
        (context("dft", program="another"), {}),
        (context(), {}),
    ],
)
def test_only_what_matters_to_a_method_of_the_program_is_set_and_searched(methods, values):
    assert STRATEGY.defaults(methods) == values
    assert STRATEGY.space(methods).keys() == values.keys()
    tunables = tuple((f"solver.{name}", value) for name, value in values.items())
    assert STRATEGY.apply(Policy(), values, methods) == dataclasses.replace(Policy(), tunables=tunables)
    assert hash(tunables)


def test_left_alone_its_defaults_are_the_program_s_own_ways():
    alone, dft = STRATEGY.left_alone(), context("dft")
    assert alone.defaults(dft) == STRATEGY.untouched(dft) == {"guess": "own", "keep": False}
    assert alone.space(dft) == STRATEGY.space(dft)


@pytest.mark.parametrize(
    ("names", "without", "program", "chosen"),
    [
        (None, (), "solver", ["solver"]),
        (None, (), "another", []),
        (None, ("solver",), "solver", []),
        (["solver"], (), "another", ["solver"]),
    ],
)
def test_it_is_among_the_usual_strategies_of_its_program_alone(names, without, program, chosen):
    found = composition.choose(KNOWN, names, without, programs={program})
    assert [strategy.name for strategy in found] == chosen


def test_a_value_outside_of_its_distribution_is_refused():
    with pytest.raises(InputError, match=r"parameter solver\.guess is all, but must be one of own, parts"):
        composition.compose([STRATEGY], {"solver.guess": "all"}, context("hf"))


def test_of_a_stored_tuning_what_does_not_matter_here_is_left_out():
    own = {"solver.guess": "own", "solver.keep": True}
    stored = {**own, "hybrid.width": 2}
    assert composition.parameters_for([STRATEGY], context("hf"), stored) == {"solver.guess": "own"}
    assert composition.parameters_for([STRATEGY], context("dft"), stored) == own
    assert composition.parameters_for([], context("dft"), stored) == {}


@pytest.mark.parametrize(
    ("tunables", "touches"),
    [
        ((), False),
        ((("solver.guess", "own"), ("solver.keep", True)), False),
        ((("solver.guess", "parts"),), True),
        ((("another.guess", "parts"),), False),
    ],
)
def test_only_values_that_are_not_exact_touch_digits(tunables, touches):
    assert touches_digits(tunables, FACTS) is touches


def test_tasks_make_what_others_use_where_the_value_in_force_says_so(monkeypatch):
    guess = dataclasses.replace(GUESS, ahead=lambda value, task: 2 * (value == "parts" and task.nbody == 1))
    told = {"solver": dataclasses.replace(FACTS, tunables=(guess, KEEP))}
    monkeypatch.setattr(facts, "known_facts", lambda: told)
    tasks = [
        dataclasses.replace(typical.task(n, method=context("hf", program=program).methods[0]), real=real)
        for n, (program, real) in enumerate([("solver", (1,)), ("solver", (1, 2)), ("another", (1,))])
    ]
    assert facts.ranks(tasks, [("solver.guess", "parts"), ("solver.keep", True)]) == {0: 2}
    assert facts.ranks(tasks, [("solver.guess", "own"), ("solver.keep", True)]) == {}
    assert facts.ranks(tasks, []) == {}


def test_a_program_is_told_its_own_values_by_their_names():
    assert of_program((("solver.guess", "own"), ("solver2.guess", "x")), "solver") == {"guess": "own"}


BUILT_IN = [(of.name, each) for of in Manager().program_facts.values() for each in of.tunables]


def test_built_in_tunables_have_both_values_in_their_distribution_and_are_the_lines_of_the_document():
    for _, tunable in BUILT_IN:
        for value in (tunable.default, tunable.untouched):
            assert not composition.instead_of(value, tunable.distribution())
    rows = re.findall(r"^\| `(\w+\.\w+)` \| (\S+) \| (\S+) \| \S", PAGE.partition("## PySCF")[0], re.MULTILINE)
    assert rows == [(f"{program}.{each.name}", str(each.default), str(each.untouched)) for program, each in BUILT_IN]
