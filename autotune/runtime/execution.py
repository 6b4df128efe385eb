"""What a run is told about faults, and what comes out of it.

Rules: records for `executor.py`, `dispatch.py` and those who start them; no behaviour beyond filling and restating the
fields.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from autotune.base.records import TaskRecord
from autotune.journal.entries import Entry
from autotune.journal.journal import Journal
from autotune.journal.values import Values


@dataclass(slots=True, kw_only=True)
class Execution:
    """What came out of a run, in the order of completion.

    Attributes:
        values: Energy, gradient and Hessian by task key.
        contained: Energies (Eh) of lower methods, by key of the task that contains them and by property.
        results: AtomicResult JSON by task key, where the input keeps component results.
        records: What happened to each task that ended; with fail-fast some were never started.
        attempts: Starts of tasks.
        peak_gib: Largest sampled resident memory of all workers together.
        memory_idle_core_s: Core-seconds idle while a ready task waited for memory.
        lost_core_s: Core-seconds of attempts that failed.
        other_core_s: Core-seconds that other programs used while tasks ran; 0 where that is not known.
        speeds: Of the workers, as they were known last; empty where all are alike.
    """

    values: Values = field(default_factory=Values)
    contained: dict[str, Mapping[str, float]] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)
    records: list[TaskRecord] = field(default_factory=list)
    attempts: int = 0
    peak_gib: float = 0.0
    memory_idle_core_s: float = 0.0
    lost_core_s: float = 0.0
    other_core_s: float = 0.0
    speeds: tuple[float, ...] = ()

    def take(self, entry: Entry) -> None:
        """Take what a finished task computed."""
        self.values.keep(entry)
        if entry.contained:
            self.contained[entry.key] = entry.contained
        if entry.result is not None:
            self.results[entry.key] = entry.result

    @property
    def failed(self) -> list[TaskRecord]:
        """Tasks that failed for good."""
        return [record for record in self.records if record.status == "failed"]

    def add(self, later: Execution) -> None:
        """Take in what came out of a second lot of tasks of the same run."""
        self.values.add(later.values)
        self.contained.update(later.contained)
        self.results.update(later.results)
        self.records += later.records
        self.attempts += later.attempts
        self.peak_gib = max(self.peak_gib, later.peak_gib)
        self.memory_idle_core_s += later.memory_idle_core_s
        self.lost_core_s += later.lost_core_s
        self.other_core_s += later.other_core_s
        self.speeds = later.speeds


@dataclass(frozen=True, slots=True, kw_only=True)
class Care:
    """What a run does about faults.

    Attributes:
        journal: Where finished tasks are kept; None keeps them in memory only.
        versions: Of the programs, as the journal tells results of one from those of another.
        ways: What the journal adds to these, by program; see `planning.ways`.
        rescue: Keywords of a second attempt where the first did not converge; empty for no such attempt.
        fail_fast: Start nothing more once a task has failed for good.
        task_limit_s: Time limit of one task, None for no limit.
        scratch_gib: What scratch files may take together; None for nine tenths of what is free at the start.
        hosts: Keys of tasks whose contained energies are wanted.
    """

    journal: Journal | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    ways: Mapping[str, str] = field(default_factory=dict)
    rescue: Mapping[str, Any] = field(default_factory=dict)
    fail_fast: bool = False
    task_limit_s: float | None = None
    scratch_gib: float | None = None
    hosts: Collection[str] = ()

    @property
    def rescue_text(self) -> str:
        """The rescue keywords as the journal names them; empty without any."""
        return json.dumps(dict(self.rescue), sort_keys=True) if self.rescue else ""

    def keep(self, entries: Iterable[Entry], execution: Execution) -> None:
        """Take in what tasks computed, and give it to the journal.

        Raises:
            ResourceError: The journal cannot be written; all have been taken in nevertheless.
        """
        faults: list[BaseException] = []
        for entry in entries:
            try:
                execution.take(entry)
                if self.journal is not None:
                    self.journal.record(entry)
            except BaseException as fault:  # noqa: BLE001 - raised below
                faults.append(fault)
        if faults:
            raise faults[0]

    def version(self, program: str) -> str:
        """Return a program with its version, as the journal names it."""
        return f"{program} {self.versions.get(program, 'unknown')}{self.ways.get(program, '')}"
