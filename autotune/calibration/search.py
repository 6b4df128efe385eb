"""The search: Optuna proposes parameters, every proposal is run on the same few instances, the default first of all.

Rules: what counts is the speed-up against the default on the same instances, which is run again every few trials,
because machines drift. Equal policies are measured once; one that fails is told as failed, one that is clearly slower
is given up early. What the simulator and other tunings suggest is tried before what Optuna proposes. Every trial is in
Optuna's database as soon as it ended, so a search that was killed goes on where it was, and `optuna-dashboard` can look
at it. In the final the fastest few are run again, in turn with the default, because the fastest of many trials was
lucky, too; of equal times the one that changes least wins: what a small workload cannot show may matter in a large
one.
"""

from __future__ import annotations

import contextlib
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from autotune.base.errors import AutotuneError, InputError, TaskError
from autotune.base.records import Trial
from autotune.base.types import Context, Parameter, Parameters, Policy
from autotune.calibration import effects
from autotune.calibration.instances import Instance
from autotune.calibration.timing import Budget, Timed, Timing, TooSlowError
from autotune.plugin import composition
from autotune.plugin.hookspecs import Strategy

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

REPEATS_OF_DUPLICATES = 20  # proposals in a row that were measured before
CLEARLY_SLOWER = 0.1  # of the logarithm of the time, besides the noise
FRUITLESS = 10  # trials without a gain after which a search ends, at least
FRUITLESS_SHARE = 1 / 6  # of the trials allowed, where that is more: who allows many wants to be thorough
REFERENCE_EVERY = 5  # trials between two runs of the default
LAST_REFERENCES = 3  # runs of the default whose median a trial is held against
PATIENCE = 2.0  # times the default's wall time after which a run is stopped
FINAL_SHARE = 0.7  # of the budget, up to the end of this step
FINALISTS, ROUNDS = 4, 4  # as far as the budget reaches
FOREVER = 4.0  # times the default
_STATES = {"done": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


_Identity: TypeAlias = tuple[Policy, ...]


class Proposal(NamedTuple):
    """Parameters to try, and where they come from; see `Trial`."""

    parameters: Parameters
    source: str


class Search:
    """One search.

    Args:
        study: Optuna's, made by `open_search`; trials in it count.
        strategies: All that are applied.
        searched: Those whose parameters are searched.
        context: For them, without a number of tasks.
        policy_of: What parameters come to for an instance.
        instances: What every trial runs, cheapest first.
        default_s: Wall times of the default so far, for each instance, oldest first.
        noise: Run-to-run coefficient of variation.
        run: Runs an instance under a policy, at most so many seconds.
        say: Called with one line for each trial.

    Attributes:
        instances: As given.
        noise: As given.
        defaults: Parameters of the default.
        references: Wall times of the default on each instance, oldest first.
        trials: What was tried, in order.
        stopped: Why the search ended.
    """

    def __init__(
        self,
        study: optuna.Study,
        *,
        strategies: Sequence[Strategy],
        searched: Sequence[Strategy],
        context: Context,
        policy_of: Callable[[Mapping[str, Parameter], Instance], Policy],
        instances: Sequence[Instance],
        default_s: Sequence[Sequence[float]],
        noise: float,
        run: Callable[[Instance, Policy, float], Timed],
        say: Callable[[str], None],
    ) -> None:
        self._study, self._strategies, self._context, self._policy_of = study, strategies, context, policy_of
        self.instances, self.noise = instances, noise
        self.references = [list(times) for times in default_s]
        self._since_reference = 0
        self._run, self._say = run, say
        self._space = space(searched, context)
        self.defaults = composition.default_parameters(searched, context)
        self._measured: dict[_Identity, Trial] = {}
        self._logs: dict[int, list[float]] = {}  # of the speed-up on each instance, by number of trial
        self.trials: list[Trial] = []
        self.stopped = ""
        self._state, self._walls = "done", tuple[float, ...]()
        self._recall()

    def run(self, proposals: Sequence[Proposal], *, most: int, enough: Callable[[float], bool]) -> None:
        """Try the proposals, then what Optuna proposes, until nothing more is to be expected.

        Args:
            proposals: What to try first.
            most: Most trials.
            enough: Whether a trial that takes so many seconds would exceed the time allowed.
        """
        waiting = [p for p in proposals if self._identity(p.parameters) not in self._measured]
        for parameters, source in waiting:
            self._study.enqueue_trial(parameters, user_attrs={"source": source}, skip_if_exists=True)
        repeats, fruitless = 0, max(FRUITLESS, int(FRUITLESS_SHARE * most))
        while not self.stopped:
            queued = any(trial.state.name == "WAITING" for trial in self._study.get_trials(deepcopy=False))
            expected_s = 1.3 * sum(self.default_s)
            if len(self.trials) >= most:
                self.stopped = f"{most} configurations were tried"
            elif self.trials and enough(expected_s):
                self.stopped = "its share of the budget was used"
            elif repeats >= REPEATS_OF_DUPLICATES:
                self.stopped = "only configurations that were measured before came up"
            elif (
                not queued
                and len(self.trials) >= effects.LEAST_TRIALS
                and effects.expected_gain(self.trials) < self.noise / 2
            ):
                self.stopped = "as many trials again would be expected to gain less than half the noise"
            elif not queued and self._stalled(fruitless):
                self.stopped = f"the last {fruitless} trials gained less than half the noise"
            else:
                if self._since_reference >= REFERENCE_EVERY:
                    self._refer()
                repeats = 0 if self._next() else repeats + 1

    def _stalled(self, fruitless: int) -> bool:
        before, last = self.trials[:-fruitless], self.trials[-fruitless:]
        best, lately = (max((t.speed_up for t in some if t.state == "done"), default=0.0) for some in (before, last))
        return best > 0 and lately < best * math.exp(self.noise / 2)

    @property
    def default_s(self) -> list[float]:
        """Wall time of the default on each instance, as measured lately."""
        return [statistics.median(times[-LAST_REFERENCES:]) for times in self.references]

    def best(self, count: int) -> list[Trial]:
        """Return the fastest trials that ran to their end, fastest first; equal policies once."""
        done = [trial for trial in self._measured.values() if trial.state == "done"]
        return sorted(done, key=lambda trial: -trial.speed_up)[:count]

    def add(self, parameters: Parameters, *, speed_up: float) -> None:
        """Add a configuration that was measured in the final only; one that is known stays as it is."""
        if self._identity(parameters) not in self._measured:
            self._keep(self._trial(parameters, "final", "done", (), [math.log(speed_up)]), [])

    def sparing(self, parameters: Mapping[str, Parameter]) -> Parameters:
        """Return the parameters with only those changes that the trials give a reason for; see `effects.sparing`."""
        return effects.sparing(parameters, self.trials, self.defaults, self.noise)

    def _refer(self) -> None:
        """Run the default once more; one failure says nothing of the others."""
        self._since_reference = 0
        for instance, times in zip(self.instances, self.references, strict=True):
            with contextlib.suppress(TooSlowError, TaskError):
                times.append(self._run(instance, self._policy_of(self.defaults, instance), math.inf).wall_s)

    # --- one trial ---------------------------------------------------------------------------------------------------

    def _next(self) -> bool:
        """Take one proposal; return whether its policy was new."""
        import optuna

        asked = self._study.ask(self._space)
        parameters: Parameters = dict(asked.params)
        known = self._measured.get(self._identity(parameters))
        logs = [] if known else self._tried(asked, parameters)
        trial = known or self._trial(parameters, _source(asked.user_attrs), self._state, self._walls, logs)
        # One attribute: each is a write to the disk.
        kept = {"wall_s": list(trial.wall_s), "logs": logs, "state": trial.state, "repeated": known is not None}
        asked.set_user_attr("measured", kept)
        state = optuna.trial.TrialState[_STATES[trial.state]]
        self._study.tell(asked, -math.log(trial.speed_up) if trial.state == "done" else None, state=state)
        if known is None:
            self._since_reference += 1
            self._keep(trial, logs)
            self._say(f"  trial {len(self.trials):2d}: {self.line(trial)}")
        return known is None

    def _tried(self, asked: optuna.Trial, parameters: Parameters) -> list[float]:
        """Run a trial; return the logarithms of its speed-ups, and leave its state and wall times behind."""
        self._state, self._walls = "done", tuple[float, ...]()
        logs: list[float] = []
        best = self._best_logs()
        for step, instance in enumerate(self.instances):
            default_s = self.default_s[step]
            limit_s = PATIENCE * default_s / math.exp(max(0.0, best[step]))
            try:
                timed = self._run(instance, self._policy_of(parameters, instance), limit_s)
            except InputError:
                raise
            except TooSlowError:
                self._state, wall_s = "pruned", limit_s
            except AutotuneError as error:
                self._say(f"  failed: {error}")
                self._state, self._walls = "failed", ()
                return []
            else:
                wall_s = timed.wall_s
                asked.set_constraint(f"memory of workload {step + 1}", timed.peak_gib / timed.budget_gib - 1.0)
                if asked.user_attrs.get("source") == "default":
                    self.references[step].append(wall_s)
            self._walls = (*self._walls, wall_s)
            logs.append(math.log(default_s / wall_s))
            if self._state != "done":
                break
            asked.report(-statistics.fmean(logs), step)
            # Held against the best on the same workloads: they do not gain alike.
            behind = statistics.fmean(best[: step + 1]) - statistics.fmean(logs)
            if behind > CLEARLY_SLOWER + 3 * self.noise and step + 1 < len(self.instances):
                self._state = "pruned"
                break
        return logs

    def _best_logs(self) -> list[float]:
        """Return the logarithm of the best trial's speed-up on each instance; zeros before there is one."""
        best = self.best(1)
        logs = self._logs.get(self.trials.index(best[0]), []) if best else []
        return logs if len(logs) == len(self.instances) else [0.0] * len(self.instances)

    def _trial(
        self, parameters: Parameters, source: str, state: str, walls: Sequence[float], logs: Sequence[float]
    ) -> Trial:
        plan = composition.compose(self._strategies, parameters, self._context)
        return Trial(
            parameters=parameters,
            source=source,
            state=state,
            workers=plan.at_once,
            width=plan.width,
            wall_s=tuple(walls),
            speed_up=math.exp(statistics.fmean(logs)) if logs else 0.0,
        )

    def _identity(self, parameters: Mapping[str, Parameter]) -> _Identity:
        """Return the policies that parameters come to: equal ones are measured once."""
        return tuple(self._policy_of(parameters, instance) for instance in self.instances)

    def _keep(self, trial: Trial, logs: list[float]) -> None:
        self._measured[self._identity(trial.parameters)] = trial
        self._logs[len(self.trials)] = logs
        self.trials.append(trial)

    def _recall(self) -> None:
        """Take up what an interrupted search had measured."""
        import optuna

        for found in self._study.get_trials(deepcopy=False):
            if found.state == optuna.trial.TrialState.RUNNING:
                self._study.tell(found.number, state=optuna.trial.TrialState.FAIL)
                if found.params and not found.user_attrs.get("again"):
                    # Else `run` would take a proposal that was interrupted for one that was tried. Once: it may be what
                    # ended the calibration.
                    again = {"source": _source(found.user_attrs), "again": True}
                    self._study.enqueue_trial(found.params, user_attrs=again)
            elif not found.user_attrs.get("measured", {"repeated": True})["repeated"]:
                measured = found.user_attrs["measured"]
                state, walls, logs = (measured[name] for name in ("state", "wall_s", "logs"))
                self._keep(self._trial(dict(found.params), _source(found.user_attrs), state, walls, logs), logs)

    def line(self, trial: Trial) -> str:
        """Return a trial in a few words."""
        changed = [f"{k.partition('.')[2]}={v}" for k, v in trial.parameters.items() if v != self.defaults.get(k)]
        took = {"failed": "failed      ", "pruned": "given up    "}.get(trial.state, f"{trial.speed_up:5.2f}× speed")
        return f"{took}  {' '.join(changed) or 'the default'}"


def _source(attributes: Mapping[str, Any]) -> str:
    return str(attributes.get("source", "search"))


def space(searched: Sequence[Strategy], context: Context) -> dict[str, BaseDistribution]:
    """Return the joint search space of some strategies, as `strategy.parameter`."""
    return {f"{s.name}.{name}": distribution for s in searched for name, distribution in s.space(context).items()}


# --- the final --------------------------------------------------------------------------------------------------------


def final(search: Search, *, timing: Timing, budget: Budget, order: random.Random) -> Parameters:
    """Return the parameters that are fastest when they are run again; those of the default where nothing is.

    As many rounds and candidates as the budget has room for; where it has none for two, the search decides.
    """
    round_s = 1.1 * sum(search.default_s)
    room = int((FINAL_SHARE * budget.total_s - budget.spent_s) / round_s)
    kept = _candidates(search, timing, most=max(room, 1))
    if len(kept) < 2:  # noqa: PLR2004 - nothing to compare
        best = search.best(1)
        return search.sparing(best[0].parameters) if best else search.defaults
    logs: list[list[float]] = [[] for _ in kept]
    for turn in range(ROUNDS):
        if turn and budget.beyond(FINAL_SHARE, round_s * len(kept)):
            break
        for place in order.sample(range(len(kept)), len(kept)):
            logs[place].append(_mean_log(search, timing, kept[place]))
    means = [statistics.fmean(of_one) for of_one in logs]
    default_log = means[kept.index(search.defaults)]
    if not math.isfinite(default_log):
        default_log = statistics.fmean(map(math.log, search.default_s))
    within = search.noise / math.sqrt(len(logs[0]) * len(search.instances))
    winner = next(place for place, mean in enumerate(means) if mean <= min(means) + within)
    if math.isfinite(means[winner]):
        search.add(kept[winner], speed_up=math.exp(default_log - means[winner]))
    return kept[winner]


def _candidates(search: Search, timing: Timing, *, most: int) -> list[Parameters]:
    """Return what is run again, what changes least of a usual run first.

    That is the default, the fastest few, the fastest with only the changes that matter, and what runs do anyway where
    the search began elsewhere: that does not lose by one unlucky trial.
    """
    best = [dict(trial.parameters) for trial in search.best(FINALISTS)]
    stated = [dict(trial.parameters) for trial in search.trials if trial.source == "stated" and trial.state == "done"]
    found: dict[tuple[Policy, ...], Parameters] = {}
    # Where only a few have room, the fastest trials are among them.
    for parameters in (search.defaults, *map(search.sparing, best[:1]), *best[:1], *stated, *best[1:]):
        policies = tuple(timing.policy(parameters, instance) for instance in search.instances)
        found.setdefault(policies, parameters)
    usual = stated[0] if stated else search.defaults

    def changes(parameters: Parameters) -> int:
        return sum(parameters.get(name) != value for name, value in usual.items())

    return sorted(list(found.values())[:most], key=changes)


def _mean_log(search: Search, timing: Timing, parameters: Parameters) -> float:
    """Return the mean logarithm of the wall times over all instances; infinite where a run failed or took forever."""
    logs = []
    for instance, default_s in zip(search.instances, search.default_s, strict=True):
        plan = timing.policy(parameters, instance)
        try:
            logs.append(math.log(timing.run(instance, plan, learn=False, limit_s=FOREVER * default_s).wall_s))
        except InputError:
            raise
        except AutotuneError:
            return math.inf
    return statistics.fmean(logs)
