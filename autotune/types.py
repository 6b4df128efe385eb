"""The records that travel through autotune: frozen, slotted, keyword-only, units in the names.

Rules: no behaviour beyond properties that restate the fields; no imports from other rooms; no numpy. JSON forms live
in `store.py`, which is the only reader and writer of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

Parameter: TypeAlias = bool | int | float | str
Parameters: TypeAlias = dict[str, Parameter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this process may use, and what identifies the hardware.

    Attributes:
        cores: Physical cores this process may use (affinity, cgroup quota and physical cores, the smallest).
        memory_gib: Memory this process may use (physical, cgroup and resource limits, the smallest).
        cpu_model: Marketing name of the processor.
        architecture: Instruction set, such as `x86_64`.
        numa_nodes: NUMA nodes the usable cores lie on.
        l3_mib: Last-level cache of one socket; 0 where it cannot be read.
        vector: Widest vector instructions: `avx512`, `avx2`, `avx`, `sse2`, `neon`, or an empty text.
        key: Short text that is equal for machines on which the same tuning is best; made from the facts above.
        cores_limited_by: What set `cores`: `physical`, `affinity`, `cgroup v1`, `cgroup v2`, `slurm`, `option`.
        memory_limited_by: What set `memory_gib`: `physical`, `cgroup v1`, `cgroup v2`, `rlimit`, `slurm`, `option`.
    """

    cores: int
    memory_gib: float
    cpu_model: str
    architecture: str
    numa_nodes: int
    l3_mib: float
    vector: str
    key: str
    cores_limited_by: str
    memory_limited_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One model chemistry as a tuning sees it; the program's version is kept with the tuning's evidence.

    Attributes:
        program: QCEngine name of the program, lower case.
        method: Method as given, lower case.
        basis: Basis set as given, lower case; empty for methods without one.
        driver: `energy`, `gradient` or `hessian`.
        keywords: Canonical JSON of the program keywords (sorted keys, no spaces).
    """

    program: str
    method: str
    basis: str
    driver: str
    keywords: str = "{}"

    def __str__(self) -> str:
        """Return `PROGRAM METHOD/BASIS driver`, with keywords where there are any."""
        basis = f"/{self.basis}" if self.basis else ""
        keywords = "" if self.keywords == "{}" else f" {self.keywords}"
        return f"{self.program} {self.method}{basis} {self.driver}{keywords}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSize:
    """What the cost of a task depends on.

    Attributes:
        atoms: Real atoms.
        ghost_atoms: Ghost atoms (basis functions only).
        electrons: Electrons of the real atoms less the charge; core electrons included.
        functions: Basis functions on all centres, counted in the basis set's own convention; 0 where unknown.
    """

    atoms: int
    ghost_atoms: int
    electrons: int
    functions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One component calculation.

    Attributes:
        number: Position in the workload, from 0.
        key: Digest of everything the result depends on; equal keys are computed once.
        level: Name of the model chemistry in the many-body specification.
        real: 1-based fragments present with nuclei and electrons.
        basis: 1-based fragments present with basis functions; contains `real`.
        labels: QCManyBody labels that the result answers.
        method: Model chemistry.
        size: Size of the calculation.
    """

    number: int
    key: str
    level: str
    real: tuple[int, ...]
    basis: tuple[int, ...]
    labels: tuple[str, ...]
    method: Method
    size: TaskSize

    @property
    def nbody(self) -> int:
        """Number of real fragments."""
        return len(self.real)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a task is expected to cost.

    Attributes:
        alone_s: Wall time on one core of an otherwise idle machine.
        parallel: Share of `alone_s` that divides by the width (Amdahl), 0 to 1.
        memory_gib: Peak resident memory of the task's process tree.
    """

    alone_s: float
    parallel: float
    memory_gib: float

    def wall_s(self, width: int) -> float:
        """Return the expected wall time in seconds on `width` cores."""
        return self.alone_s * ((1.0 - self.parallel) + self.parallel / width)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Everything the runtime can be told to do. The defaults are the older parallel executor's fixed schedule.

    Attributes:
        workers: Tasks that may run at once.
        core_slots: Sum of the widths that may run at once; above the cores of the machine it oversubscribes.
        width: Cores given to an ordinary task.
        widest: Most cores given to a task that would hold up the rest; see `scheduler.widths`.
        order: `input`, `longest` (first) or `shortest` (first), by predicted time.
        level_barriers: Finish an n-body level before the next one starts.
        widen_tail: Give idle cores to the last tasks.
        memory_fraction: Share of the usable memory that tasks may be granted together.
        memory_admission: Start a task only when its predicted memory fits the budget.
        grant: Memory a program is told: `share` (the budget over the workers) or `estimate` (predicted, with margin).
        tasks_per_worker: Tasks after which a worker process is replaced; 0 for never.
        passive_wait: Idle OpenMP threads sleep instead of spinning.
        one_blas_thread: Programs that thread their own loops call BLAS with one thread, whatever their width.
        blas_kernel: What OpenBLAS is told about the processor (OPENBLAS_CORETYPE); empty lets it find out.
    """

    workers: int = 4
    core_slots: int = 4
    width: int = 1
    widest: int = 1
    order: str = "input"
    level_barriers: bool = True
    widen_tail: bool = False
    memory_fraction: float = 0.8
    memory_admission: bool = False
    grant: str = "share"
    tasks_per_worker: int = 1
    passive_wait: bool = False
    one_blas_thread: bool = False
    blas_kernel: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a strategy may look at.

    Attributes:
        machine: The machine.
        methods: Model chemistries of the workload.
        tasks: Number of tasks; 0 when something is asked for before the workload is planned.
    """

    machine: Machine
    methods: tuple[Method, ...]
    tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """What happened to one task.

    Attributes:
        number: The task's position in the workload.
        label: Its first QCManyBody label.
        nbody: Real fragments.
        status: `done` or `failed`.
        attempts: Times it was started.
        started_s: Start of the last attempt, after the start of the run.
        wall_s: Wall time of the last attempt inside the worker, input building included.
        cpu_s: CPU time of the last attempt, child processes included.
        width: Cores it was given.
        grant_gib: Memory the program was told.
        peak_gib: Peak resident memory of the worker while it ran; 0 where it cannot be read.
        predicted_s: Wall time predicted when it was last ranked, at its width.
        error_type: QCEngine's error type, or `crash` or `timeout`; empty when done.
        error: Message of the program; empty when done.
    """

    number: int
    label: str
    nbody: int
    status: str
    attempts: int
    started_s: float
    wall_s: float
    cpu_s: float
    width: int
    grant_gib: float
    peak_gib: float
    predicted_s: float
    error_type: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLaw:
    """A method's times: `alone_s = prior_s * scale * (prior_s / reference_s) ** bend`, fitted in logarithms.

    Attributes:
        scale: Measured over prior at the reference.
        bend: How far the exponent is off the prior's.
        reference_s: Prior seconds at the centre of the fit.
    """

    scale: float
    bend: float
    reference_s: float

    def apply(self, prior_s: float) -> float:
        """Return the fitted time in seconds for a prior of `prior_s`."""
        return float(prior_s * self.scale * (prior_s / self.reference_s) ** self.bend)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why a tuning may be believed: the winner of the search re-measured, paired, against the default.

    Attributes:
        workload: What was run to confirm.
        tasks: Its tasks.
        default_s: Wall times of the default, one for each pair.
        tuned_s: Wall times of the winner, one for each pair.
        speed_up: Geometric mean of default over winner.
        interval: 95 % confidence interval of the speed-up; None where there are too few pairs.
        verdict: `faster`, `same`, `slower` or `cannot tell`.
        trials: Configurations tried in the search.
        search_workload: What was run in the search.
        budget_s: Time allowed.
        spent_s: Time used.
        largest_functions: Most basis functions of a task seen; predictions beyond are extrapolations.
    """

    workload: str
    tasks: int
    default_s: tuple[float, ...]
    tuned_s: tuple[float, ...]
    speed_up: float
    interval: tuple[float, float] | None
    verdict: str
    trials: int
    search_workload: str
    budget_s: float
    spent_s: float
    largest_functions: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What calibration stores: strategies and parameters, never a plan, and why.

    Attributes:
        machine: Where it was measured.
        method: What was measured.
        program_version: Of the program that was measured.
        strategies: In the order they are applied.
        parameters: As `strategy.parameter`; none means the defaults.
        law: Fitted times of the method.
        evidence: The confirmation.
        versions: Of the libraries.
        created: UTC time, ISO 8601.
    """

    machine: Machine
    method: Method
    program_version: str
    strategies: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    law: PowerLaw
    evidence: Evidence
    versions: Mapping[str, str]
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningChoice:
    """Which tuning a run used and why.

    Attributes:
        match: `exact`, `near`, `default` or `none` (asked for no tuning).
        reason: One sentence for the user.
        source: File the tuning came from; empty for the default.
        strategies: Names of the strategies, in the order they were applied.
        parameters: Their parameters, as `strategy.parameter`.
    """

    match: str
    reason: str
    source: str
    strategies: tuple[str, ...]
    parameters: Mapping[str, Parameter]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Where the cores' time between the lower bound and the wall time went, in seconds of the whole run.

    Attributes:
        startup: No task could run yet: imports, planning, first processes.
        tail: Cores idle because no task was left to start.
        memory: Cores idle while tasks waited for memory.
        retries: Spent on attempts that failed.
        scheduler: Cores idle between tasks although work was ready: pipes, bookkeeping, barriers, new processes.
        assembly: After the last task: the many-body sums and the result.
    """

    startup: float = 0.0
    tail: float = 0.0
    memory: float = 0.0
    retries: float = 0.0
    scheduler: float = 0.0
    assembly: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a run did; see design: run record.

    Attributes:
        wall_s: From the call to the result.
        tasks: Tasks computed.
        attempts: Starts of tasks; more than `tasks` when some were repeated.
        lower_bound_s: No schedule of these measured task times can be shorter: the larger of the area over the cores
            and the longest task.
        efficiency: `lower_bound_s / wall_s`.
        gap: Where the rest went.
        cpu_utilisation: CPU time of the workers over wall time and usable cores.
        peak_memory_gib: Largest sampled resident memory of all workers together.
        memory_budget_gib: What tasks might be granted together.
        policy: The policy after composition.
        tuning: Which tuning, and why.
        versions: Program and library versions.
        machine: The machine.
        methods: Model chemistries.
        task_records: Every task.
    """

    wall_s: float
    tasks: int
    attempts: int
    lower_bound_s: float
    efficiency: float
    gap: Gap
    cpu_utilisation: float
    peak_memory_gib: float
    memory_budget_gib: float
    policy: Policy
    tuning: TuningChoice
    versions: Mapping[str, str]
    machine: Machine
    methods: tuple[Method, ...]
    task_records: tuple[TaskRecord, ...] = field(repr=False)
