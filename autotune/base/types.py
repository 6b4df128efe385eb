"""The records that travel through autotune: frozen, slotted, keyword-only, units in the names.

Rules: no behaviour beyond arithmetic on the fields; no imports from other rooms; no numpy. `json_files.py` reads and
writes them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

Parameter: TypeAlias = bool | int | float | str
Parameters: TypeAlias = dict[str, Parameter]

PAIR = 2  # fragments of an n-mer that has an interaction at all


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What a machine offers, what a task is given, or what tasks may hold together.

    Attributes:
        cores: Physical cores.
        memory_gib: Memory; infinity where it has no limit.
        gpus: Graphics processors.
    """

    cores: int
    memory_gib: float
    gpus: int = 0

    def fits(self, within: Resources) -> bool:
        """Return whether others have at least as much of everything."""
        return self.cores <= within.cores and self.memory_gib <= within.memory_gib and self.gpus <= within.gpus

    def minus(self, taken: Resources) -> Resources:
        """Return what is left without others; less than nothing where they are more."""
        return Resources(
            cores=self.cores - taken.cores, memory_gib=self.memory_gib - taken.memory_gib, gpus=self.gpus - taken.gpus
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine(Resources):
    """The resources that this process may use, and what identifies the hardware.

    Cores are the smallest of affinity, cgroup quota and physical cores; memory is the smallest of physical, cgroup and
    resource limits.

    Attributes:
        cpu_model: Marketing name of the processor.
        architecture: Instruction set, such as `x86_64`.
        numa_nodes: NUMA nodes the usable cores lie on.
        l3_mib: Last-level cache of one socket; 0 where it cannot be read.
        vector: Widest vector instructions: `avx512`, `avx2`, `avx`, `sse2`, `neon`, or an empty text.
        key: Short text that is equal for machines on which the same tuning is best; made from the facts above.
        cores_limited_by: What set `cores`: `physical`, `affinity`, `cgroup v1`, `cgroup v2`, `slurm`, `option`.
        memory_limited_by: What set `memory_gib`: `physical`, `cgroup v1`, `cgroup v2`, `rlimit`, `slurm`, `option`.
        gpu_memory_gib: Memory of each GPU; empty where there is none, or where it cannot be read.
    """

    cpu_model: str
    architecture: str
    numa_nodes: int
    l3_mib: float
    vector: str
    key: str
    cores_limited_by: str
    memory_limited_by: str
    gpu_memory_gib: tuple[float, ...] = ()


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
        unpaired: Unpaired electrons, of high spin; where there are any, orbitals of two spins are computed.
        pairs: Pairs of primitive functions that overlap, 0 where unknown. Sizes are equal without it: it differs a
            little from one geometry to the next.
    """

    atoms: int
    ghost_atoms: int
    electrons: int
    functions: int
    unpaired: int = 0
    pairs: float = field(default=0.0, compare=False)


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
        memory_gib: Peak resident memory of the task's process tree that is exceeded in one task of twenty.
        grant_gib: Memory to tell the program, so that it takes its fastest algorithm; 0 where nothing is known.
        spread: Standard deviation of the logarithm of the time.
        one_core: The program takes one core whatever it is given.
        program: QCEngine name of the program; empty where it does not matter.
        start_s: Part of `alone_s` in which the program starts, and which tasks share that are computed in one start.
        gpus: GPUs that it takes, 0 or 1; what of one is said by the tunable `per_gpu` of its program.
        gpu_memory_gib: Memory of the GPU that it holds; 0 where that is not known.
    """

    alone_s: float
    parallel: float
    memory_gib: float
    grant_gib: float = 0.0
    spread: float = 0.0
    one_core: bool = False
    program: str = ""
    start_s: float = 0.0
    gpus: int = 0
    gpu_memory_gib: float = 0.0

    @property
    def work_s(self) -> float:
        """What the task takes of `alone_s` beside the start of its program."""
        return self.alone_s - self.start_s

    def wall_s(self, width: int) -> float:
        """Return the expected wall time in seconds on `width` cores."""
        return self.alone_s * ((1.0 - self.parallel) + self.parallel / width)

    def next_s(self, width: int) -> float:
        """Return the expected wall time in seconds behind another task, in one start of the program."""
        return max(0.0, self.wall_s(width) - self.start_s)


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
        widen_tail: Give idle cores to the last tasks, up to `widest`.
        batch_s: Tasks predicted to take less together go to a worker at once, so that it need not wait between them.
        learn: Predictions follow the measured times of finished tasks.
        follow_machine: When cores or memory of the machine change, the policy is made again for what there is.
        pin_workers: Each worker stays on a core of its own while all cores are at work.
        most_workers: So many workers may run when tasks wait (for a disk, for MPI to start) and leave cores idle.
        memory_fraction: Share of the usable memory that tasks may be granted together.
        memory_admission: Start a task only when its predicted memory fits the budget.
        grant: Memory a program is told: `share` (the budget over the workers) or `estimate` (predicted, with margin).
        tasks_per_worker: Tasks after which a worker process is replaced; 0 for never.
        worker_growth_gib: A worker is replaced when it holds so much more than after its first task; 0 for never.
        worker_age_s: A worker is replaced when it is as old; 0 for never.
        resident_programs: A program that can stay loaded beside its worker does; else each task starts it again.
        passive_wait: Idle OpenMP threads sleep instead of spinning.
        one_blas_thread: Programs that thread their own loops call BLAS with one thread, whatever their width.
        blas_kernel: What OpenBLAS is told about the processor (OPENBLAS_CORETYPE); empty lets it find out.
        tunables: Values of the programs' tunables by `PROGRAM.NAME`; what is not named leaves its program as it is.
    """

    workers: int = 4
    core_slots: int = 4
    width: int = 1
    widest: int = 1
    order: str = "input"
    level_barriers: bool = True
    widen_tail: bool = False
    batch_s: float = 0.0
    learn: bool = False
    follow_machine: bool = False
    pin_workers: bool = False
    most_workers: int = 0
    memory_fraction: float = 0.8
    memory_admission: bool = False
    grant: str = "share"
    tasks_per_worker: int = 1
    worker_growth_gib: float = 0.0
    worker_age_s: float = 0.0
    resident_programs: bool = False
    passive_wait: bool = False
    one_blas_thread: bool = False
    blas_kernel: str = ""
    tunables: tuple[tuple[str, Parameter], ...] = ()

    @property
    def at_once(self) -> int:
        """How many ordinary tasks run at once when there are enough of them, at least 1."""
        slots = max(self.core_slots, self.width)
        return max(1, min(self.workers, slots // self.width))

    def tasks_per_start(self, program: str) -> int:
        """Return how many tasks of a program may be computed in one start of it."""
        return int(dict(self.tunables).get(f"{program}.tasks_per_start", 1))

    def tasks_per_gpu(self, program: str) -> int:
        """Return how many tasks of a program may be on one GPU at once."""
        return int(dict(self.tunables).get(f"{program}.per_gpu", 1))


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
