"""What autotune must know of a program beyond the flags of its QCEngine harness: the facts that its plugin states.

Rules: no program is named here or anywhere else in `autotune`; what nobody states is assumed of no program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from autotune.base.types import Method, Parameter, Task, TaskSize

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

IN_WORKER, BESIDE_WORKER = "stays loaded in its worker", "stays loaded beside its worker"
FOR_EACH_TASK = "a new process for each task"
# Settings of harnesses that are no tunables: see `ProgramFacts.remembers`; most fragments of a task of the run.
REMEMBER, MOST_FRAGMENTS = "remember", "most_fragments"
FALLBACK = "autotune_fallback"  # in the extras of an AtomicResult, see `ProgramFacts.tunables`


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainedEnergies:
    """That a calculation holds the energies of the lower methods on its way, as they would be computed alone.

    Attributes:
        coupled_cluster_keywords: Keywords that act on coupled cluster only, which MP2 and HF alone would not have.
        correlation_keywords: Keywords that act on correlation only, which HF alone would not have; contains the former.
    """

    coupled_cluster_keywords: frozenset[str] = frozenset()
    correlation_keywords: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Convergence:
    """How exactly a program converges the energies of a family of methods, as it was measured.

    Attributes:
        error_hartree: What energies are off by at its own thresholds, root mean square.
        thresholds: Keywords that change this, lower case: the value without the keyword, and the power of a threshold
            with which the error falls.
        tighter: Keywords to converge more tightly with.
    """

    error_hartree: float
    thresholds: Mapping[str, tuple[float, float]]
    tighter: Mapping[str, float]


def choices(*values: Parameter) -> Callable[[], BaseDistribution]:
    """Return what makes the Optuna distribution of some values, once it is asked for."""

    def distribution() -> BaseDistribution:
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(values)

    return distribution


def shared_starts(title: str) -> Tunable:
    """Return the tunable of a program whose harness has `compute_together`: how many tasks share a start of it."""
    return Tunable(
        name="tasks_per_start",
        about=f"so many tasks at most are computed in one start of {title}",
        distribution=choices(1, 4, 16),
        default=16,
        untouched=1,
        exact=True,
    )


def several_on_a_gpu(title: str) -> Tunable:
    """Return the tunable of a program that computes on GPUs: how many of its tasks share one."""
    return Tunable(
        name="per_gpu",
        about=f"so many tasks of {title} at most are on one GPU at once",
        distribution=choices(1, 2, 4, 8),
        default=1,
        untouched=1,
        exact=True,
    )


def _unknown(method: Method, size: TaskSize) -> float:
    del method, size
    return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """That a program computes on a GPU: each task on one, which its environment names.

    Attributes:
        memory_gib: What a task of a model chemistry and a size holds of the GPU's memory, which is admitted as that of
            the machine is; 0 where it is not known.
    """

    memory_gib: Callable[[Method, TaskSize], float] = _unknown


def _always(method: Method) -> bool:
    del method
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunable:
    """A choice of how a program computes, of which each gives the same results to 1e-9 Eh and one is fastest.

    Attributes:
        name: Lower case; tunings and the command line call it `PROGRAM.NAME`.
        about: What it does, in one sentence.
        distribution: Returns the Optuna distribution of its values; see `choices`.
        default: What is used before anything was measured.
        untouched: The value that leaves the program as it is.
        exact: All values give the same results to the last bit.
        matters: Whether it can make a difference to a model chemistry; elsewhere it is not searched.
        ahead: How far ahead of others a task is to start, with a value of it, because it makes what others use: 0 for
            tasks that do not, more for what is used by more.
    """

    name: str
    about: str
    distribution: Callable[[], BaseDistribution]
    default: Parameter
    untouched: Parameter
    exact: bool = False
    matters: Callable[[Method], bool] = _always
    ahead: Callable[[Parameter, Task], int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramFacts:
    """One program. The defaults are what is assumed of a program of which nothing is stated.

    Attributes:
        name: QCEngine's name of the program, lower case.
        ghosts: It understands ghost atoms, or rightly leaves them out. Where it does not, `bsse` cp and vmfc are
            refused, because it would read them as real atoms.
        stays: How it is kept between tasks: `IN_WORKER`, `BESIDE_WORKER` or `FOR_EACH_TASK`.
        start_s: Seconds until it begins to compute, which each task takes of a program that does not stay.
        spherical_keyword: Keyword that has it take a basis set as spherical, if it takes all as Cartesian otherwise.
        cartesian_keyword: Keyword by which a user says that this is wanted.
        fits_densities: It fits two-electron integrals unless it is told otherwise.
        embedding: Its harness computes in the field of point charges, as `embedding_charges` asks.
        directionless: None of its keywords names a direction in space, so equal monomers have equal energies.
        convergence: How exactly it converges energies, by family of methods (`costs/terms.py`), where it was measured.
        contained: What its calculations hold of lower methods; None where this was not tested.
        grant_gib: Memory to tell it so that it takes the algorithm that holds this many GiB of arrays; None where its
            thresholds are not known.
        error_words: Regular expressions for what it says when it fails, by kind of failure, such as `convergence`.
        installed_as: Python distributions and commands whose version or file changes with an installation of it. Empty
            where that is not known: it is then started to be asked for its version, also where nothing is computed.
        usual: People expect it in the list of programs that are not installed.
        remembers: Its harness has the setting `remember`, see `tunables`: a task starts from where the one of the same
            fragments of the run before ended, which is kept in the shared folder.
        gpu: How it uses GPUs; None where it does not. Its tasks are refused on machines without one. Several tasks
            share one where it declares the tunable `several_on_a_gpu`.
        tunables: Choices of how it computes, which are searched with the strategies' parameters. Its harness has a
            method `tune(settings, shared)`: the values by name without the program's, with `most_fragments` of any task
            of the run, and a folder that all workers of a machine share during a run. Where it computes a task without
            one of them after all, `AtomicResult.extras["autotune_fallback"]` says why; the record of the run has it.
    """

    name: str
    ghosts: bool = True
    stays: str = FOR_EACH_TASK
    start_s: float = 0.5
    spherical_keyword: str = ""
    cartesian_keyword: str = ""
    fits_densities: bool = False
    embedding: bool = False
    directionless: bool = False
    convergence: Mapping[str, Convergence] = field(default_factory=dict)
    contained: ContainedEnergies | None = None
    grant_gib: Callable[[float], float] | None = None
    error_words: Mapping[str, str] = field(default_factory=dict)
    installed_as: tuple[str, ...] = ()
    usual: bool = False
    remembers: bool = False
    gpu: Gpu | None = None
    tunables: tuple[Tunable, ...] = ()

    @property
    def start_of_task_s(self) -> float:
        """Seconds of each task that go into starting the program."""
        return self.start_s if self.stays == FOR_EACH_TASK else 0.0


def register_harness(name: str, harness: Callable[[], type[Any]], *, replace: bool = True) -> None:
    """Register a QCEngine harness in this process, once.

    Args:
        name: QCEngine's name of the program.
        harness: Returns the harness's class; asked only where it is needed, so that a plugin loads without QCEngine.
        replace: Take the place of another harness of this name, as QCEngine's own; otherwise that one stays.
    """
    import qcengine

    if name in qcengine.list_all_programs():
        if not replace or isinstance(qcengine.get_program(name, check=False), harness()):
            return
        qcengine.unregister_program(name)
    qcengine.register_program(harness()())
