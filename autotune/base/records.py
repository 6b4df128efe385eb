"""What happened and what was found: records of tasks, runs and tunings; frozen, units in the names.

Rules: like `types.py`, which these are made of. What is annotated is checked where a record is read from a file, by
`json_files.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal, TypeAlias

from annotated_types import Ge, Interval

from autotune.base.types import Estimate, Machine, Method, Parameter, Policy, Resources, Task

LARGEST_S = 1e6  # of one operation, and of half a task


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
        cpu_s: CPU time of the last attempt, child processes included; of tasks shorter than 50 ms that a worker did one
            after another their common time, shared by wall time.
        width: Cores it was given.
        grant_gib: Memory the program was told.
        peak_gib: Peak resident memory of the worker while it ran, or while it and the short tasks before and after it
            did; 0 where it is not known.
        predicted_s: Wall time predicted when it was last ranked, at its width.
        error_type: Kind of the failure, one of `failures.KINDS`; empty when done.
        error: Message of the program; empty when done.
        sharers: Tasks computed in the same start of the program, this one included, which share its wall and CPU time.
        fallback: Why the program did without one of its tunables; empty where it did not.
        gpus: GPUs it was given.
        speed: Of its worker, as it was known when the task started; 1 for the fastest, and where all are alike.
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
    sharers: int = 1
    fallback: str = ""
    gpus: int = 0
    speed: float = 1.0


def task_record(
    task: Task,
    estimate: Estimate,
    given: Resources,
    *,
    started_s: float,
    wall_s: float,
    cpu_s: float = 0.0,
    peak_gib: float = 0.0,
    attempts: int = 1,
    error_type: str = "",
    error: str = "",
) -> TaskRecord:
    """Return what happened to a task that was given some resources; it failed where there is a kind of error."""
    return TaskRecord(
        number=task.number,
        label=task.labels[0],
        nbody=task.nbody,
        status="failed" if error_type else "done",
        attempts=attempts,
        started_s=started_s,
        wall_s=wall_s,
        cpu_s=cpu_s,
        width=given.cores,
        grant_gib=given.memory_gib,
        peak_gib=peak_gib,
        predicted_s=estimate.wall_s(given.cores),
        error_type=error_type,
        error=error,
        gpus=given.gpus,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """A method's times as fitted on a machine; see `cost_law.py`.

    Attributes:
        seconds: Of one operation of each term of `terms.py`.
        spread: Standard deviation of the logarithm of single tasks around the law.
        parallel: Share of the time that divides over cores, of a task long enough.
        half_s: Seconds alone of a task of which half that share divides.
        contention: Time of a task while all cores work over its time alone; `seconds` are while all work. 1 if unknown.
    """

    seconds: Mapping[str, Annotated[float, Interval(ge=0.0, le=LARGEST_S)]]
    spread: Annotated[float, Interval(ge=0.0, le=100.0)]
    parallel: Annotated[float, Interval(ge=0.0, le=1.0)]
    half_s: Annotated[float, Interval(ge=0.0, le=LARGEST_S)]
    contention: Annotated[float, Interval(ge=0.01, le=100.0)] = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One configuration of a search.

    Attributes:
        parameters: As `strategy.parameter`.
        source: Where it comes from: `default`, `untouched` (the program left alone), `stated` (what its plugin says is
            fastest), `transferred` (another tuning), `simulated`, `search`, or `final` (a winner with only the changes
            that matter).
        state: `done`, `pruned` (given up early, because others were clearly faster) or `failed`.
        workers: Tasks that its policy runs at once.
        width: Cores its policy gives to an ordinary task.
        wall_s: Wall times, one for each search workload in their order, as far as it was run; none for `final`.
        speed_up: Geometric mean of the default's wall times over these; 0 where it failed.
    """

    parameters: Mapping[str, Parameter]
    source: str
    state: str
    workers: int
    width: int
    wall_s: tuple[float, ...]
    speed_up: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One run each of default and winner, one right after the other, in random order.

    Attributes:
        workload: What was run.
        default_s: Wall time with the default.
        tuned_s: Wall time with the winner.
    """

    workload: str
    default_s: float
    tuned_s: float


Verdict: TypeAlias = Literal["faster", "same", "slower", "cannot tell", "not confirmed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Why a tuning may be believed: the winner of the search re-measured, paired, against the default.

    Attributes:
        study: Name of the study.
        search_workloads: What was run in the search.
        search_tasks: Their numbers of tasks.
        candidate: The parameters that the search found and the pairs are of, those that are not the default's.
        pairs: The confirmation, on workloads that the search did not see; empty where the default won the search.
        speed_up: Geometric mean of default over winner.
        interval: 95 % confidence interval of the speed-up; None where there are too few pairs.
        verdict: `faster`, `same`, `slower` or `cannot tell` by the pairs; the winner is stored only where it is
            `faster`. `not confirmed` where the default won the search, so that no pairs were run.
        noise: Run-to-run coefficient of variation of the default on this machine.
        noise_s: All wall times of the default in look and search, by search workload.
        trials: Configurations of the search, in order.
        importances: Share of the differences between trials that each parameter explains; empty if too few trials.
        stopped: Why the search ended.
        budget_s: Time allowed.
        spent_s: Time used.
        smallest_functions: Fewest basis functions of a task seen.
        largest_functions: Most of them; predictions beyond are extrapolations.
        deviations: Largest change of an energy (Eh) from the program left alone, over all runs with a value of a
            program's tunable, by `PROGRAM.NAME=VALUE`.
        cautions: What speaks against the measurements, sentences.
    """

    study: str
    search_workloads: tuple[str, ...]
    search_tasks: tuple[int, ...]
    candidate: Mapping[str, Parameter]
    pairs: tuple[Pair, ...]
    speed_up: Annotated[float, Ge(0.0)]
    interval: tuple[float, float] | None
    verdict: Verdict
    noise: float
    noise_s: tuple[tuple[float, ...], ...]
    trials: tuple[Trial, ...]
    importances: Mapping[str, float]
    stopped: str
    budget_s: float
    spent_s: float
    smallest_functions: Annotated[int, Ge(0)]
    largest_functions: int
    deviations: Mapping[str, float] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()


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
        evidence: The search and the confirmation.
        versions: Of the libraries.
        created: UTC time, ISO 8601.
        verified: UTC time of the last `autotune tunings verify` that it passed; empty for never.
    """

    machine: Machine
    method: Method
    program_version: str
    strategies: tuple[str, ...]
    parameters: Mapping[str, Parameter]
    law: Law
    evidence: Evidence
    versions: Mapping[str, str]
    created: str
    verified: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningChoice:
    """Which tuning a run used and why.

    Attributes:
        match: `exact`, `near`, `model` (times only), `default`, `given` (a file) or `none` (asked for no tuning).
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
class Omitted:
    """Tasks that were not computed, because an option said so.

    Attributes:
        option: Its name in `options.OMISSIONS`.
        tasks: How many.
        of: So many it could have been.
        words: The same in a sentence, as the run said it.
    """

    option: str
    tasks: int
    of: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NmerTerm:
    """What one of a crystal's distinct n-mers, with all that are equal to it, adds to the lattice energy.

    Attributes:
        name: Of the n-mer, as `2mer-0001`.
        bsse: Treatment of the basis-set superposition error.
        nbody: The number of its molecules.
        distance_angstrom: Of its two molecules that are farthest apart, by the metric of the cutoffs.
        per_cell: How many of them there are for each unit cell.
        term_hartree: What one of them adds to what its parts add.
        contribution_hartree: What all of them add, for each formula unit of the crystal.
        running_hartree: The sum of such contributions of this level and treatment up to here, by distance.
    """

    name: str
    bsse: str
    nbody: int
    distance_angstrom: float
    per_cell: int
    term_hartree: float
    contribution_hartree: float
    running_hartree: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LatticeLevel:
    """What the n-mers of one size add to a lattice energy.

    Attributes:
        bsse: Treatment of the basis-set superposition error.
        nbody: The number of molecules.
        cutoff_angstrom: The largest distance of two of them.
        distinct: How many of them differ.
        per_cell: How many of them there are for each unit cell.
        contribution_hartree: What they add, for each formula unit.
        through_hartree: The lattice energy through this level, for each formula unit.
    """

    bsse: str
    nbody: int
    cutoff_angstrom: float
    distinct: int
    per_cell: int
    contribution_hartree: float
    through_hartree: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """The lattice energy of a molecular crystal, by the many-body expansion.

    It is what holds the molecules together as they are in the crystal, rigid and at rest.

    Attributes:
        crystal: What was computed, in words.
        unit: The formula unit to which energies refer, such as `C6H6`.
        units_per_cell: How many of them a unit cell has.
        method: The model chemistry of each level.
        metric: What distances are of: nearest atoms, centres of mass, farthest atoms.
        off_hartree: What the energy is off by, about, where energies of components are off by what was measured at
            their programs' thresholds; None where that is not known.
        levels: By BSSE treatment, then by size.
        nmers: The same n-mer by n-mer, the nearest first.
    """

    crystal: str
    unit: str
    units_per_cell: int
    method: Mapping[int, str]
    metric: str
    off_hartree: float | None
    levels: tuple[LatticeLevel, ...]
    nmers: tuple[NmerTerm, ...]

    @property
    def energy_hartree(self) -> float:
        """The lattice energy through the highest level, by the first BSSE treatment, for each formula unit, Eh."""
        first = self.levels[0].bsse
        return [level for level in self.levels if level.bsse == first][-1].through_hartree


@dataclass(frozen=True, slots=True, kw_only=True)
class NBodyEnergies:
    """What a many-body expansion adds up to through one n-body level, with one treatment of the BSSE.

    Attributes:
        bsse: Treatment of the basis-set superposition error: `nocp`, `cp` or `vmfc`.
        nbody: The level: fragments of its largest terms.
        method: Model chemistry that the terms of this level are computed with, such as `pyscf hf/6-31g*`.
        total_hartree: Total energy through this level; None where it was not computed.
        interaction_hartree: The same less the energies of the fragments; None with embedding charges.
        contribution_hartree: What this level adds to the one below; None for the lowest.
        gradient_norm: Euclidean norm of the total gradient through this level, Eh/a0; None where there is none.
        contribution_gradient_norm: Norm of what this level adds to the gradient, Eh/a0; None where there is none.
        returned: Which of its energies the result returns as its own: `interaction`, `total`, or empty for neither.
    """

    bsse: str
    nbody: int
    method: str
    total_hartree: float | None = None
    interaction_hartree: float | None = None
    contribution_hartree: float | None = None
    gradient_norm: float | None = None
    contribution_gradient_norm: float | None = None
    returned: Literal["", "interaction", "total"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """What one pair, triple or larger group of fragments adds to a many-body expansion.

    Attributes:
        bsse: Treatment of the basis-set superposition error: `nocp`, `cp` or `vmfc`.
        nbody: How many fragments it has.
        fragments: Which, counted from 1, in ascending order.
        distance_angstrom: Between the nearest atoms of its two fragments, the farthest pair of them where it has more:
            what `screen_distance` leaves out goes by it.
        contribution_hartree: What it adds to the interaction energy.
        running_hartree: The sum of this and all nearer terms of its level.
    """

    bsse: str
    nbody: int
    fragments: tuple[int, ...]
    distance_angstrom: float
    contribution_hartree: float
    running_hartree: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What a run did.

    Attributes:
        created: UTC time of its end, ISO 8601.
        workload: What was computed, in a few words.
        content: Digest of all tasks; equal only for the same work, whatever its name, program version and schedule.
        energy_hartree: The energy that the result returns: interaction or total, as `energies` says; None without.
        wall_s: From the call to the result.
        tasks: Distinct tasks of the input, without those omitted.
        recalled: Tasks that were not computed, because the journal of an earlier run had them.
        attempts: Starts of tasks; more than `tasks` less `recalled` when some were repeated.
        lower_bound_s: No schedule of these measured task times can be shorter; see `bounds.lower_bound_s`.
        efficiency: `lower_bound_s / wall_s`.
        gap: Where the rest went.
        cpu_utilisation: CPU time of the workers over wall time and usable cores.
        peak_memory_gib: Largest sampled resident memory of all workers together.
        memory_budget_gib: What tasks might be granted together.
        policy: The policy after composition.
        tuning: Which tuning, and why.
        versions: Program and library versions.
        machine: The machine; of several, one of them with the resources of all.
        methods: Model chemistries.
        task_records: Every task.
        nodes: Machines; memory, its budget and the policy are of each of them.
        omitted: What options left out or took from other tasks; with `screen_distance` the result lacks these terms.
        understood: The fragments, their charges and spins, in words.
        doubts: What was said against the numbers, before the run and after it, sentences.
        sum_off_hartree: What the many-body sum is off by, one standard deviation, where its energies are off by what
            was measured at their programs' thresholds; None where that is not known.
        other_cores: Cores that other programs used on average while tasks ran; 0 where that is not known.
        speeds: Of the workers, as they were known at the end, 1 for the fastest; empty where all are alike.
        energies: The result by BSSE treatment and n-body level; empty without a many-body sum, and in older records.
        largest_terms: Those that contribute most, of each BSSE treatment; empty where there are very many, or none.
    """

    created: str
    workload: str
    content: str
    energy_hartree: float | None
    wall_s: float
    tasks: int
    recalled: int
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
    nodes: int = 1
    omitted: tuple[Omitted, ...] = ()
    understood: str = ""
    doubts: tuple[str, ...] = ()
    sum_off_hartree: float | None = None
    other_cores: float = 0.0
    speeds: tuple[float, ...] = ()
    energies: tuple[NBodyEnergies, ...] = ()
    largest_terms: tuple[Term, ...] = ()

    @property
    def node(self) -> Machine:
        """The machine; of several, one of them."""
        here = self.machine
        return replace(
            here,
            cores=here.cores // self.nodes,
            memory_gib=here.memory_gib / self.nodes,
            gpus=here.gpus // self.nodes,
        )
