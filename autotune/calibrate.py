"""Calibration: search the strategies' parameters with real runs, confirm the winner, make a tuning of it.

    climb    run the study's workloads with the default, cheapest first, until one fills a trial; fits the costs
    search   Optuna proposes parameters, the workload is run with them; the default is always the first trial
    confirm  winner and default alternate in random order on a workload the search did not see

Rules: the budget is wall time and is kept by predicting each run from those before. The luckiest trial is not the best
one: a winner that does not beat the default in the confirmation is not stored, the default is. A configuration that
fails is told to Optuna as failed. Equal policies are measured once.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Self

from autotune import compare, policy, store, study, workload
from autotune.api import library_versions
from autotune.errors import AutotuneError, InputError, ResourceError, TaskError
from autotune.hookspecs import Strategy
from autotune.manager import Manager
from autotune.records import Evidence, Tuning
from autotune.timing import Timing
from autotune.types import Context, Machine, Parameters, Policy

if TYPE_CHECKING:
    import optuna

SEARCH_SHARE = 0.55  # of the budget, climbing included; the rest confirms
TRIALS_WANTED = 10  # a search workload is small enough when so many trials fit
LEAST_PAIRS, MOST_PAIRS = 3, 12
CONFIRM_CONFIDENCE = 0.99  # higher than reported, because the confirmation looks several times
REPEATS_OF_DUPLICATES = 20
RESERVE_S = 2.0  # for storing and closing


class Trial(NamedTuple):
    """One configuration of the search: what was tried and how long the workload took, or None if it failed."""

    parameters: Parameters
    plan: Policy
    wall_s: float | None


class Calibration:
    """One calibration of one method on this machine; a context manager, because it keeps programs loaded.

    Args:
        chosen: The study.
        machine: The machine.
        manager: Loaded plugins.
        strategies: Strategies that runs will apply; the tuning names them.
        searched: Those whose parameters are searched; by default all.
        budget_s: Wall time allowed, from now.
        say: Called with one line for each step.
    """

    def __init__(
        self,
        chosen: study.Study,
        *,
        machine: Machine,
        manager: Manager,
        strategies: Sequence[Strategy],
        searched: Sequence[Strategy] | None = None,
        budget_s: float | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._study, self._machine, self._manager, self._strategies = chosen, machine, manager, list(strategies)
        self._searched = self._strategies if searched is None else list(searched)
        self._budget_s = budget_s or chosen.budget_s
        self._say = say
        self._started = time.monotonic()
        self._timing = Timing(machine=machine, manager=manager)
        self._random = random.Random(chosen.seed)  # noqa: S311 - an order of runs, not a secret
        self.trials: list[Trial] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._timing.__exit__()

    def run(self) -> Tuning:
        """Climb, search, confirm; return the tuning, not yet stored.

        Raises:
            InputError: The study's method cannot run here.
            TaskError: The default configuration itself fails.
        """
        self._say(f"calibrating {self._method()} within {self._budget_s:.0f} s")
        rung, work = self._climb()
        with _storage_errors():
            best = self._search(work)
        confirm_rung, confirm_work = self._pick_confirmation()
        context = self._context(confirm_work)
        default_plan = policy.compose(self._strategies, {}, context)
        winner_plan = policy.compose(self._strategies, best.parameters, context)
        default_s: list[float] = []
        tuned_s: list[float] = []
        if winner_plan == default_plan:
            self._say(f"the default was the best of {len(self.trials)} configurations; nothing to confirm")
        else:
            default_s, tuned_s = self._confirm(confirm_work, default_plan, winner_plan)
        verdict = compare.paired(default_s, tuned_s)
        strict = compare.paired(default_s, tuned_s, confidence=CONFIRM_CONFIDENCE)
        proven = len(default_s) >= LEAST_PAIRS and strict.verdict == "faster"
        parameters = best.parameters if proven else {}
        evidence = Evidence(
            workload=confirm_rung.name,
            tasks=len(confirm_work.tasks),
            default_s=tuple(default_s),
            tuned_s=tuple(tuned_s),
            speed_up=verdict.speedup,
            interval=(verdict.low, verdict.high) if len(default_s) > 1 else None,
            verdict="same"
            if winner_plan == default_plan
            else strict.verdict
            if len(default_s) >= LEAST_PAIRS
            else "cannot tell",
            trials=len(self.trials),
            search_workload=rung.name,
            budget_s=self._budget_s,
            spent_s=self._spent_s(),
            largest_functions=self._timing.largest_functions,
        )
        method = work.methods[0]
        law = self._timing.laws()[method]
        return Tuning(
            machine=self._machine,
            method=method,
            program_version=self._timing.versions.get(method.program, "unknown"),
            strategies=tuple(strategy.name for strategy in self._strategies),
            parameters=parameters,
            law=law,
            evidence=evidence,
            versions=library_versions(),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )

    # --- the three steps ---------------------------------------------------------------------------------------------

    def _climb(self) -> tuple[study.Rung, workload.Workload]:
        allowed_s = SEARCH_SHARE * self._budget_s / TRIALS_WANTED
        chosen: tuple[study.Rung, workload.Workload] | None = None
        for rung in self._study.search:
            work = self._load(rung)
            plan = policy.compose(self._strategies, {}, self._context(work))
            if chosen is not None and self._predicted_s(work, plan) > allowed_s:
                break
            wall_s = self._timed(work, plan, learn=True)
            self._say(f"  {rung.name}: {len(work.tasks)} tasks in {wall_s:.2f} s with the default")
            chosen = (rung, work)
            if wall_s > allowed_s:
                break
        assert chosen is not None
        return chosen

    def _search(self, work: workload.Workload) -> Trial:
        optuna_study = self._optuna_study()
        context = self._context(work)
        space = {f"{s.name}.{name}": d for s in self._searched for name, d in s.space(context).items()}
        optuna_study.enqueue_trial(policy.default_parameters(self._searched, context))
        measured: dict[Policy, float | None] = {}
        repeats = 0
        while len(self.trials) < self._study.trials and repeats < REPEATS_OF_DUPLICATES:
            # Most trials take less than twice the best; the odd one that does not eats into the confirmation.
            expected_s = 2 * min((t.wall_s for t in self.trials if t.wall_s), default=0.0)
            if self.trials and self._spent_s() + expected_s > SEARCH_SHARE * self._budget_s:
                break
            trial = optuna_study.ask(space)
            parameters: Parameters = dict(trial.params)
            plan = policy.compose(self._strategies, parameters, context)
            if plan in measured:
                repeats += 1
            else:
                measured[plan] = self._attempt(work, plan)
                self.trials.append(Trial(parameters, plan, measured[plan]))
                self._say(self._trial_line(self.trials[-1]))
            wall_s = measured[plan]
            if wall_s is None:
                optuna_study.tell(trial, state=_failed_state())
            else:
                optuna_study.tell(trial, wall_s)
        best: Trial = min(self.trials, key=lambda trial: trial.wall_s or float("inf"))
        if best.wall_s is None:
            raise TaskError("every configuration of the search failed; run `autotune run` on the workload to see why")
        return best

    def _pick_confirmation(self) -> tuple[study.Rung, workload.Workload]:
        """Return the largest workload of which enough pairs fit into what is left of the budget."""
        chosen: tuple[study.Rung, workload.Workload] | None = None
        for rung in self._study.confirm:
            work = self._load(rung)
            plan = policy.compose(self._strategies, {}, self._context(work))
            pair_s = 2 * self._predicted_s(work, plan)
            if chosen is None or pair_s * 2 * LEAST_PAIRS <= self._left_s():
                chosen = (rung, work)
        assert chosen is not None
        return chosen

    def _confirm(self, work: workload.Workload, default: Policy, winner: Policy) -> tuple[list[float], list[float]]:
        default_s: list[float] = []
        tuned_s: list[float] = []
        while len(default_s) < MOST_PAIRS:
            pair_s = default_s[-1] + tuned_s[-1] if default_s else 2 * self._predicted_s(work, default)
            if pair_s > self._left_s():
                break
            sides = [(default, default_s), (winner, tuned_s)]
            self._random.shuffle(sides)
            for plan, times in sides:
                times.append(self._timed(work, plan, learn=False))
            verdict = compare.paired(default_s, tuned_s, confidence=CONFIRM_CONFIDENCE)
            self._say(f"  pair {len(default_s)}: default {default_s[-1]:.2f} s, winner {tuned_s[-1]:.2f} s")
            if len(default_s) >= LEAST_PAIRS and verdict.verdict in ("faster", "slower"):
                break
        return default_s, tuned_s

    # --- one run -----------------------------------------------------------------------------------------------------

    def _attempt(self, work: workload.Workload, plan: Policy) -> float | None:
        try:
            return self._timed(work, plan, learn=plan.workers <= self._machine.cores)
        except InputError:
            raise
        except AutotuneError as error:
            self._say(f"  failed: {error}")
            return None

    def _timed(self, work: workload.Workload, plan: Policy, *, learn: bool) -> float:
        return self._timing.run_s(work, plan, learn=learn, task_limit_s=max(1.0, self._left_s()))

    # --- small answers -----------------------------------------------------------------------------------------------

    def _method(self) -> str:
        method = self._study.method
        return f"{method.program} {method.method}{'/' + method.basis if method.basis else ''} {method.driver}"

    def _load(self, rung: study.Rung) -> workload.Workload:
        return workload.load(study.fields_of(self._study, rung))

    def _context(self, work: workload.Workload) -> Context:
        return Context(machine=self._machine, methods=work.methods, tasks=len(work.tasks))

    def _predicted_s(self, work: workload.Workload, plan: Policy) -> float:
        alone_s = [self._timing.costs.estimate(task).alone_s for task in work.tasks]
        return max(sum(alone_s) / min(plan.workers, self._machine.cores), *alone_s)

    def _spent_s(self) -> float:
        return time.monotonic() - self._started

    def _left_s(self) -> float:
        return self._budget_s - RESERVE_S - self._spent_s()

    def _trial_line(self, trial: Trial) -> str:
        context = Context(machine=self._machine, methods=(), tasks=0)
        defaults = policy.default_parameters(self._strategies, context)
        changed = [f"{k.partition('.')[2]}={v}" for k, v in trial.parameters.items() if v != defaults[k]]
        took = "failed" if trial.wall_s is None else f"{trial.wall_s:6.2f} s"
        return f"  trial {len(self.trials):2d}: {took}  {' '.join(changed) or 'the default'}"

    def _optuna_study(self) -> optuna.Study:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder = store.home() / "searches"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self._machine.key} {self._method()} {datetime.now(UTC).isoformat(timespec='seconds')}"
        return optuna.create_study(
            storage=f"sqlite:///{folder / 'searches.sqlite3'}",
            study_name=name,
            sampler=optuna.samplers.TPESampler(seed=self._study.seed, n_startup_trials=6),
        )


@contextlib.contextmanager
def _storage_errors() -> Iterator[None]:
    """Say in one line that the search's database cannot be written."""
    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = str(getattr(error, "orig", None) or error.__cause__ or error).splitlines()[0]
        raise ResourceError(
            f"the search in {store.home() / 'searches'} cannot be written ({reason}); free space or set"
            f" {store.HOME_VARIABLE}"
        ) from error


def _failed_state() -> optuna.trial.TrialState:
    import optuna

    return optuna.trial.TrialState.FAIL
