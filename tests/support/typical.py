"""A machine, a task and the record of a task of which most tests need only a value or two to be their own."""

from __future__ import annotations

from dataclasses import replace

from autotune.base.records import TaskRecord
from autotune.base.types import Machine, Method, Task, TaskSize

METHOD = Method(program="pyscf", method="hf", basis="6-31g*", driver="energy")
MACHINE = Machine(
    cores=8,
    memory_gib=32.0,
    cpu_model="",
    architecture="x86_64",
    numa_nodes=1,
    l3_mib=32.0,
    vector="avx2",
    key="pretended-8c",
    cores_limited_by="physical",
    memory_limited_by="physical",
)


def task(number=0, *, functions=50, electrons=20, method=METHOD):
    return Task(
        number=number,
        key=str(number),
        level="(auto)",
        real=(1,),
        basis=(1,),
        labels=(f"label {number}",),
        method=method,
        size=TaskSize(atoms=6, ghost_atoms=0, electrons=electrons, functions=functions),
    )


def record(number=0, *, wall_s=1.0, **changes):
    """Return the record of a task that kept one core busy, as predicted."""
    usual = TaskRecord(
        number=number,
        label=f"label {number}",
        nbody=1,
        status="done",
        attempts=1,
        started_s=0.0,
        wall_s=wall_s,
        cpu_s=wall_s,
        width=1,
        grant_gib=1.0,
        peak_gib=0.1,
        predicted_s=wall_s,
    )
    return replace(usual, **changes)
