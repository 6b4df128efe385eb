"""Calibration: look at the machine, search the strategies' parameters with real runs, confirm the winner.

    look     the default on each search workload, repeated: the noise, and what tasks cost
    search   the default, what the simulator and other tunings suggest, then what Optuna proposes
    final    the fastest few again, and the fastest with only the changes that matter
    confirm  winner and default alternate in random order on workloads the search did not see

Rules: the budget is wall time and is kept by predicting each run from those before. The luckiest trial is not the best
one: a winner that does not beat the default in the confirmation is not stored, the default is.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

from autotune.base.errors import InputError, TaskError
from autotune.base.records import Evidence, Law, Pair, Tuning, Verdict
from autotune.base.types import Machine, Method, Parameters, Policy, Task
from autotune.base.versions import library_versions
from autotune.calibration import confirmation, effects, first_look, search_database, shortlist, studies
from autotune.calibration.confirmation import LostError, measure
from autotune.calibration.first_look import Looked
from autotune.calibration.instances import Instance, halves, ladders
from autotune.calibration.search import Proposal, Search, final
from autotune.calibration.timing import Budget, OutOfTimeError, Timed, Timing
from autotune.costs.cost_law import fit
from autotune.expansion.workload import Workload
from autotune.machine import readiness
from autotune.plugin import composition
from autotune.plugin.hookspecs import Strategy
from autotune.plugin.manager import Manager
from autotune.runtime import planning

if TYPE_CHECKING:
    import optuna

SEARCH_SHARE = 0.6  # of the budget, the look included
TRIALS_WANTED = 14  # a workload is small enough when so many trials fit into the search
LONG_ENOUGH_S = 6.0  # a trial on one workload of each kind, together; longer ones tell little more
FEWEST_PAIRS = 6  # for which a confirmation leaves room, before it takes smaller workloads
OWN_RUNGS = 3
CROWDED = 2.0  # times as long, which is more than two hardware threads of one core cost each other
UNLIKE_ITSELF = 0.1  # of the logarithm of the time
_ALIKE = ("grant", "tasks_per_worker", "tunables")  # what of a policy makes tasks cost the same


class Calibration:
    """One calibration of one method on this machine; a context manager, because it keeps programs loaded.

    Args:
        chosen: The study.
        method: One of its methods.
        machine: The machine.
        manager: Loaded plugins.
        strategies: Strategies that runs will apply; the tuning names them.
        searched: Those whose parameters are searched; by default all.
        budget_s: Wall time allowed, from now; the study's by default.
        own: The user's own input, in place of the study's workloads, and its name.
        faults: What spoke against measuring, where that was done by force.
        known: Tunings whose parameters are worth a try.
        say: Called with one line for each step.

    Attributes:
        search: The search, once it has begun.
    """

    def __init__(
        self,
        chosen: studies.Study,
        method: studies.MethodChoice,
        *,
        machine: Machine,
        manager: Manager,
        strategies: Sequence[Strategy],
        searched: Sequence[Strategy] | None = None,
        budget_s: float | None = None,
        own: tuple[Workload, str] | None = None,
        faults: Sequence[str] = (),
        known: Iterable[Tuning] = (),
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._study, self._method, self._machine = chosen, method, machine
        self._strategies, self._faults = list(strategies), faults
        self._searched = self._strategies if searched is None else list(searched)
        # What runs will apply: here programs may be left alone.
        self._usual = [manager.strategies.get(strategy.name, strategy) for strategy in strategies]
        self._budget = Budget(budget_s or chosen.budget_s)
        self._known, self._say = known, say
        self._timing = Timing(machine=machine, manager=manager, strategies=self._strategies, budget=self._budget)
        self._tuned: list[tuple[Task, float, int]] = []
        self._random = random.Random(chosen.seed)  # noqa: S311 - an order of runs, not a secret
        self._own = own[1] if own else ""
        self._workloads = own[0].recipe.to_json() if own else studies.geometries(chosen)
        if own is None:
            self._search_ladders = ladders(chosen, chosen.search, method)
            self._confirm_ladders = ladders(chosen, chosen.confirm, method)
        else:
            one, other = halves(own[0], name=own[1], seed=chosen.seed)
            # Offered again, because how much of it fits is known better after each run.
            self._search_ladders, self._confirm_ladders = {"own": iter([one] * OWN_RUNGS)}, {"own": iter([other])}
        self.search: Search | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timing.__exit__()

    def run(self) -> Tuning:
        """Look, search, confirm; return the tuning, not yet stored: see `stored`.

        Raises:
            InputError: The method cannot run here, or not within the budget.
            TaskError: The default configuration itself fails.
            ResourceError: The search's database cannot be written.
        """
        self._say(f"calibrating {self._own or self._method} within {self._budget.total_s:.0f} s")
        with search_database.alone(), search_database.storage_errors():
            recalled = self._opened()
            try:
                return self._found(recalled)
            except OutOfTimeError as error:
                what = self._own or self._method
                raise InputError(f"{self._budget.total_s:.0f} s are too short for {what}; allow more") from error

    def stored(self) -> None:
        """Mark the search as ended, once its tuning is safe: until then it can be taken up again."""
        with search_database.storage_errors():
            self._note("ended", True)

    def _found(self, recalled: optuna.Study) -> Tuning:
        looked = self._looked(recalled)
        for instance in looked.instances:
            self._refer(instance)
        needed = confirmation.pairs_needed(looked.noise)
        more = f", more than the {confirmation.MOST_PAIRS} that are run" if needed > confirmation.MOST_PAIRS else ""
        gain = f"a gain of {confirmation.WORTH_SHOWING:.0%}"
        self._say(f"  noise: {looked.noise:.1%} from run to run; {gain} takes {needed} pairs to show{more}")
        search = self.search = self._searched_for(recalled, looked)
        parameters = recalled.user_attrs.get("winner")
        if parameters is None:
            search.run(
                self._proposals(looked),
                most=self._study.trials,
                enough=lambda seconds: self._budget.beyond(SEARCH_SHARE, seconds),
            )
            self._say(f"  the search ended: {search.stopped}")
            parameters = final(search, timing=self._timing, budget=self._budget, order=self._random)
            self._note("winner", parameters)
        pairs = [Pair(workload=w, default_s=d, tuned_s=t) for w, d, t in recalled.user_attrs.get("pairs", [])]
        lost = ""
        if self._is_default(parameters, looked.instances):
            self._say("  nothing was faster than the default; nothing to confirm")
        else:
            lost = self._confirm(looked.noise, parameters, pairs)
        return self._tuning(search, looked, parameters, pairs, lost)

    def _looked(self, recalled: optuna.Study) -> Looked:
        noted = recalled.user_attrs.get("looked")
        if noted:
            return first_look.recall(noted, self._search_ladders, self._timing)
        share_s = SEARCH_SHARE * self._budget.total_s / TRIALS_WANTED
        found = first_look.look(
            self._search_ladders,
            timing=self._timing,
            budget=self._budget,
            allowed_s=min(share_s, LONG_ENOUGH_S),
            repeats=self._study.repeats,
            say=self._say,
        )
        self._note("looked", first_look.note(found, self._timing))
        return found

    # --- search ------------------------------------------------------------------------------------------------------

    def _opened(self) -> optuna.Study:
        question = {
            "study": self._study,
            "method": self._method,
            "workloads": self._workloads,
            "strategies": [s.name for s in self._strategies],
            "searched": [s.name for s in self._searched],
            "untouched": self._usual != self._strategies,
            "versions": library_versions(),
        }
        title = f"{self._machine.key} {self._own or self._method}"
        opened = search_database.open_search(question, title=title, seed=self._study.seed)
        self._note = opened.set_user_attr
        self._timing.on_run = lambda: self._note("spent_s", self._budget.spent_s)
        self._budget.before_s = float(opened.user_attrs.get("spent_s", 0.0))
        if self._budget.before_s:
            self._say(f"  going on with a calibration that was interrupted after {self._budget.before_s:.0f} s")
        return opened

    def _searched_for(self, recalled: optuna.Study, looked: Looked) -> Search:
        usual = self._timing.policy({}, looked.instances[0])

        def attempt(instance: Instance, plan: Policy, limit_s: float) -> Timed:
            # Tasks of an oversubscribed run tell nothing about costs, nor do those in another environment.
            alike = planning.environment(plan) == planning.environment(usual)
            alike = alike and all(getattr(plan, name) == getattr(usual, name) for name in _ALIKE)
            learn = alike and plan.workers * plan.width <= self._machine.cores
            return self._timing.run(instance, plan, learn=learn, limit_s=limit_s)

        return Search(
            recalled,
            strategies=self._strategies,
            searched=self._searched,
            context=self._timing.context(looked.instances),
            policy_of=self._timing.policy,
            instances=looked.instances,
            default_s=looked.default_s,
            noise=looked.noise,
            run=attempt,
            say=self._say,
        )

    def _proposals(self, looked: Looked) -> list[Proposal]:
        context = self._timing.context(looked.instances)
        defaults = composition.default_parameters(self._searched, context)
        alone = dict(self._timing.untouched(looked.instances[0]))
        usual = composition.default_parameters(self._usual, context)
        return [
            Proposal(defaults, "default"),
            Proposal(defaults | {name: value for name, value in alone.items() if name in defaults}, "untouched"),
            Proposal({name: usual[name] for name in defaults}, "stated"),
            *shortlist.transfer(
                self._known,
                machine=self._machine,
                method=looked.instances[0].methods[0],
                searched=self._searched,
                context=context,
            ),
            *shortlist.fastest_simulated(
                strategies=self._strategies,
                searched=self._searched,
                context=context,
                instances=looked.instances,
                costs=self._timing.costs,
                contention=looked.contention,
                seed=self._study.seed,
            ),
        ]

    # --- confirm -----------------------------------------------------------------------------------------------------

    def _confirm(self, noise: float, parameters: Parameters, pairs: list[Pair]) -> str:
        """Run pairs until the answer is clear, kept in the search's database; return why the winner lost, if it did."""
        left_s = self._budget.left_s
        allowed_s = max(
            left_s / (2 * confirmation.pairs_wanted(noise)), min(left_s / (2 * FEWEST_PAIRS), LONG_ENOUGH_S)
        )
        instances = first_look.affordable(self._confirm_ladders, timing=self._timing, allowed_s=allowed_s)
        for instance in instances:
            if self._timing.policy(parameters, instance).tunables != self._timing.policy({}, instance).tunables:
                self._refer(instance)

        def keep(instance: Instance, timed: Timed) -> None:
            by_number = {task.number: task for task in instance.tasks}
            self._tuned += [(by_number[each.number], each.wall_s, each.width) for each in timed.records]

        try:
            measure(
                pairs,
                instances,
                parameters,
                timing=self._timing,
                budget=self._budget,
                order=self._random,
                say=self._say,
                on_pair=lambda all_: self._note("pairs", [[p.workload, p.default_s, p.tuned_s] for p in all_]),
                on_tuned=keep,
            )
        except LostError as error:
            self._say(f"  the winner lost: {error}")
            return str(error)
        return ""

    def _refer(self, instance: Instance) -> None:
        """Run an instance with its programs left alone, so that results can be compared; they may be unable to."""
        try:
            self._timing.refer(instance)
        except OutOfTimeError:
            raise
        except TaskError as error:
            self._say(f"  results on {instance.name} cannot be compared with the program left alone: {error}")

    # --- the answer --------------------------------------------------------------------------------------------------

    def _is_default(self, parameters: Parameters, instances: Sequence[Instance]) -> bool:
        of = self._timing.policy
        return all(of(parameters, instance) == of({}, instance) for instance in instances)

    def _tuning(
        self, search: Search, looked: Looked, parameters: Parameters, pairs: Sequence[Pair], lost: str
    ) -> Tuning:
        found, timing, method = confirmation.conclude(pairs), self._timing, looked.instances[0].methods[0]
        changes = {name: value for name, value in parameters.items() if value != search.defaults.get(name)}
        verdict: Verdict = "slower" if lost else found.verdict
        if self._is_default(parameters, looked.instances):
            changes, verdict = {}, "not confirmed"
        kept: Parameters = parameters if verdict == "faster" else {}
        if verdict != "faster" and timing.policy({}, looked.instances[0]).tunables in timing.wrong:
            self._say("  the defaults of the program's tunables change its results here: it is left alone")
            kept = dict(timing.untouched(looked.instances[0]))
        evidence = Evidence(
            study=self._own or self._study.name,
            search_workloads=tuple(instance.name for instance in looked.instances),
            search_tasks=tuple(len(instance.tasks) for instance in looked.instances),
            candidate=changes,
            pairs=tuple(pairs),
            speed_up=found.speed_up,
            interval=found.interval,
            verdict=verdict,
            noise=looked.noise,
            noise_s=tuple(map(tuple, search.references)),
            trials=tuple(search.trials),
            importances=effects.importances(search.trials, search.defaults),
            stopped="; ".join(filter(None, (search.stopped or "it ended before an interruption", lost))),
            budget_s=self._budget.total_s,
            spent_s=self._budget.spent_s,
            smallest_functions=timing.smallest_functions,
            largest_functions=timing.largest_functions,
            deviations=dict(timing.deviations),
            cautions=tuple(self._cautions(search, looked)),
        )
        return Tuning(
            machine=self._machine,
            method=method,
            program_version=timing.versions.get(method.program, "unknown"),
            strategies=tuple(strategy.name for strategy in self._strategies),
            parameters=self._stored(kept, looked.instances[0]),
            law=self._law(method, looked, parameters if verdict == "faster" else {}),
            evidence=evidence,
            versions=library_versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    def _cautions(self, search: Search, looked: Looked) -> Iterator[str]:
        """Yield what speaks against the measurements, in sentences."""
        for fault in self._faults:
            yield f"it was measured by force: {fault}"
        others = statistics.fmean(self._timing.others or [0.0]) / self._machine.cores
        if others > readiness.BUSY_SHARE:
            yield f"other programs used {others:.0%} of the cores while it was measured"
        if looked.contention > CROWDED:
            yield (
                f"a task took {looked.contention:.1f} times as long while all cores worked as alone: something else"
                " used them, or they share what tasks need"
            )
        again = [trial.speed_up for trial in search.trials if trial.source == "default" and trial.state == "done"]
        if again and abs(math.log(again[0])) > max(UNLIKE_ITSELF, 3 * looked.noise):
            yield f"the default ran at {again[0]:.2f} times its own speed a little earlier"

    def _stored(self, parameters: Parameters, instance: Instance) -> Parameters:
        """Return what a run must be told to do as was found: parameters other than its own defaults."""
        usual = composition.default_parameters(self._usual, self._timing.context([instance]))
        return {name: value for name, value in parameters.items() if value != usual.get(name)}

    def _law(self, method: Method, looked: Looked, parameters: Parameters) -> Law:
        """Return the fitted times of the method with these parameters: other tunables, other times."""
        policies = [self._timing.policy(each, looked.instances[0]) for each in (parameters, {})]
        law = self._timing.laws()[method]
        if policies[0].tunables != policies[1].tunables and self._tuned:
            law = replace(fit(self._tuned)[method], parallel=law.parallel, half_s=law.half_s)
        return replace(law, contention=looked.contention)
