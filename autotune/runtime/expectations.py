"""What each task of a run is expected to cost and what its program is granted; learns while tasks finish.

Rules: the meeting place of the cost model, plugins' estimates, the policy's rule for grants and what failed attempts
have shown; the executor asks, nothing is started here.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace

from autotune.base.types import Estimate, Machine, Policy, Task
from autotune.costs.cost_law import law_s
from autotune.plugin.manager import Manager
from autotune.runtime.planning import Plan, estimate

LEAST_GRANT_GIB = 0.5
FIRST_RANK = 1e-3  # of all tasks: ranking a hundred thousand again takes seconds, and cannot wait for single ones
MORE = 2.0  # memory of a next attempt over that of the one that ran out of it
_OVER_PEAK = 1.25  # and over what that one was seen to hold


class Expectations:
    """Estimates and grants of one run.

    Args:
        tasks: Of the run.
        plan: Its costs learn.
        manager: Plugins may know better.
        machine: For them.

    Attributes:
        of: Estimate of each task, by number, as it was last ranked.
        total_s: Predicted core-seconds of all tasks.
        done_s: Of the finished ones.
    """

    def __init__(self, tasks: Sequence[Task], *, plan: Plan, manager: Manager, machine: Machine) -> None:
        self._tasks = {task.number: task for task in tasks}
        self._plan, self._manager, self._machine = plan, manager, machine
        self._policy, self._budget_gib = plan.policy, plan.budget_gib
        self._least_grant_gib: dict[int, float] = {}
        self._least_gib: dict[int, float] = {}
        self._unfinished = dict.fromkeys(self._tasks)
        self._told: dict[int, Estimate] = {}
        self._next_rank = max(1, round(FIRST_RANK * len(tasks)))
        self._kinds = self._kinds_of(tasks)
        self.of = {task.number: self._estimate(task) for task in tasks}
        self.total_s = sum(each.alone_s for each in self.of.values())
        self.done_s = 0.0

    @property
    def total(self) -> int:
        """Tasks of the run."""
        return len(self._tasks)

    @property
    def done(self) -> int:
        """Tasks that have finished, well or not."""
        return len(self._tasks) - len(self._unfinished)

    def comparable(self, number: int) -> tuple[Hashable, float]:
        """Return what is equal for tasks of one size, and what to divide their times by to compare them.

        That is the bare prior, which knows their geometries and is the same for the whole run.
        """
        task = self._tasks[number]
        usual_s = law_s(None, task.method, task.size) if task.size.pairs else 1.0
        return (task.method, task.size), usual_s

    def adapt(self, policy: Policy, budget_gib: float) -> None:
        """Follow a policy or a budget that changed."""
        self._policy, self._budget_gib = policy, budget_gib
        self._told.clear()

    def grant_gib(self, number: int, width: int, *, alone: bool) -> float:
        """Return the memory to tell the program of a task that starts now."""
        if alone:
            return round(self._budget_gib, 3)
        wanted = self.of[number].grant_gib
        if self._policy.grant == "estimate" and wanted:
            granted = max(LEAST_GRANT_GIB, wanted)
        else:
            granted = self._share_gib(width)
        return round(min(max(granted, self._least_grant_gib.get(number, 0.0)), self._budget_gib), 3)

    def more_memory(self, number: int, peak_gib: float) -> Estimate:
        """Return the estimate of a task's next attempt, after one that ran out of memory and held `peak_gib`."""
        before = self.of[number]
        grant_gib = min(MORE * self.grant_gib(number, 1, alone=False), self._budget_gib)
        self._least_grant_gib[number] = grant_gib
        # It may need all that it will be told it can have.
        self._least_gib[number] = max(_OVER_PEAK * peak_gib, MORE * before.memory_gib, grant_gib)
        self.of[number] = self._estimate(self._tasks[number])
        self.total_s += self.of[number].alone_s - before.alone_s
        return self.of[number]

    def finish(self, number: int) -> None:
        """Count a task as finished, well or not."""
        self.done_s += self.of[number].alone_s
        del self._unfinished[number]

    def learn(self, number: int, *, wall_s: float, width: int, peak_gib: float) -> Mapping[int, Estimate]:
        """Take in a finished task; return fresh estimates of those that are left, where it is time to rank them again.

        That is after a thousandth of them, and whenever the number of finished ones has doubled since.
        """
        self._plan.costs.observe(self._tasks[number], wall_s=wall_s, width=width, peak_gib=peak_gib)
        if self.done < self._next_rank:
            return {}
        self._next_rank *= 2
        self._told.clear()  # what is learned makes other estimates
        fresh = self._fresh()
        self.of.update(fresh)
        self.total_s = self.done_s + sum([each.alone_s for each in fresh.values()])
        return fresh

    def _kinds_of(self, tasks: Sequence[Task]) -> dict[int, int]:
        """Return a number for each task that is equal for those that will always share an estimate."""
        if self._manager.answers_estimates:
            return {task.number: task.number for task in tasks}  # plugins may tell tasks of one size apart
        costs = self._plan.costs
        found = {task.number: costs.estimate(task) for task in tasks}  # tasks of one size share the record itself
        return {number: id(each) for number, each in found.items()}

    def _fresh(self) -> dict[int, Estimate]:
        """Return what is expected now of each task that is left; there may be a hundred thousand, of a few kinds."""
        kinds, told = self._kinds, self._told
        for kind, number in {kinds[number]: number for number in self._unfinished}.items():
            told[kind] = self._granted(self._found(self._tasks[number]), 0.0)
        fresh = {number: told[kinds[number]] for number in self._unfinished}
        for number in self._least_gib.keys() & fresh.keys():
            fresh[number] = self._estimate(self._tasks[number])
        return fresh

    def _estimate(self, task: Task) -> Estimate:
        if least_gib := self._least_gib.get(task.number, 0.0):
            return self._granted(self._found(task), least_gib)
        kind = self._kinds[task.number]
        known = self._told.get(kind)
        if known is None:
            known = self._told[kind] = self._granted(self._found(task), 0.0)
        return known

    def _found(self, task: Task) -> Estimate:
        return estimate(task, costs=self._plan.costs, manager=self._manager, machine=self._machine)

    def _granted(self, found: Estimate, least_gib: float) -> Estimate:
        """Return an estimate with the memory that its program will be told, and at least so much."""
        memory_gib = max(found.memory_gib, least_gib)
        if self._policy.grant == "estimate" and found.grant_gib and memory_gib <= self._budget_gib:
            return replace(found, memory_gib=memory_gib)
        # Its fastest algorithm does not fit or is not known; programs that manage memory keep to what they are told.
        share_gib = max(self._share_gib(1), LEAST_GRANT_GIB, least_gib)
        return replace(found, grant_gib=0.0, memory_gib=min(memory_gib, share_gib))

    def _share_gib(self, width: int) -> float:
        policy = self._policy
        slots = max(min(policy.core_slots, policy.workers * policy.width), width)
        return self._budget_gib * max(width, policy.width) / slots
