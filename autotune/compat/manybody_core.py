"""A `ManyBodyCore` as a many-body input and back: what the older executor took, in the words of the rest.

Rules: beside `workload.py` the only room that knows QCManyBody, because its core is what the older interface hands
over. Importing this room loads QCManyBody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from qcelemental.models import v2 as elemental
from qcmanybody import ManyBodyCore, delabeler
from qcmanybody import v1 as computers_1
from qcmanybody import v2 as computers_2
from qcmanybody.models import v1, v2

from autotune.base.errors import InputError
from autotune.base.types import Task
from autotune.expansion.atom_order import block_order
from autotune.expansion.component import PROPERTIES
from autotune.expansion.fragments import explicit_fragments
from autotune.expansion.workload import Workload, schema_version_of

Specifications = Mapping[str, Mapping[str, Any]]
_KEPT = ("driver", "model", "keywords", "protocols", "extras")  # fields of a specification in both schema versions


class ResultsCore(ManyBodyCore):  # type: ignore[misc]  # QCManyBody is untyped
    """A `ManyBodyCore` whose `analyze` takes whole results as well as their energies and derivatives."""

    def analyze(self, component_results: Mapping[str, Any], **options: Any) -> dict[str, Any]:
        """Return upstream's analysis of component results.

        Args:
            component_results: By label, an AtomicResult, or a mapping of `energy`, `gradient` and `hessian`.
            options: As upstream's.
        """
        values = {label: _properties(result) for label, result in component_results.items()}
        analysis: dict[str, Any] = super().analyze(values, **options)
        return analysis


def _properties(result: Any) -> Mapping[str, Any]:
    if isinstance(result, Mapping):
        return result
    found = {name: getattr(result.properties, f"return_{name}", None) for name in PROPERTIES}
    return {name: value for name, value in found.items() if value is not None}


def adopt(core: Any) -> None:
    """Let a core's `analyze` take whole results, too.

    Scripts for the older executor hand its results to the core that they made, and its core took them. So the object
    itself has to learn it; that it is of another class now shows nowhere else.

    Raises:
        InputError: It is not a `ManyBodyCore`.
    """
    if not isinstance(core, ManyBodyCore):
        raise InputError(f"core is a qcmanybody.ManyBodyCore, not {type(core).__name__}")
    if type(core) is ManyBodyCore:
        core.__class__ = ResultsCore


def input_of(core: Any, specifications: Specifications, *, driver: str) -> Any:
    """Return the ManyBodyInput whose expansion a core is, in the schema version of the core's molecule.

    Args:
        core: A `ManyBodyCore`.
        specifications: By model chemistry, `program` and the fields of its `specification`.
        driver: Of all fragments, whatever their specifications say, as upstream has it.
    """
    models = v2 if isinstance(core.molecule, elemental.Molecule) else v1
    chemistries = {
        name: {
            **{field: value for field, value in given["specification"].items() if field in _KEPT},
            "program": given["program"],
            "driver": driver,
        }
        for name, given in specifications.items()
    }
    keywords = {
        "bsse_type": [bsse.value for bsse in core.bsse_type],
        "levels": _levels(core),
        "return_total_data": core.return_total_data,
        "supersystem_ie_only": core.supersystem_ie_only,
        "embedding_charges": core.embedding_charges or None,
    }
    return models.ManyBodyInput(
        molecule=core.molecule,
        specification={"driver": driver, "keywords": keywords, "specification": chemistries},
    )


def _levels(core: Any) -> dict[int | str, str]:
    """Return the highest body of each model chemistry: a core says each level's, an input names a chemistry once."""
    levels: dict[int | str, str] = {}
    for chemistry, bodies in core.nbodies_per_mc_level.items():
        numbers = [body for body in bodies if body != "supersystem"]
        if numbers:
            levels[max(numbers)] = chemistry
        if "supersystem" in bodies:
            levels["supersystem"] = chemistry
    return levels


def core_of(many_body_input: Any) -> tuple[Any, str, dict[str, dict[str, Any]]]:
    """Return core, driver and specifications of a ManyBodyInput (v1 or v2) or its fields."""
    model = many_body_input
    if isinstance(model, Mapping):
        fields = dict(model)
        if isinstance(fields.get("molecule"), Mapping):
            # Charges and multiplicities of many fragments are what QCElemental cannot guess.
            fields["molecule"] = explicit_fragments(fields["molecule"])
            if block_order(fields["molecule"]["fragments"]) is not None:
                raise InputError("a ManyBodyCore wants the atoms of each fragment in one block; reorder the atoms")
        model = (v1 if schema_version_of(fields) == 1 else v2).ManyBodyInput(**fields)
    if not isinstance(model, (v1.ManyBodyInput, v2.ManyBodyInput)):
        raise InputError(f"a many-body input is a ManyBodyInput or a mapping, not {type(model).__name__}")
    computers = computers_2 if isinstance(model, v2.ManyBodyInput) else computers_1
    computer = computers.ManyBodyComputer.from_manybodyinput(model, build_tasks=False)
    specifications = {}
    for name, chemistry in model.specification.specification.items():
        fields = chemistry.model_dump()
        specifications[name] = {"program": fields.pop("program"), "specification": fields}
    return computer.qcmb_core, str(computer.driver.value), specifications


def label_tasks(work: Workload) -> Iterator[tuple[int, str, str, Task]]:
    """Yield n-body level, model chemistry, label and task of each component of an expansion."""
    for task in work.tasks:
        for label in task.labels:
            chemistry, real, _ = delabeler(label)
            yield len(real), chemistry, label, task
