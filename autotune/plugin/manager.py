"""The plugin facade: finds plugins, calls hooks, hands out strategies by name.

Rules: nobody else touches pluggy. Built-in plugins enter by the same door as others: entry points in the group
`autotune`. A plugin that does not load fails loudly with its name and the way to block it; `AUTOTUNE_DISABLED_PLUGINS`
takes the names of entry points to leave out.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pluggy

from autotune.base.errors import InputError
from autotune.base.text import one_line, quote
from autotune.plugin import hookspecs
from autotune.plugin.facts import ProgramFacts
from autotune.plugin.hookspecs import Backend, Strategy
from autotune.plugin.program_tuning import ProgramTuning

if TYPE_CHECKING:
    from autotune.base.records import RunRecord, TaskRecord
    from autotune.base.types import Estimate, Machine, Policy, Task

GROUP = "autotune"
DISABLED_VARIABLE = "AUTOTUNE_DISABLED_PLUGINS"
_Item = TypeVar("_Item")


class Manager:
    """Loaded plugins. Make one per process; tests make their own.

    Args:
        plugins: Plugin modules or objects to register instead of those found by entry points.

    Raises:
        InputError: A plugin cannot be loaded, implements an unknown hook, or two strategies share a name.
    """

    def __init__(self, plugins: Sequence[object] | None = None) -> None:
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._pluggy.add_hookspecs(hookspecs)
        if plugins is None:
            for name, plugin in _installed_plugins(os.environ.get(DISABLED_VARIABLE, ""), tuple(sys.path)):
                self._pluggy.register(plugin, name=name)
        else:
            for plugin in plugins:
                self._pluggy.register(plugin)
        self._pluggy.check_pending()
        self._strategies: dict[str, Strategy] | None = None
        self._backends: dict[str, Callable[[Path | None], Backend]] | None = None

    @property
    def strategies(self) -> dict[str, Strategy]:
        """Strategies by name, in registration order; then one for each program with tunables, under its name."""
        if self._strategies is None:
            self._strategies = {}
            # pluggy calls the last registered plugin first; users expect the order of registration.
            offered = _flatten(reversed(self._pluggy.hook.autotune_strategies()))
            programs = (ProgramTuning(facts) for facts in self.program_facts.values() if facts.tunables)
            for strategy in itertools.chain(offered, programs):
                if strategy.name in self._strategies:
                    raise InputError(f"two plugins define a strategy named {strategy.name!r}; uninstall one of them")
                self._strategies[strategy.name] = strategy
        return self._strategies

    @property
    def backends(self) -> dict[str, Callable[[Path | None], Backend]]:
        """What starts each backend, by name."""
        if self._backends is None:
            self._backends = {}
            for offered in reversed(self._pluggy.hook.autotune_backends()):
                for name, start in offered.items():
                    if name in self._backends or name == "local":
                        raise InputError(f"two plugins define a backend named {name!r}; uninstall one of them")
                    self._backends[name] = start
        return self._backends

    @property
    def program_facts(self) -> dict[str, ProgramFacts]:
        """What plugins state about programs, by name of the program.

        Raises:
            InputError: Two plugins state facts about one program.
        """
        stated: dict[str, ProgramFacts] = {}
        for facts in _flatten(reversed(self._pluggy.hook.autotune_program_facts())):
            if facts.name in stated:
                raise InputError(
                    f"two plugins state facts about the program {facts.name!r}; uninstall one of them or name it in"
                    f" {DISABLED_VARIABLE}"
                )
            stated[facts.name] = facts
        return stated

    def register_programs(self) -> None:
        """Let plugins register their QCEngine harnesses in this process."""
        self._pluggy.hook.autotune_register_programs()

    @property
    def answers_estimates(self) -> bool:
        """Whether there is a plugin that may estimate tasks."""
        return bool(self._pluggy.hook.autotune_estimate.get_hookimpls())

    def estimate(self, task: Task, machine: Machine) -> Estimate | None:
        """Return a plugin's estimate of a task, or None where no plugin has one."""
        if not self.answers_estimates:
            return None  # asked for every task again and again, mostly without anybody to answer
        found: Estimate | None = self._pluggy.hook.autotune_estimate(task=task, machine=machine)
        return found

    def run_started(self, workload: Sequence[Task], policy: Policy, machine: Machine) -> None:
        """Tell plugins that a run starts."""
        self._pluggy.hook.autotune_run_started(workload=workload, policy=policy, machine=machine)

    def task_done(self, task: Task, record: TaskRecord) -> None:
        """Tell plugins that a task ended."""
        if self._pluggy.hook.autotune_task_done.get_hookimpls():  # asking nobody costs as much as the rest of a task
            self._pluggy.hook.autotune_task_done(task=task, record=record)

    def report_sections(self, runs: Sequence[RunRecord], changes: Sequence[object]) -> list[tuple[str, str]]:
        """Return the sections that plugins add to a report, title and markdown, in registration order.

        Raises:
            InputError: A plugin returned something else.
        """
        hook = self._pluggy.hook.autotune_report_sections
        sections: list[tuple[str, str]] = []
        for section in reversed(hook(runs=tuple(runs), changes=tuple(changes))):
            match section:
                case (str(title), str(text)):
                    sections.append((title, text))
                case _:
                    names = ", ".join(sorted(implementation.plugin_name for implementation in hook.get_hookimpls()))
                    raise InputError(
                        f"a section of a report is a pair of texts, title and markdown, not {quote(section)}; mend one"
                        f" of the plugins with sections ({names}) or name it in {DISABLED_VARIABLE}"
                    )
        return sections

    def run_done(self, run: RunRecord) -> None:
        """Tell plugins that a run ended."""
        self._pluggy.hook.autotune_run_done(run=run)

    def run_broke_off(self, run: RunRecord, error: BaseException) -> None:
        """Tell plugins that a run ended by an exception, which goes on; what a plugin then raises is noted in it."""
        try:
            self.run_done(run)
        except Exception as fault:  # noqa: BLE001 - the exception that ended the run says more
            error.add_note(f"a plugin failed in autotune_run_done ({type(fault).__name__}: {one_line(fault)})")


def _flatten(groups: Iterator[Sequence[_Item]]) -> Iterator[_Item]:
    for group in groups:
        yield from group


@cache
def _installed_plugins(disabled: str, path: tuple[str, ...]) -> tuple[tuple[str, object], ...]:
    """Return the plugins on this path, by name; looked for once, because a process makes several managers."""
    del path
    return tuple((point.name, _load(point)) for point in _enabled_entry_points(disabled))


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:
        distribution = point.dist.name if point.dist else "an unknown distribution"
        raise InputError(
            f"plugin {point.name!r} of {distribution} does not load ({type(error).__name__}: {error}); "
            f"mend or uninstall it, or set {DISABLED_VARIABLE}={point.name}"
        ) from error


def _enabled_entry_points(names: str) -> Iterator[EntryPoint]:
    disabled = {name.strip() for name in names.split(",") if name.strip()}
    found = {point.name: point for point in entry_points(group=GROUP)}
    unknown = sorted(disabled - found.keys())
    if unknown:
        raise InputError(
            f"{DISABLED_VARIABLE} names {', '.join(unknown)}, which is not an installed plugin; "
            f"installed are {', '.join(sorted(found))}"
        )
    for name, point in found.items():
        if name not in disabled:
            yield point
