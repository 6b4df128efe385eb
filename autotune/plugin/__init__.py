"""What a plugin of somebody else is written against: `from autotune.plugin import hookimpl, Strategy, Policy`.

Goes in: installed plugins. Comes out: hooks that are called, strategies by name, policies composed of them. Importing
this package loads nothing; its names load what they need when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotune.base.errors import InputError, ResourceError
    from autotune.base.records import Gap, RunRecord, TaskRecord, TuningChoice
    from autotune.base.types import (
        Context,
        Estimate,
        Machine,
        Method,
        Parameter,
        Parameters,
        Policy,
        Resources,
        Task,
        TaskSize,
    )
    from autotune.plugin.facts import (
        BESIDE_WORKER,
        FOR_EACH_TASK,
        IN_WORKER,
        ContainedEnergies,
        Convergence,
        Gpu,
        ProgramFacts,
        Tunable,
        choices,
        register_harness,
        several_on_a_gpu,
    )
    from autotune.plugin.hookspecs import Backend, Progress, Strategy, hookimpl

__all__ = [
    "BESIDE_WORKER",
    "FOR_EACH_TASK",
    "IN_WORKER",
    "Backend",
    "ContainedEnergies",
    "Context",
    "Convergence",
    "Estimate",
    "Gap",
    "Gpu",
    "InputError",
    "Machine",
    "Method",
    "Parameter",
    "Parameters",
    "Policy",
    "ProgramFacts",
    "Progress",
    "ResourceError",
    "Resources",
    "RunRecord",
    "Strategy",
    "Task",
    "TaskRecord",
    "TaskSize",
    "Tunable",
    "TuningChoice",
    "choices",
    "hookimpl",
    "register_harness",
    "several_on_a_gpu",
]

_MODULES = (
    "autotune.base.types",
    "autotune.base.errors",
    "autotune.base.records",
    "autotune.plugin.facts",
    "autotune.plugin.hookspecs",
)


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in __all__:
        for module in map(import_module, _MODULES):
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module 'autotune.plugin' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
