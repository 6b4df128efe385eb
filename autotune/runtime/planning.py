"""From a workload and what the user decided to what a run will do: tuning, policy, costs, memory budget.

Rules: one answer for `run`, `estimate` and `simulate` alike; nothing is started here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, Protocol

from autotune.base import garbage
from autotune.base.errors import InputError
from autotune.base.options import Options
from autotune.base.records import Tuning, TuningChoice
from autotune.base.text import count
from autotune.base.types import Context, Estimate, Machine, Method, Parameters, Policy, Task
from autotune.costs.cost_law import Costs
from autotune.expansion.component import Recipe
from autotune.machine import process
from autotune.machine.detection import available_memory_gib, detect
from autotune.plugin import composition
from autotune.plugin.facts import MOST_FRAGMENTS, REMEMBER
from autotune.plugin.hookspecs import Strategy
from autotune.plugin.manager import Manager
from autotune.plugin.program_tuning import touches_digits
from autotune.programs import abilities
from autotune.programs.facts import facts_of
from autotune.tunings import library
from autotune.workers.messages import Briefing

MEMORY_CHANGE = 0.05  # of the limit; less is noise


class Work(Protocol):
    """What is planned: a workload, or a part of one."""

    @property
    def recipe(self) -> Recipe:
        """What workers need to build each task's input."""
        ...

    @property
    def tasks(self) -> Sequence[Task]:
        """The tasks."""
        ...

    @property
    def methods(self) -> tuple[Method, ...]:
        """Their model chemistries, in order of appearance."""
        ...


class Remade(NamedTuple):
    """A plan's answer to a machine that changed in the middle of the run."""

    machine: Machine
    policy: Policy
    budget_gib: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run will do.

    Attributes:
        chosen: Which tuning, and why.
        tuning: Where the fitted times come from; None for the prior's. `chosen` says what else of it is used.
        policy: The policy.
        costs: The cost model, with the tuning's fitted times.
        budget_gib: What tasks may be granted together.
        strategies: Those that made the policy; they may adapt it in the middle of the run.
        remake: Returns machine, policy and budget again if the machine changed since it was last asked.
    """

    chosen: TuningChoice
    tuning: Tuning | None
    policy: Policy
    costs: Costs
    budget_gib: float
    strategies: tuple[Strategy, ...]
    remake: Callable[[], Remade | None]


@garbage.search_seldom()
def make(work: Work, *, machine: Machine, manager: Manager, options: Options, here: bool = True) -> Plan:
    """Return the plan for a workload on a machine.

    Args:
        work: The workload.
        machine: Where it will run.
        manager: The plugins.
        options: What the user decided.
        here: The machine is this one, so what is free of its memory at this moment counts; False for a node or a
            machine that is only pretended.

    Raises:
        InputError: A strategy, parameter or tuning the user named cannot be used, or there is nothing to compute.
    """
    if not work.tasks:
        raise InputError("this expansion has no component to compute; raise max_nbody, or take bsse nocp")
    if options.threads is not None and options.threads > machine.cores:
        # Only here: a run on a machine that shrinks meanwhile goes on.
        raise InputError(f"option threads is {options.threads}, but only {machine.cores} cores may be used; give fewer")
    abilities.check_ghosts(work.tasks)
    abilities.check_gpus(work.tasks, machine)
    measured = _measured(machine, work.methods, options)
    costs = _costs(measured)
    # The most expensive method decides which tuning is used.
    methods = methods_by_load(work.tasks, costs)
    found = _find(machine, methods, options, tasks=[task for task in work.tasks if task.method == methods[0]])
    found = found._replace(reason=found.reason + _times_words(found, measured, methods[0]))
    context = Context(machine=machine, methods=methods, tasks=len(work.tasks))
    composition = _compose(found, context, manager=manager, options=options)
    budget_gib = options.memory_gib
    if budget_gib is None:
        usable_gib = available_memory_gib(machine) if here else machine.memory_gib
        budget_gib = composition.policy(machine).memory_fraction * usable_gib
    return Plan(
        chosen=composition.chosen,
        tuning=found.tuning,
        policy=composition.policy(machine),
        costs=costs,
        budget_gib=budget_gib,
        strategies=composition.strategies,
        remake=_Remaker(machine, budget_gib, composition),
    )


def known_costs(methods: Sequence[Method], *, machine: Machine, options: Options) -> Costs:
    """Return the cost model with the fitted times of each method that was measured, in the tunings a run may use."""
    return _costs(_measured(machine, methods, options))


def _costs(measured: Mapping[Method, Tuning]) -> Costs:
    return Costs({method: tuning.law for method, tuning in measured.items()})


def methods_by_load(tasks: Sequence[Task], costs: Costs) -> tuple[Method, ...]:
    """Return the methods of some tasks, the one that takes most of the time first."""
    methods = tuple(dict.fromkeys(task.method for task in tasks))
    if len(methods) == 1:
        return methods
    load_s: dict[Method, float] = {}
    for task in tasks:
        load_s[task.method] = load_s.get(task.method, 0.0) + costs.estimate(task).alone_s
    return tuple(sorted(load_s, key=lambda method: -load_s[method]))


def fixed_plan(plan: Policy, *, costs: Costs, budget_gib: float) -> Plan:
    """Return a plan of one policy that nothing changes, for measurements."""
    chosen = TuningChoice(match="given", reason="a policy to be measured", source="", strategies=(), parameters={})
    return Plan(
        chosen=chosen,
        tuning=None,
        policy=plan,
        costs=costs,
        budget_gib=budget_gib,
        strategies=(),
        remake=lambda: None,
    )


def guess(
    methods: tuple[Method, ...], *, machine: Machine, manager: Manager, options: Options, look_up: bool = True
) -> Policy:
    """Return the policy before the workload is planned; enough to know the workers' environment.

    Without `look_up` no stored tuning is read, which takes a tenth of a second.
    """
    found = _find(machine, methods, options, tasks=()) if methods and look_up else library.NOTHING
    context = Context(machine=machine, methods=methods, tasks=0)
    return _compose(found, context, manager=manager, options=options).policy(machine)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Composition:
    """Strategies and parameters that were decided, and what they make of a machine."""

    chosen: TuningChoice
    strategies: tuple[Strategy, ...]
    parameters: Parameters
    context: Context
    options: Options

    def policy(self, machine: Machine) -> Policy:
        made = composition.compose(self.strategies, self.parameters, replace(self.context, machine=machine))
        return override(made, self.options, machine)


def _compose(found: library.Found, context: Context, *, manager: Manager, options: Options) -> _Composition:
    names, known = options.strategies, manager.strategies
    programs = {method.program for method in context.methods}
    tuned = composition.programs_tuned(known, programs)
    if names is None and found.tuning and (missing := [name for name in found.tuning.strategies if name not in known]):
        found = _without(found, missing)
    if names is None and found.tuning and found.match != "model":
        # A tuning from before a program had tunables does not name it.
        names = tuple(dict.fromkeys([*found.tuning.strategies, *tuned]))
    without = options.without if options.program_tuning else (*options.without, *tuned)
    strategies = composition.choose(known, names, without, programs=programs)
    parameters = composition.parameters_for(strategies, context, found.tuning.parameters if found.tuning else {})
    try:
        composition.compose(strategies, parameters, context)
    except InputError as error:
        if found.match == "given":
            raise
        reason = f"the stored tuning does not fit here ({error}); the defaults are used"
        found, parameters = library.Found(None, "default", reason, found.source), {}
    chosen = TuningChoice(
        match=found.match,
        reason=found.reason,
        source=found.source,
        strategies=tuple(strategy.name for strategy in strategies),
        parameters=composition.default_parameters(strategies, context) | parameters,
    )
    return _Composition(
        chosen=chosen, strategies=tuple(strategies), parameters=parameters, context=context, options=options
    )


def _without(found: library.Found, missing: Sequence[str]) -> library.Found:
    """Return what is left of a tuning some of whose strategies are not installed: its times.

    Raises:
        InputError: The user gave it.
    """
    assert found.tuning is not None
    names = ", ".join(missing)
    if found.match == "given":
        raise InputError(f"{found.source} was made with strategies that are not installed: {names}; install them")
    if found.match == "model":
        return found
    reason = f"{found.reason}, with strategies that are not installed ({names}): only its times are used"
    return library.Found(replace(found.tuning, parameters={}), "model", reason, found.source)


class _Remaker:
    """Looks at the machine again; see `Plan.remake`."""

    def __init__(self, machine: Machine, budget_gib: float, composition: _Composition) -> None:
        self._machine, self._budget_gib, self._composition = machine, budget_gib, composition

    def __call__(self) -> Remade | None:
        before, options = self._machine, self._composition.options
        # What the user asked for may be more than is left.
        now = replace(detect(), key=before.key)
        now = replace(
            now,
            cores=min(now.cores, options.cores or now.cores),
            memory_gib=min(now.memory_gib, options.memory_gib or now.memory_gib),
        )
        ratio = now.memory_gib / before.memory_gib
        if now.cores == before.cores and abs(ratio - 1.0) < MEMORY_CHANGE:
            return None
        self._machine, self._budget_gib = now, ratio * self._budget_gib
        return Remade(now, self._composed(now), self._budget_gib)

    def _composed(self, machine: Machine) -> Policy:
        try:
            return self._composition.policy(machine)
        except InputError:  # a parameter of the tuning is out of range on what is left
            return replace(self._composition, parameters={}).policy(machine)


def briefing(
    recipe: Recipe, tasks: Sequence[Task], policy: Policy, *, remember: bool = False, most_nbody: int = 0
) -> Briefing:
    """Return what workers are told before tasks: the recipe, and the settings of programs that have tunables.

    Args:
        recipe: Of the tasks' inputs.
        tasks: Of the run.
        policy: Of the run; programs of which it has no values are left alone.
        remember: Programs that can start tasks from where those of the run before ended.
        most_nbody: Fragments of the largest task of the run, where `tasks` are a part of it.
    """
    tuned = {name.partition(".")[0] for name, _ in policy.tunables}
    most = max([most_nbody, *(task.nbody for task in tasks)])
    settings = [(f"{program}.{MOST_FRAGMENTS}", most) for program in sorted(tuned)]
    remembering = {program for program in recipe.programs.values() if remember and facts_of(program).remembers}
    settings += [(f"{program}.{REMEMBER}", True) for program in sorted(remembering)]
    return Briefing(recipe.to_json(), (*policy.tunables, *settings))


def ways(policy: Policy, programs: Iterable[str], *, remember: bool = False) -> dict[str, str]:
    """Return what sets values of programs apart whose last digits are not the program's own; see `briefing`."""
    found = {}
    for program in programs:
        facts = facts_of(program)
        tuned = "+tuned" if touches_digits(policy.tunables, facts) else ""
        found[program] = f"{tuned}{'+remembered' if remember and facts.remembers else ''}"
    return found


def environment(plan: Policy) -> dict[str, str]:
    """Return the environment of workers under a policy."""
    return process.worker_environment(
        resident=plan.resident_programs,
        passive_wait=plan.passive_wait,
        one_blas_thread=plan.one_blas_thread,
        blas_kernel=plan.blas_kernel,
    )


def estimate(task: Task, *, costs: Costs, manager: Manager, machine: Machine) -> Estimate:
    """Return what a task is expected to cost: a plugin's answer, else the cost model's."""
    found = manager.estimate(task, machine)
    if found is None:
        return costs.estimate(task)
    return found if facts_of(task.method.program).gpu is None else replace(found, gpus=1)


def _find(machine: Machine, methods: tuple[Method, ...], options: Options, *, tasks: Sequence[Task]) -> library.Found:
    if options.tuning == "none":
        return library.Found(None, "none", "asked for no tuning; the defaults are used", "")
    if options.tuning != "auto":
        return library.pick(library.load(Path(options.tuning)), methods, machine, source=options.tuning)
    sizes = [task.size.functions for task in tasks]
    known = sizes if all(sizes) else []
    return library.find(
        machine, methods, smallest_functions=min(known, default=0), largest_functions=max(known, default=0)
    )


def _measured(machine: Machine, methods: Sequence[Method], options: Options) -> dict[Method, Tuning]:
    """Return the tuning that has the fitted times of each method that was measured, of those this run may use."""
    if options.tuning == "none":
        return {}
    if options.tuning == "auto":
        return library.measured(machine, methods)
    return {tuning.method: tuning for tuning in library.load(Path(options.tuning)) if tuning.method in methods}


def _times_words(found: library.Found, measured: Mapping[Method, Tuning], method: Method) -> str:
    """Return where the times of a method come from, if not from the tuning that was found; to follow its reason."""
    if found.tuning is None or found.tuning.method == method:
        return ""
    if own := measured.get(method):
        return f"; times of its tasks were measured on {own.created[:10]} with {count(own.machine.cores, 'core')}"
    return "; times of its tasks are guesses"


def override(plan: Policy, options: Options, on: Machine) -> Policy:
    """Return the policy with the user's own numbers in place of the strategies'."""
    if options.threads is not None:
        plan = replace(plan, width=options.threads, widest=options.threads, widen_tail=False)
        if options.workers is None:
            plan = replace(plan, workers=max(1, on.cores // options.threads), core_slots=max(on.cores, options.threads))
    if options.workers is not None:
        slots = options.workers * plan.width
        most = options.workers
        plan = replace(plan, workers=most, most_workers=most, core_slots=slots, widest=min(plan.widest, slots))
    return plan
