"""Several machines as the place of a run: bundles of tasks through somebody else's executor.

Rules: what `local.py` is for this machine. The engine (Parsl, Dask, ...) starts nodes, moves bundles and says what was
lost; cores, memory, widths and tunings are each node's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, wait
from dataclasses import replace
from pathlib import Path

from autotune.base.errors import InputError, ResourceError
from autotune.base.options import Options
from autotune.base.text import one_line
from autotune.base.types import Method, Task
from autotune.base.versions import own_version
from autotune.machine import detection
from autotune.plugin.hookspecs import Backend
from autotune.plugin.manager import Manager
from autotune.programs import abilities
from autotune.runtime import node, planning
from autotune.runtime.dispatch import TICK_S, Dispatch
from autotune.runtime.execution import Care, Execution
from autotune.runtime.monitor import Snapshot
from autotune.runtime.planning import Plan, Work
from autotune.workers.messages import Checked
from autotune.workers.preflight import representatives

LOOKS = 3  # at nodes, before the first is believed to be out of reach


class Fleet:
    """Runs tasks on the nodes behind an executor.

    Args:
        options: What the user decided; names the executor or the backend.
        manager: The plugins; one of them may offer the backend.
        say: Called with a line for the user.

    Attributes:
        machine: All nodes together; this machine until the first of them was seen.
        nodes: How many nodes work together.

    Raises:
        InputError: There is no such backend, or nothing says how many nodes there are.
    """

    def __init__(self, options: Options, *, manager: Manager, say: Callable[[str], None]) -> None:
        self._options, self._manager, self._say = options, manager, say
        self._node_options = replace(
            options, executor=None, nodes=None, backend="local", backend_config="", journal="none", resume=False
        )
        if options.executor is None and options.backend not in manager.backends:
            known = ", ".join(["local", *sorted(manager.backends)])
            raise InputError(f"there is no backend {options.backend!r}; there are {known}")
        self._backend = _backend_of(options.executor, options.nodes) if options.executor is not None else None
        self._node = self.machine = detection.detect()
        self._checked: Checked | None = None

    @property
    def nodes(self) -> int:
        """How many nodes work together."""
        return self._open().nodes

    def load(self, programs: Sequence[str], methods: tuple[Method, ...]) -> None:
        """Start the nodes, and do not wait for them."""
        del programs, methods  # they load on the nodes
        self._open()

    def plan(self, work: Work) -> Plan:
        """Return the plan for a workload by what the first node says of itself; waits for it.

        Raises:
            InputError: The tasks cannot run on the node, or as `planning.make`.
            ResourceError: No node answers.
        """
        seen = self._look(work)
        backend = self._open()
        self._node, self._checked = seen.machine, seen.checked
        self.machine = replace(
            seen.machine,
            cores=backend.nodes * seen.machine.cores,
            memory_gib=backend.nodes * seen.machine.memory_gib,
            gpus=backend.nodes * seen.machine.gpus,
        )
        plan = planning.make(work, machine=self._node, manager=self._manager, options=self._node_options, here=False)
        plan.costs.one_core = abilities.on_one_core(seen.checked.widths)
        return plan

    def check(self, work: Work, plan: Plan) -> Checked:
        """Return what the first node said of its programs."""
        del work, plan
        assert self._checked is not None
        return self._checked

    def execute(
        self,
        tasks: Sequence[Task],
        *,
        work: Work,
        plan: Plan,
        care: Care,
        execution: Execution,
        started: float,
        on_progress: Callable[[Snapshot], None] | None = None,
    ) -> None:
        """Run tasks of a workload; see `Local.execute` and `Dispatch.run`."""
        Dispatch(
            tasks,
            self._open(),
            empty=self._bundle(work, ()),
            plan=plan,
            machine=self._node,
            manager=self._manager,
            care=care,
            execution=execution,
            started=started,
            on_progress=on_progress,
            say=self._say,
        ).run()

    def close(self) -> None:
        """End the nodes that were started for this run; safe to call twice. An executor that was given goes on."""
        if self._backend is not None and self._options.executor is None:
            self._backend.close()
            self._backend = None

    def _open(self) -> Backend:
        if self._backend is None:
            config = Path(self._options.backend_config) if self._options.backend_config else None
            self._backend = self._manager.backends[self._options.backend](config)
            if self._options.nodes:
                self._backend = self._backend._replace(nodes=self._options.nodes)
        return self._backend

    def _look(self, work: Work) -> node.Seen:
        """Return what a node says of itself and of the programs."""
        backend = self._open()
        asked = representatives(work.tasks, work.recipe)
        bundle = self._bundle(work, asked or tuple(work.tasks[:1]))
        reason = ""
        for _ in range(LOOKS):
            try:
                future = backend.executor.submit(node.look, bundle)
                while not wait([future], TICK_S).done:  # Ctrl-C gets through between two glances
                    pass
                return future.result()
            except InputError:
                raise
            except Exception as error:  # noqa: BLE001 - each engine has its own words for a node that is gone
                reason = f"{type(error).__name__}: {one_line(error)}"
        raise ResourceError(f"no node answers ({reason}); is autotune installed on them, and can they reach this one?")

    def _bundle(self, work: Work, tasks: tuple[Task, ...]) -> node.Bundle:
        recipe = replace(work.recipe, rescue=self._options.rescue).to_json()
        most_nbody = max((task.nbody for task in work.tasks), default=0)
        return node.Bundle(recipe, tasks, self._node_options, own_version(), most_nbody)


def _backend_of(executor: Executor, nodes: int | None) -> Backend:
    """Return the backend of an executor that the user made; it is not ours to close."""
    found = nodes or getattr(executor, "_max_workers", None)  # the standard library's say it so, and others after them
    if not isinstance(found, int):
        raise InputError("the executor does not say how many nodes it has; give nodes=, the bundles that run at once")
    return Backend(executor, found, lambda: None)
