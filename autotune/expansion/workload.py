"""From a many-body input to tasks, and from task values to the ManyBodyResult.

Rules: the only room that knows QCManyBody. Everything is QCSchema v2 inside; a v1 input is converted on entry and its
result on exit, which is what QCEngine's `qcmanybody` procedure does. Fragment charges and multiplicities are always
made explicit before a molecule is built: left to be guessed, QCElemental's search over them grows without bound. The
atoms of each fragment stand in one block inside, as upstream wants; results are in the order of the input.
"""

from __future__ import annotations

import contextlib
import copy
import io
import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from autotune.base import garbage
from autotune.base.errors import InputError
from autotune.base.json_files import fault_of, json_object
from autotune.base.text import one_line, quote
from autotune.base.types import Method, Task
from autotune.costs.sizes import Sizes
from autotune.expansion import atom_order
from autotune.expansion.component import PROPERTIES, Keys, Recipe
from autotune.expansion.fragments import check_distances, explicit_fragments
from autotune.expansion.nbody_energies import RESULT_SCHEMAS
from autotune.programs.facts import facts_of, known_facts

if TYPE_CHECKING:
    from qcelemental.models.v1 import AtomicResult as AtomicResultV1
    from qcelemental.models.v1 import Molecule as MoleculeV1
    from qcelemental.models.v2 import AtomicResult, Molecule
    from qcmanybody.models.v1 import ManyBodyInput as ManyBodyInputV1
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyInput, ManyBodyResult

MAX_INPUT_BYTES = 256 * 2**20
# Of one model chemistry: up to four thousand bytes each, and a fiftieth of a millisecond to plan.
MOST_COMPONENTS = 2_000_000
# What upstream's validators let through, beside their own kinds, where a value is of the wrong kind or size.
_REFUSALS = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, AssertionError, RecursionError)


class Workload:
    """All tasks of a many-body input, and the way back to its result.

    Attributes:
        tasks: Distinct component calculations.
        recipe: What workers need to build each task's input.
        schema_version: QCSchema version of the input, and of the result.
        keywords: Which expansion it is, in upstream's words.
        is_part: It has no many-body sum, see `subset`.
    """

    def __init__(self, many_body_input: ManyBodyInput, *, schema_version: int) -> None:
        from qcmanybody.v2 import ManyBodyComputer

        _check_extent(many_body_input)
        self._input, self._order = many_body_input, atom_order.block_order(many_body_input.molecule.fragments)
        if self._order is not None:
            blocks = atom_order.in_blocks(many_body_input.molecule, self._order)
            many_body_input = many_body_input.model_copy(update={"molecule": blocks})
        self.schema_version, self.keywords = schema_version, many_body_input.specification.keywords
        self._keys_by_label: dict[str, str] = {}
        self.is_part = False
        try:
            self._computer = ManyBodyComputer.from_manybodyinput(many_body_input, build_tasks=False)
            self.recipe = _recipe(many_body_input, self._computer)
            self.tasks = self._plan()
        except _REFUSALS as error:
            raise InputError(f"the many-body input cannot be planned: {_fault(error)}") from error

    @garbage.search_seldom()
    def _plan(self) -> tuple[Task, ...]:
        keys = Keys(self.recipe)
        sizes = Sizes(self.recipe.molecule)
        methods = {level: _method(self.recipe.programs[level], of) for level, of in self.recipe.specifications.items()}
        found: dict[str, tuple[str, Sequence[int], Sequence[int]]] = {}
        labels: dict[str, list[str]] = {}
        for level, label, real, in_basis in self._components():
            key = keys.key(level, real, in_basis)
            self._keys_by_label[label] = key
            found.setdefault(key, (level, real, in_basis))
            labels.setdefault(key, []).append(label)
        return tuple(
            Task(
                number=number,
                key=key,
                level=level,
                real=tuple(real),
                basis=tuple(in_basis),
                labels=tuple(labels[key]),
                method=methods[level],
                size=sizes.of(methods[level].basis, real, in_basis),
            )
            for number, (key, (level, real, in_basis)) in enumerate(found.items())
        )

    def _components(self) -> Iterator[tuple[str, str, Sequence[int], Sequence[int]]]:
        """Yield level, label, real and basis fragments in the order of upstream's `iterate_molecules`."""
        from qcmanybody.utils import labeler

        done: set[str] = set()
        for level, compute_dict in self._computer.qcmb_core.compute_map.items():
            # A label is short JSON, which the library of JSON takes four times as long for; ours must be upstream's.
            head = json.dumps(str(level))
            ours = _label(head, (1, 2), (1, 2, 3)) == labeler(level, (1, 2), (1, 2, 3))
            for components in compute_dict["all"].values():
                for real, in_basis in components:
                    label = _label(head, real, in_basis) if ours else labeler(level, real, in_basis)
                    if label not in done:
                        done.add(label)
                        yield level, label, real, in_basis

    @property
    def many_body_input(self) -> ManyBodyInput:
        """The validated input (v2), its atoms in their order."""
        return self._input

    @property
    def levels(self) -> dict[int, str]:
        """The model chemistry of each n-body level whose terms are summed; empty for a part, and with a supersystem."""
        core = self._computer.qcmb_core
        with_supersystem = "supersystem" in core.levels or self.keywords.supersystem_ie_only
        return {} if self.is_part or with_supersystem else dict(core.levels_no_ss)

    @property
    def methods(self) -> tuple[Method, ...]:
        """Model chemistries of the tasks, in order of appearance."""
        return tuple(dict.fromkeys(task.method for task in self.tasks))

    def subset(self, labels: Collection[str] | None = None) -> Workload:
        """Return the workload of the tasks that answer some labels, with whole component results kept.

        It is planned and run like any other, but has no many-body sum.

        Args:
            labels: QCManyBody labels; None for all.

        Raises:
            InputError: A label is none of this expansion's.
        """
        found = copy.copy(self)
        found.is_part = True
        found.recipe = replace(self.recipe, keep_results=True)
        if labels is not None:
            wanted = set(labels)
            found.tasks = tuple(task for task in self.tasks if not wanted.isdisjoint(task.labels))
            if unknown := sorted(wanted.difference(*(task.labels for task in found.tasks))):
                raise InputError(
                    f"label {one_line(unknown[0])} is none of this expansion's; its labels name the model chemistry,"
                    " the fragments and those whose basis functions are there"
                )
        return found

    def components(
        self, results: Mapping[str, str], *, labels: Collection[str] | None = None
    ) -> dict[str, AtomicResult | AtomicResultV1]:
        """Return the AtomicResult of each label, in the schema version of the input.

        Args:
            results: By task key, the AtomicResult (v2, JSON).
            labels: Only these; None for all that the tasks answer.
        """
        from qcelemental.models.v2 import AtomicResult

        wanted = None if labels is None else set(labels)
        found: dict[str, AtomicResult | AtomicResultV1] = {}
        for task in self.tasks:
            answered = [label for label in task.labels if wanted is None or label in wanted]
            if answered:
                model = AtomicResult(**json.loads(results[task.key]))
                found |= dict.fromkeys(answered, model.convert_v(1) if self.schema_version == 1 else model)
        return found

    @garbage.search_seldom()
    def assemble(
        self, values: Mapping[str, Mapping[str, Any]], results: Mapping[str, str]
    ) -> ManyBodyResult | ManyBodyResultV1:
        """Return upstream's result from the values of all tasks, its atoms in the order of the input.

        Args:
            values: By task key, `energy` (Eh), `gradient` (Eh/a0, shape (natom, 3)) and `hessian` (Eh/a0², shape
                (3 natom, 3 natom)), as far as computed; arrays are asked for one at a time, while they are added up.
            results: By task key, the AtomicResult (v2, JSON); empty unless the input keeps component results.
        """
        from qcelemental.models.v2 import AtomicResult

        from autotune.expansion.assembly import assemble

        component_results = {}
        if results:
            models = {key: AtomicResult(**json.loads(text)) for key, text in results.items()}
            component_results = {label: models[key] for label, key in self._keys_by_label.items()}
        result = assemble(self._computer, self._keys_by_label, values, component_results)
        if self._order is not None:
            result = atom_order.restore(result, self._input, self._order)
        return result.convert_v(1) if self.schema_version == 1 else result

    def left_out_bytes(self, values: Mapping[str, Mapping[str, Any]]) -> int:
        """Return what the arrays that `assemble` leaves out of `cluster_properties` would take; 0 where it does not."""
        from autotune.expansion.assembly import left_out_bytes

        return left_out_bytes(self._computer, self._keys_by_label, values)


def _label(head: str, real: Sequence[int], in_basis: Sequence[int]) -> str:
    shown = ", ".join(map(str, real))
    basis = shown if real == in_basis else ", ".join(map(str, in_basis))
    return f"[{head}, [{shown}], [{basis}]]"


def _check_extent(many_body_input: ManyBodyInput) -> None:
    """Raise `InputError` for levels or a driver that upstream has not, and for more components than can be planned.

    Upstream would fill the memory with those.
    """
    keywords = many_body_input.specification.keywords
    if many_body_input.specification.driver.value not in PROPERTIES:
        driver = many_body_input.specification.driver.value
        raise InputError(f"driver {driver!r} has no many-body expansion; take {', '.join(PROPERTIES)}")
    fragments = len(many_body_input.molecule.fragments)
    bodies = [body for body in keywords.levels or () if body != "supersystem"]
    if bodies and max(bodies) > fragments:
        raise InputError(f"levels name the {quote(max(bodies))}-body level, but the molecule has {fragments} fragments")
    if keywords.levels and not bodies:
        raise InputError("levels name the supersystem alone; name a lower level, too, such as 1")
    if min(bodies, default=1) < 1:
        raise InputError(f"levels name the {quote(min(bodies))}-body level; the lowest is 1")
    if keywords.max_nbody is not None and not 1 <= keywords.max_nbody <= fragments:
        raise InputError(f"max_nbody is {keywords.max_nbody}, but must lie within 1 and the {fragments} fragments")
    if bodies and keywords.max_nbody not in (None, max(bodies)):
        # Upstream would forget the levels.
        raise InputError(f"max_nbody is {keywords.max_nbody}, but levels go up to {max(bodies)}; leave max_nbody out")
    if keywords.supersystem_ie_only and len(keywords.levels or ()) > 1:
        raise InputError(
            "several levels and supersystem_ie_only do not go together: with it no level between is computed; leave one"
            " of the two out"
        )
    highest = max(bodies, default=fragments) if keywords.max_nbody is None else keywords.max_nbody
    subsystems = any(bsse.value == "vmfc" for bsse in keywords.bsse_type)
    components = 0
    for body in range(1, 1 if keywords.supersystem_ie_only else min(highest, fragments) + 1):
        components += math.comb(fragments, body) * (2**body if subsystems else 1)
        if components > MOST_COMPONENTS:
            raise InputError(
                f"up to {body}-body the expansion of {fragments} fragments has {components:.2g} components, more than"
                f" the {MOST_COMPONENTS} that QCManyBody can list, before any is left out; give a smaller max_nbody"
            )


def load(source: object) -> Workload:
    """Return the workload of a many-body input.

    Args:
        source: A `ManyBodyInput` (v1 or v2), or its fields as a mapping, as JSON text would give them.

    Raises:
        InputError: The input is not a valid many-body input; the message names the field.
    """
    model, version = _as_v2(source)
    return Workload(model, schema_version=version)


def many_body_input(source: object) -> ManyBodyInput | ManyBodyInputV1:
    """Return the validated model of a many-body input, in the schema version it came in; raises as `load`."""
    model, version = _as_v2(source)
    _check_extent(model)
    return model if version == 2 else model.convert_v(1)  # noqa: PLR2004 - a schema version


def parse_json(text: str, *, name: str) -> dict[str, Any]:
    """Return the fields of a many-body input given as JSON text; `name` is what error messages call it."""
    if len(text) > MAX_INPUT_BYTES:
        raise InputError(f"{name} is larger than {MAX_INPUT_BYTES // 2**20} MiB; this is not a many-body input")
    try:
        # Editors of some systems put a byte order mark first.
        fields = json.loads(text.removeprefix("\ufeff"), object_pairs_hook=json_object)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{name} is not valid JSON{where}: {one_line(error)}; give a ManyBodyInput file") from error
    if not isinstance(fields, dict):
        raise InputError(f"{name} holds a JSON {type(fields).__name__}, not a ManyBodyInput object")
    return fields


def methods_of(source: object) -> tuple[Method, ...]:
    """Return the model chemistries that an input names, without validating it, so that programs can load early.

    What looks wrong is left out here and reported by `load`.
    """
    try:
        fields = source if isinstance(source, Mapping) else source.model_dump()  # type: ignore[attr-defined]
        outer = fields["specification"]
        inner = outer["specification"]
        chemistries = [inner] if "model" in inner else inner.values()
        found = [
            _method(str(c["program"]), {**c, "driver": outer["driver"]})
            for c in chemistries
            if isinstance(c.get("keywords") or {}, Mapping)
        ]
    except _REFUSALS:
        return ()
    return tuple(dict.fromkeys(found))


def _as_v2(source: object) -> tuple[ManyBodyInput, int]:
    from qcelemental.models import v1 as elemental_1
    from qcelemental.models import v2 as elemental_2
    from qcmanybody.models import v1, v2

    if isinstance(source, (v1.ManyBodyInput, v2.ManyBodyInput)):
        return _with_masses(_believe(source)), 2 if isinstance(source, v2.ManyBodyInput) else 1
    if not isinstance(source, Mapping):
        raise InputError(f"a many-body input is a ManyBodyInput, a mapping or a file, not {type(source).__name__}")
    fields = dict(source)
    if fields.get("schema_name") in RESULT_SCHEMAS:
        raise InputError("this is the result of a calculation; `autotune show` prints its energies")
    version = schema_version_of(fields)
    molecule = fields.get("molecule")
    if isinstance(molecule, Mapping):
        fields["molecule"] = molecule = state_molecule(molecule, schema_version=version)
    elif not isinstance(molecule, (elemental_1.Molecule, elemental_2.Molecule)):
        raise InputError("the many-body input has no molecule; give field 'molecule' with symbols, geometry, fragments")
    with refuse_invalid():
        model = (v1 if version == 1 else v2).ManyBodyInput(**fields)
        claimed = not isinstance(molecule, Mapping) or bool(molecule.get("validated"))
        return _with_masses(_believe(model) if claimed else model.convert_v(2)), version


def state_molecule(fields: Mapping[str, Any], *, schema_version: int) -> dict[str, Any] | Molecule | MoleculeV1:
    """Return a molecule's fields with all stated that QCElemental could only guess.

    Where fragments are scattered over the atoms, which QCElemental's validators refuse, a molecule in the order of the
    fields, of the models with many-body `schema_version` 1 or 2.

    Raises:
        InputError: A field cannot be obeyed; see `fragments`.
    """
    molecule = _check_molecule(fields)
    blocks = atom_order.block_order(molecule["fragments"])
    if blocks is None:
        return molecule
    with refuse_invalid():
        found = atom_order.validate({**molecule, "schema_version": 3} if schema_version == 1 else molecule, blocks)
        return found.convert_v(1) if schema_version == 1 else found


def _believe(model: ManyBodyInput | ManyBodyInputV1) -> ManyBodyInput:
    """Return an input (v2) whose molecule says of itself that it is validated; InputError where that is not so.

    QCElemental believes it, and what it does not know of is checked as for fields.
    """
    with refuse_invalid():
        model = model.convert_v(2)
        molecule = model.molecule
        stated = _check_molecule(molecule.model_dump())
        blocks = atom_order.block_order(stated["fragments"]) or range(len(stated["symbols"]))
        # A provenance is what its maker wrote, and QCElemental's validators want their own kind.
        again = atom_order.validate({name: value for name, value in stated.items() if name != "provenance"}, blocks)
        if list(molecule.masses) != list(again.masses):
            raise InputError("the molecule's masses are not those of its mass_numbers; leave out field 'validated'")
        explicit = {f"{name}_": stated[name] for name in ("fragment_charges", "fragment_multiplicities")}
        if any(getattr(molecule, name) is None for name in explicit):
            molecule = molecule.model_copy(update=explicit)
            model = model.model_copy(update={"molecule": molecule})
    return model


def _with_masses(model: ManyBodyInput) -> ManyBodyInput:
    """Return an input each of whose atoms has a mass; a null among others is not always filled in."""
    lacking = [number for number, mass in enumerate(model.molecule.masses, start=1) if not mass > 0.0]
    if lacking:
        raise InputError(
            f"field masses has none for atom {lacking[0]}; give all, or leave the field out for the usual isotopes"
        )
    return model


@contextlib.contextmanager
def refuse_invalid(what: str = "the many-body input is not valid") -> Iterator[None]:
    """Turn what validators of QCSchema models raise within the block into an `InputError` of one line.

    It says `what`, and the first field at fault. What they print is kept back.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    except InputError:
        raise
    except _REFUSALS as error:
        raise InputError(f"{what}: {_fault(error)}") from error
    except Exception as error:
        if type(error).__module__.startswith("qcelemental"):
            raise InputError(f"{what}: {type(error).__name__}: {one_line(error)}") from error
        raise


def _fault(error: Exception) -> str:
    """Return in one line what a validator refused; pydantic of both versions, and molparse's kinds, are ValueErrors."""
    if hasattr(error, "errors") and error.errors():
        return fault_of(error)
    # A key that was looked for says nothing by itself.
    return type(error).__name__ if isinstance(error, KeyError) else one_line(error) or type(error).__name__


def _check_molecule(fields: Mapping[str, Any]) -> dict[str, Any]:
    try:
        molecule = explicit_fragments(fields)
        check_distances(molecule)
    except _REFUSALS as error:
        raise InputError(f"field molecule holds something of the wrong kind: {one_line(error)}") from error
    return molecule


def schema_version_of(fields: Mapping[str, Any]) -> int:
    """Return the schema version of a many-body input's fields, 2 where they do not say; InputError for others."""
    name = str(fields.get("schema_name", ""))
    stated = fields.get("schema_version", {"qcschema_manybodyinput": 1, "qcschema_many_body_input": 2}.get(name, 2))
    if not isinstance(stated, int) or stated not in (1, 2):
        raise InputError(f"schema_version {quote(stated)} is not known; many-body inputs have schema_version 1 or 2")
    return int(stated)


def _recipe(many_body_input: ManyBodyInput, computer: Any) -> Recipe:
    programs: dict[str, str] = {}
    specifications: dict[str, dict[str, Any]] = {}
    for level, chemistry in many_body_input.specification.specification.items():
        # The same three steps as upstream's from_manybodyinput, so that inputs are equal field by field.
        fields = chemistry.model_dump()
        if not isinstance(fields.get("keywords") or {}, Mapping):
            raise InputError(
                f"keywords of model chemistry {quote(level)} are {quote(fields['keywords'])}, not an object"
            )
        programs[level] = fields.pop("program").lower()
        fields["driver"] = str(computer.driver.value)
        if unknown := sorted(fields["model"].keys() - {"schema_name", "method", "basis"}):
            raise InputError(
                f"model of model chemistry {quote(level)} has a field {quote(unknown[0])}, which no program reads; it"
                " has method and basis, and what a program takes besides goes into keywords"
            )
        fields.pop("schema_name", None)
        if chemistry.protocols.wavefunction.value != "none":
            raise InputError(
                f"protocol wavefunction of model chemistry {quote(level)} asks for what results of components do not"
                " carry here; leave it at none"
            )
        specifications[level] = fields
    missing = sorted(set(computer.levels.values()) - specifications.keys())
    if missing:
        raise InputError(
            f"levels name {one_line(', '.join(map(repr, missing)))}, which the specification does not define;"
            f" it defines {one_line(', '.join(map(repr, specifications)))}"
        )
    # Upstream ignores a model chemistry that no level uses; its program may be missing here.
    used = set(computer.levels.values())
    programs = {level: program for level, program in programs.items() if level in used}
    specifications = {level: fields for level, fields in specifications.items() if level in used}
    for level, program in programs.items():
        if not program:
            raise InputError(f"model chemistry {quote(level)} names no program; give 'program', such as pyscf")
    embedding = _embedding(many_body_input, programs)
    keep = many_body_input.specification.protocols.cluster_results.value == "all"
    return Recipe(
        molecule=computer.molecule,
        programs=programs,
        specifications=specifications,
        keep_results=keep,
        embedding=embedding,
    )


def _embedding(many_body_input: ManyBodyInput, programs: Mapping[str, str]) -> dict[int, list[float]]:
    """Return the embedding charges by fragment; InputError for programs that take none, and for atoms without one."""
    embedding = dict(many_body_input.specification.keywords.embedding_charges or {})
    without = sorted({program for program in programs.values() if not facts_of(program).embedding})
    if embedding and without:
        able = " or ".join(name for name, facts in known_facts().items() if facts.embedding)
        raise InputError(
            f"embedding charges cannot be given to {' and '.join(without)}; leave embedding_charges out"
            + (f", or compute with {able}" if able else "")
        )
    for number, fragment in enumerate(many_body_input.molecule.fragments, start=1):
        if embedding and len(embedding.get(number, ())) != len(fragment):
            raise InputError(
                f"embedding_charges has {len(embedding.get(number, ()))} charges for fragment {number}, which has"
                f" {len(fragment)} atoms; give one for each"
            )
    return embedding


def _method(program: str, specification: Mapping[str, Any]) -> Method:
    model, driver = specification["model"], specification["driver"]
    return Method(
        program=program.lower(),
        method=str(model["method"]).lower(),
        basis=str(model.get("basis") or "").lower(),
        driver=str(getattr(driver, "value", driver)).lower(),
        keywords=json.dumps(specification.get("keywords") or {}, sort_keys=True, separators=(",", ":"), default=str),
    )
