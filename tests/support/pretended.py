"""Runs on a machine that is not there, for tests of what is decided from run times: tasks, instances, a clock."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

from typical import MACHINE, METHOD, record, task

from autotune.base.types import Context
from autotune.calibration import timing
from autotune.calibration.instances import Instance
from autotune.calibration.timing import LEAST_RUN_S, OutOfTimeError, Timed, Timing, TooSlowError
from autotune.plugin.hookspecs import Strategy
from autotune.plugin.manager import Manager

CONTEXT = Context(machine=MACHINE, methods=(METHOD,), tasks=100)


def instance(name="even", *, kind="even", functions=(50, 50, 50, 50)):
    """Return an instance without a recipe: it can be reasoned about, not run."""
    tasks = tuple(task(number, functions=count) for number, count in enumerate(functions))
    return Instance(name=name, kind=kind, recipe=None, tasks=tasks)


class Crew(Strategy):
    """Two parameters that matter, and one that does not."""

    name = "crew"

    def defaults(self, context):
        del context
        return {"workers": 4, "order": "input", "colour": "red"}

    def space(self, context):
        from optuna.distributions import CategoricalDistribution

        del context
        return {
            "workers": CategoricalDistribution((1, 2, 4, 8)),
            "order": CategoricalDistribution(("input", "longest", "shortest")),
            "colour": CategoricalDistribution(("red", "green")),
        }

    def apply(self, policy, params, context):
        del context
        return replace(policy, workers=params["workers"], core_slots=params["workers"], order=params["order"])


DEFAULT = {"crew.workers": 4, "crew.order": "input", "crew.colour": "red"}


class Clock:
    """The clock of `autotune.calibration.timing`, which stands still until somebody works."""

    def __init__(self, monkeypatch):
        self.now_s = 0.0
        self.wait = lambda seconds: setattr(self, "now_s", self.now_s + seconds)
        monkeypatch.setattr(timing, "time", SimpleNamespace(monotonic=lambda: self.now_s))


class Pretended(Timing):
    """Says what runs take instead of running them, and remembers what it was asked.

    Args:
        wall_s: From an instance, a policy and the number of runs before to seconds; or raises.
        clock: Goes on by these.
    """

    def __init__(self, wall_s, *, clock, budget, strategies=(), machine=MACHINE, laws=None):
        super().__init__(
            machine=machine,
            manager=Manager(plugins=[]),
            strategies=strategies or [Crew()],
            budget=budget,
            laws=laws,
        )
        self._wall_s, self._clock = wall_s, clock
        self.asked = []

    def run(self, instance, plan, *, learn, limit_s=None):
        self.asked.append((instance, plan, learn))
        wall_s = self._wall_s(instance, plan, len(self.asked) - 1)
        left_s = max(LEAST_RUN_S, self._budget.left_s)
        self._clock.wait(min(wall_s, left_s, limit_s or wall_s))
        self.on_run()
        if wall_s > min(left_s, limit_s or wall_s):
            raise OutOfTimeError("the budget is used up") if left_s < (limit_s or wall_s) else TooSlowError("too long")
        each_s = wall_s * min(plan.workers, len(instance.tasks)) / len(instance.tasks)
        records = [record(t.number, wall_s=each_s, width=plan.width) for t in instance.tasks]
        if learn:
            self.learn(instance, records)
        return Timed(wall_s, 0.1, 10.0, records)
