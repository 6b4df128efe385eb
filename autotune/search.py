"""The search: Optuna proposes parameters, every proposal is run on the same few instances, the default first of all.

Rules: what counts is the speed-up against the default on the same instances, which is run again every few trials,
because machines drift. Equal policies are measured once; one
that fails is told as failed, one that is clearly slower is given up early. What the simulator and other tunings
suggest is tried before what Optuna proposes. Every trial is in Optuna's database as soon as it ended, so a search that
was killed goes on where it was, and `optuna-dashboard` can look at it.
"""

from __future__ import annotations

import contextlib
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from autotune import policy
from autotune.errors import AutotuneError, InputError
from autotune.hookspecs import Strategy
from autotune.instances import Instance
from autotune.records import Trial
from autotune.timing import Timed, TooSlowError
from autotune.types import Context, Parameters, Policy

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

LEAST_TRIALS = 8  # before the expected gain is believed
REPEATS_OF_DUPLICATES = 20  # proposals in a row that were measured before
CLEARLY_SLOWER = 0.1  # of the logarithm of the time, besides the noise
REFERENCE_EVERY = 5  # trials between two runs of the default
LAST_REFERENCES = 3  # runs of the default whose median a trial is held against
PATIENCE = 2.0  # times the default's wall time after which a run is stopped
_STATES = {"done": "COMPLETE", "pruned": "PRUNED", "failed": "FAIL"}


class Proposal(NamedTuple):
    """Parameters to try, and where they come from: `default`, `transferred` or `simulated`."""

    parameters: Parameters
    source: str


class Search:
    """One search.

    Args:
        study: Optuna's, made by `opened`; trials in it count.
        strategies: All that are applied.
        searched: Those whose parameters are searched.
        context: For them.
        instances: What every trial runs, cheapest first.
        default_s: Wall times of the default so far, for each instance, oldest first.
        noise: Run-to-run coefficient of variation.
        run: Runs an instance under a policy, at most so many seconds.
        say: Called with one line for each trial.

    Attributes:
        instances: As given.
        noise: As given.
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
        instances: Sequence[Instance],
        default_s: Sequence[Sequence[float]],
        noise: float,
        run: Callable[[Instance, Policy, float], Timed],
        say: Callable[[str], None],
    ) -> None:
        self._study, self._strategies, self._context = study, strategies, context
        self.instances, self.noise = instances, noise
        self._references = [list(times) for times in default_s]
        self._since_reference = 0
        self._run, self._say = run, say
        self._space = space(searched, context)
        self._defaults = policy.default_parameters(searched, context)
        self._measured: dict[Policy, Trial] = {}
        self.trials: list[Trial] = []
        self.stopped = ""
        self._recall()

    def run(self, proposals: Sequence[Proposal], *, most: int, enough: Callable[[float], bool]) -> None:
        """Try the proposals, then what Optuna proposes, until nothing more is to be expected.

        Args:
            proposals: What to try first.
            most: Most trials.
            enough: Whether a trial that takes so many seconds would exceed the time allowed.
        """
        waiting = [p for p in proposals if self._policy(p.parameters) not in self._measured]
        for parameters, source in waiting:
            self._study.enqueue_trial(parameters, user_attrs={"source": source}, skip_if_exists=True)
        repeats = 0
        while not self.stopped:
            queued = any(trial.state.name == "WAITING" for trial in self._study.get_trials(deepcopy=False))
            expected_s = 1.3 * sum(self.default_s)
            if len(self.trials) >= most:
                self.stopped = f"{most} configurations were tried"
            elif self.trials and enough(expected_s):
                self.stopped = "its share of the budget was used"
            elif repeats >= REPEATS_OF_DUPLICATES:
                self.stopped = "only configurations that were measured before came up"
            elif not queued and len(self.trials) >= LEAST_TRIALS and self.expected_gain() < self.noise / 2:
                self.stopped = "trying as many again would gain less than the noise"
            else:
                if self._since_reference >= REFERENCE_EVERY:
                    self._refer()
                repeats = 0 if self._next() else repeats + 1

    @property
    def default_s(self) -> list[float]:
        """Wall time of the default on each instance, as measured lately."""
        return [statistics.median(times[-LAST_REFERENCES:]) for times in self._references]

    def expected_gain(self) -> float:
        """Return what the second half of the trials gained over the first, on average over all their orders.

        As a logarithm of time. It is also what to expect of as many more, if they are no worse than those before.
        """
        logs = sorted(-math.log(trial.speed_up) for trial in self.trials if trial.speed_up > 0)
        n, half = len(logs), len(logs) // 2
        if half < 1:
            return math.inf
        # The best of a random half is the k-th of all when k - 1 better ones are in the other half.
        ways = math.comb(n, half)
        return sum((logs[k] - logs[0]) * (math.comb(n - k - 1, half - 1) / ways) for k in range(n - half + 1))

    def best(self, count: int) -> list[Trial]:
        """Return the fastest trials that ran to their end, fastest first; equal policies once."""
        done = [trial for trial in self._measured.values() if trial.state == "done"]
        return sorted(done, key=lambda trial: -trial.speed_up)[:count]

    def parsimonious(self, parameters: Mapping[str, Any]) -> Parameters:
        """Return the parameters with those set back to the default that the trials give no reason to change.

        The reason is the parameter's own effect on the logarithm of the time, in a sum of effects fitted to all
        trials (ridge regression), being a gain above half the noise.
        """
        import numpy as np

        used = [trial for trial in self.trials if trial.speed_up > 0]
        columns = sorted(
            {(n, v) for t in used for n, v in t.parameters.items() if v != self._defaults.get(n)}, key=repr
        )
        effects = {}
        if columns:
            rows = np.array([[float(t.parameters.get(n) == v) for n, v in columns] for t in used])
            logs = np.array([-math.log(t.speed_up) for t in used])
            ridge = 0.1 * np.eye(len(columns))
            effects = dict(zip(columns, np.linalg.solve(rows.T @ rows + ridge, rows.T @ logs), strict=True))
        kept = dict(parameters)
        for name, value in parameters.items():
            if value != self._defaults.get(name) and effects.get((name, value), 0.0) > -self.noise / 2:
                kept[name] = self._defaults[name]
        return kept

    def importances(self) -> dict[str, float]:
        """Return the share of the differences between trials that each parameter explains; empty if too few trials.

        By PED-ANOVA (Watanabe, Bansal, Hutter 2023), as Optuna has it.
        """
        from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

        done = [trial for trial in self.trials if trial.state == "done"]
        if len(done) < LEAST_TRIALS:
            return {}
        with contextlib.suppress(ValueError, RuntimeError):  # all equal, or one value each
            found = get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())
            return {name: round(float(share), 4) for name, share in found.items() if math.isfinite(share)}
        return {}

    def _refer(self) -> None:
        """Run the default once more."""
        self._since_reference = 0
        default = self._policy(self._defaults)
        for instance, times in zip(self.instances, self._references, strict=True):
            times.append(self._run(instance, default, math.inf).wall_s)

    # --- one trial ---------------------------------------------------------------------------------------------------

    def _next(self) -> bool:
        """Take one proposal; return whether its policy was new."""
        import optuna

        asked = self._study.ask(self._space)
        source = asked.user_attrs.get("source", "search")
        parameters: Parameters = dict(asked.params)
        plan = self._policy(parameters)
        known = self._measured.get(plan)
        trial = known or self._tried(asked, parameters, plan, source)
        for name, value in (("wall_s", list(trial.wall_s)), ("speed_up", trial.speed_up), ("state", trial.state)):
            asked.set_user_attr(name, value)
        if known is not None:
            asked.set_user_attr("repeated", value=True)
        state = optuna.trial.TrialState[_STATES[trial.state]]
        self._study.tell(asked, -math.log(trial.speed_up) if trial.state == "done" else None, state=state)
        if known is None:
            self._since_reference += 1
            self._keep(trial, plan)
            self._say(f"  trial {len(self.trials):2d}: {self.line(trial)}")
        return known is None

    def _tried(self, asked: optuna.Trial, parameters: Parameters, plan: Policy, source: str) -> Trial:
        walls: list[float] = []
        state = "done"
        best = max((trial.speed_up for trial in self.best(1)), default=1.0)
        for step, instance in enumerate(self.instances):
            default_s = self.default_s[step]
            try:
                timed = self._run(instance, plan, PATIENCE * default_s / best)
            except InputError:
                raise
            except TooSlowError:
                walls.append(PATIENCE * default_s / best)
                state = "pruned"
            except AutotuneError as error:
                self._say(f"  failed: {error}")
                state, walls = "failed", []
            else:
                walls.append(timed.wall_s)
                if source == "default":
                    self._references[step].append(timed.wall_s)
                asked.set_constraint(f"memory of workload {step + 1}", timed.peak_gib / timed.budget_gib - 1.0)
            if state != "done":
                break
            slower = math.log(best) - math.log(self._speed_up(walls))
            asked.report(-math.log(self._speed_up(walls)), step)
            if slower > CLEARLY_SLOWER + 3 * self.noise and step + 1 < len(self.instances):
                state = "pruned"
                break
        return Trial(
            parameters=parameters,
            source=source,
            state=state,
            workers=plan.workers,
            width=plan.width,
            wall_s=tuple(walls),
            speed_up=self._speed_up(walls) if walls else 0.0,
        )

    def _speed_up(self, walls: Sequence[float]) -> float:
        ratios = [math.log(default / wall) for default, wall in zip(self.default_s, walls, strict=False)]
        return math.exp(sum(ratios) / len(ratios))

    def _policy(self, parameters: Mapping[str, Any]) -> Policy:
        return policy.compose(self._strategies, parameters, self._context)

    def _keep(self, trial: Trial, plan: Policy) -> None:
        self._measured[plan] = trial
        self.trials.append(trial)

    def _recall(self) -> None:
        """Take up what an interrupted search had measured."""
        import optuna

        for found in self._study.get_trials(deepcopy=False):
            if found.state == optuna.trial.TrialState.RUNNING:
                self._study.tell(found.number, state=optuna.trial.TrialState.FAIL)
                if found.params:
                    # Else `run` would take a proposal that was interrupted for one that was tried.
                    source = found.user_attrs.get("source", "search")
                    self._study.enqueue_trial(found.params, user_attrs={"source": source})
            elif "state" in found.user_attrs and not found.user_attrs.get("repeated"):
                plan = self._policy(found.params)
                trial = Trial(
                    parameters=dict(found.params),
                    source=found.user_attrs.get("source", "search"),
                    state=found.user_attrs["state"],
                    workers=plan.workers,
                    width=plan.width,
                    wall_s=tuple(found.user_attrs["wall_s"]),
                    speed_up=found.user_attrs["speed_up"],
                )
                self._keep(trial, plan)

    def line(self, trial: Trial) -> str:
        """Return a trial in a few words."""
        changed = [f"{k.partition('.')[2]}={v}" for k, v in trial.parameters.items() if v != self._defaults.get(k)]
        took = {"failed": "failed      ", "pruned": "given up    "}.get(trial.state, f"{trial.speed_up:5.2f}× speed")
        return f"{took}  {' '.join(changed) or 'the default'}"


def space(searched: Sequence[Strategy], context: Context) -> dict[str, BaseDistribution]:
    """Return the joint search space of some strategies, as `strategy.parameter`."""
    return {f"{s.name}.{name}": distribution for s in searched for name, distribution in s.space(context).items()}
