"""The search: Optuna proposes parameters, every proposal is run on the same few instances, the default first of all.

Rules: what counts is the speed-up against the default on the same instances, which is run again every few trials,
because machines drift. Equal policies are measured once; one
that fails is told as failed, one that is clearly slower is given up early. What the simulator and other tunings
suggest is tried before what Optuna proposes. Every trial is in Optuna's database as soon as it ended, so a search that
was killed goes on where it was, and `optuna-dashboard` can look at it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from autotune import gains, policy
from autotune.errors import AutotuneError, InputError
from autotune.hookspecs import Strategy
from autotune.instances import Instance
from autotune.records import Trial
from autotune.timing import Timed, TooSlowError
from autotune.types import Context, Parameter, Parameters, Policy

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

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
        defaults: Parameters of the default.
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
        self.defaults = policy.default_parameters(searched, context)
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
            elif (
                not queued
                and len(self.trials) >= gains.LEAST_TRIALS
                and gains.expected_gain(self.trials) < self.noise / 2
            ):
                self.stopped = "trying as many again would gain less than the noise"
            else:
                if self._since_reference >= REFERENCE_EVERY:
                    self._refer()
                repeats = 0 if self._next() else repeats + 1

    @property
    def default_s(self) -> list[float]:
        """Wall time of the default on each instance, as measured lately."""
        return [statistics.median(times[-LAST_REFERENCES:]) for times in self._references]

    def best(self, count: int) -> list[Trial]:
        """Return the fastest trials that ran to their end, fastest first; equal policies once."""
        done = [trial for trial in self._measured.values() if trial.state == "done"]
        return sorted(done, key=lambda trial: -trial.speed_up)[:count]

    def add(self, parameters: Parameters, plan: Policy, *, speed_up: float) -> None:
        """Add a configuration that was measured in the final only; one that is known stays as it is."""
        if plan not in self._measured:
            self._keep(
                Trial(
                    parameters=parameters,
                    source="final",
                    state="done",
                    workers=plan.workers,
                    width=plan.width,
                    wall_s=(),
                    speed_up=speed_up,
                ),
                plan,
            )

    def sparing(self, parameters: Mapping[str, Parameter]) -> Parameters:
        """Return the parameters with only those changes that the trials give a reason for; see `gains.sparing`."""
        return gains.sparing(parameters, self.trials, self.defaults, self.noise)

    def _refer(self) -> None:
        """Run the default once more."""
        self._since_reference = 0
        default = self._policy(self.defaults)
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
        # One attribute: each is a write to the disk.
        kept = {"wall_s": list(trial.wall_s), "speed_up": trial.speed_up, "state": trial.state}
        asked.set_user_attr("measured", {**kept, "repeated": known is not None})
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
            elif not found.user_attrs.get("measured", {"repeated": True})["repeated"]:
                measured = found.user_attrs["measured"]
                plan = self._policy(found.params)
                trial = Trial(
                    parameters=dict(found.params),
                    source=found.user_attrs.get("source", "search"),
                    state=measured["state"],
                    workers=plan.workers,
                    width=plan.width,
                    wall_s=tuple(measured["wall_s"]),
                    speed_up=measured["speed_up"],
                )
                self._keep(trial, plan)

    def line(self, trial: Trial) -> str:
        """Return a trial in a few words."""
        changed = [f"{k.partition('.')[2]}={v}" for k, v in trial.parameters.items() if v != self.defaults.get(k)]
        took = {"failed": "failed      ", "pruned": "given up    "}.get(trial.state, f"{trial.speed_up:5.2f}× speed")
        return f"{took}  {' '.join(changed) or 'the default'}"


def space(searched: Sequence[Strategy], context: Context) -> dict[str, BaseDistribution]:
    """Return the joint search space of some strategies, as `strategy.parameter`."""
    return {f"{s.name}.{name}": distribution for s in searched for name, distribution in s.space(context).items()}
