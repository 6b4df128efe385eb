"""What a run, an estimate and a simulation have in common: an input is read, reduced and planned for a machine.

Rules: nothing is started here. A run hands out the same record of what it has planned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.base.errors import InputError
from autotune.base.options import Options
from autotune.base.types import Estimate, Machine
from autotune.expansion import workload
from autotune.expansion.workload import Workload
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.runtime.local import Local
from autotune.session import reductions

if TYPE_CHECKING:
    from qcmanybody.models.v1 import ManyBodyInput as ManyBodyInputV1
    from qcmanybody.models.v2 import ManyBodyInput

    from autotune.expansion.expansion import Expansion
    from autotune.expansion.joint import Joint
    from autotune.schedule.simulator import Simulation


class NothingToComputeError(InputError):
    """An expansion has no component, so there is nothing to plan; a run of it gives zero."""


@dataclass(frozen=True, kw_only=True)  # without slots: estimates are made when they are first asked for
class Preparation:
    """A workload that is planned for a machine.

    Attributes:
        work: What is to be computed, without the tasks that the options leave out.
        machine: Where it is to be computed.
        plan: How it is to be computed.
        manager: The plugins, which may estimate tasks.
    """

    work: Workload | Joint
    machine: Machine
    plan: planning.Plan
    manager: Manager

    @cached_property
    def estimates(self) -> dict[int, Estimate]:
        """What each task is expected to cost, by its number."""
        return {
            task.number: planning.estimate(task, costs=self.plan.costs, manager=self.manager, machine=self.machine)
            for task in self.work.tasks
        }

    def simulate(
        self,
        *,
        durations_s: Mapping[int, float] | None = None,
        contention: Callable[[float], float] = lambda _: 1.0,
        speeds: Sequence[float] = (),
    ) -> Simulation:
        """Return the schedule of the plan on a virtual clock; the arguments are those of `simulator.simulate`."""
        from autotune.schedule import simulator

        return simulator.simulate(
            self.work.tasks,
            self.estimates,
            policy=self.plan.policy,
            machine=self.machine,
            memory_budget_gib=self.plan.budget_gib,
            durations_s=durations_s,
            contention=contention,
            speeds=speeds,
        )


def prepare(work: Workload, options: Options) -> Preparation:
    """Return a workload as a run on this machine would plan it.

    Raises:
        NothingToComputeError: The workload has no tasks.
        InputError: An option cannot be used for this workload, or its tuning, or a strategy.
        ResourceError: An option asks for more than there is.
    """
    if options.screen_energy is not None:
        raise InputError(
            "--screen-energy: what it leaves out is known when the cheap method has computed; leave it out for the most"
            " that can be computed"
        )
    reduced = reductions.plan(work, options).work
    if not reduced.tasks:
        raise NothingToComputeError("this expansion has no component to compute; raise max_nbody, or take bsse nocp")
    manager = Manager()
    here = Local(options, manager=manager)
    return Preparation(work=reduced, machine=here.machine, plan=here.plan(reduced), manager=manager)


def read(source: object, *, expansion: Expansion | None = None) -> ManyBodyInput | ManyBodyInputV1:
    """Return the many-body input that a file means, validated, for a look at it before it is run.

    Args:
        source: As for `run`.
        expansion: What to compute for a geometry.

    Raises:
        InputError: As for `run`.
    """
    return workload.many_body_input(input_of(source, expansion))


def input_of(source: object, expansion: Expansion | None = None) -> object:
    """Return the many-body input that a user means: a model, or fields that are not validated yet.

    Args:
        source: A QCManyBody `ManyBodyInput` (v1 or v2) or its fields as a mapping; a path of a file with one, or with
            a geometry (XYZ, PDB, a block of Psi4, a QCSchema Molecule); or the text of such a file, which is told from
            a path by having several lines.
        expansion: Says what to compute for a geometry; None where the input says it itself.

    Raises:
        InputError: The source cannot be read, or it and the expansion do not go together.
    """
    if isinstance(source, str | Path):
        from autotune.expansion import readers

        is_text = isinstance(source, str) and "\n" in source
        text, name = (str(source), "the text") if is_text else readers.read_text(str(source))
        return readers.many_body_fields(text, name=name, expansion=expansion)
    if expansion is not None:
        raise InputError("a ManyBodyInput says itself what to compute; leave out the expansion, or give a geometry")
    return source


def options_of(function: str, given: Mapping[str, Any]) -> Options:
    """Return the options that a function was given by name.

    Raises:
        InputError: There is no such option, or its value cannot be meant.
    """
    known = Options.__dataclass_fields__
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise InputError(f"{function}() has no option {', '.join(unknown)}; it has {', '.join(known)}")
    return Options(**given)
