"""What the molecule of a many-body input states is obeyed or refused, whichever way the input comes."""

from __future__ import annotations

import copy
import itertools
import json

import numpy as np
import pytest
import qcengine
from places import CASES
from qcelemental.models.v2 import Molecule
from qcmanybody.models import v1, v2
from replay import assert_bit_equal, replayed

import autotune
from autotune import Options, Session
from autotune.base.errors import InputError
from autotune.compat import procedure
from autotune.expansion import workload
from autotune.expansion.component import atomic_input

CHEMISTRY = {"program": "faulty", "driver": "energy", "model": {"method": "nothing"}}
HELIUMS = {
    "symbols": ["He", "He", "He", "He"],
    "geometry": [float(10 * atom) for atom in range(4) for _ in range(3)],
    "fragments": [[0], [1], [2], [3]],
}


def case(name):
    return workload.parse_json((CASES / f"{name}.json").read_text(encoding="utf-8"), name=name)


def an_input(molecule, **keywords):
    levels = set((keywords.get("levels") or {0: "(auto)"}).values())
    return {
        "molecule": copy.deepcopy(molecule),
        "specification": {
            "driver": "energy",
            "keywords": {"bsse_type": ["nocp"], **keywords},
            "specification": {level: {**copy.deepcopy(CHEMISTRY), "keywords": {"level": level}} for level in levels},
        },
    }


def waters(**molecule):
    return an_input({**case("q_mol"), "schema_version": 3, **molecule})


def told(value, *path):
    """Return an input of which a field, wherever it is, has this value."""
    fields = waters()
    place = fields
    for name in path[:-1]:
        place = place.setdefault(name, {})
    place[path[-1]] = value
    return fields


def refusal(source):
    with pytest.raises(InputError) as caught:
        workload.load(source)
    assert "\n" not in str(caught.value)
    return str(caught.value)


WAYS = {
    "fields": lambda fields: fields,
    "model": lambda fields: v2.ManyBodyInput(**fields),
    "older model": lambda fields: v2.ManyBodyInput(**fields).convert_v(1),
    # Its molecule says of itself that it is validated, as QCElemental writes it.
    "claimed": lambda fields: json.loads(v2.ManyBodyInput(**fields).model_dump_json()),
}
RADICALS = {"fragment_charges": [1.0, 1.0], "fragment_multiplicities": [2, 2]}
WRONG = {
    "ghosts": ({"real": [True] * 3 + [False] * 3}, "field 'real' makes atom 4 a ghost"),
    "two doublets as a singlet": (
        {**RADICALS, "molecular_multiplicity": 1},
        "molecular_multiplicity is 1, but fragments of these multiplicities are computed with their spins parallel, 3",
    ),
    "two singlets as a triplet": (
        {"fragment_charges": [0, 0], "fragment_multiplicities": [1, 1], "molecular_multiplicity": 3},
        "molecular_multiplicity is 3, but fragments of these multiplicities are computed with their spins parallel, 1",
    ),
}


@pytest.fixture
def in_qcengine():
    autotune.register(options=Options(journal="none"))
    yield
    procedure.close()
    procedure.register(options=Options())


@pytest.mark.usefixtures("in_qcengine")
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", WRONG)
def test_what_would_be_left_out_without_a_word_is_refused_in_qcengine_too(name, way, capsys):
    stated, message = WRONG[name]
    assert refusal(way(waters(**stated))).startswith(message)
    assert capsys.readouterr() == ("", "")
    with pytest.raises(qcengine.exceptions.InputError, match=message):
        qcengine.compute(way(waters(**stated)), "autotune", raise_error=True)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_total_that_the_fragments_do_make_is_obeyed(way):
    work = workload.load(way(waters(**RADICALS, molecular_multiplicity=3, molecular_charge=2.0)))
    both = next(task for task in work.tasks if task.nbody == 2)
    molecule = atomic_input(work.recipe, both.level, both.real, both.basis).molecule
    assert (molecule.molecular_charge, molecule.molecular_multiplicity) == (2.0, 3)


# A molecule that says of itself that it is validated, and is not.
UNTRUE = {
    "a charge that fragments do not add up to": {"molecular_charge": 1.0},
    "an impossible multiplicity": {"fragment_multiplicities": [2, 1], "molecular_multiplicity": 2},
    "an atomic number of another element": {"atomic_numbers": [8, 1, 1, 8, 1, 2]},
    "mass numbers of other masses": {"mass_numbers": [16, 2, 2, 16, 1, 1]},
    "an unknown element": {"symbols": [*"OHHOH", "Qq"]},
    "two atoms in one place": {"geometry": [0.0] * 18},
    "a fragment's charge left out": {"fragment_charges": [0.0]},
    "fragments that lack an atom": {"fragments": [[0, 1, 2], [3, 4]]},
}


@pytest.mark.parametrize("name", UNTRUE)
def test_a_molecule_and_a_model_that_was_made_without_validation_are_not_believed_to_be_validated(name, capsys):
    refusal(waters(validated=True, **UNTRUE[name]))
    if name not in {"an unknown element", "a fragment's charge left out"}:
        model = v2.ManyBodyInput(**waters())
        molecule = Molecule(**{**model.molecule.model_dump(), **UNTRUE[name]}, validate=False)
        refusal(model.model_copy(update={"molecule": molecule}))
    assert capsys.readouterr() == ("", "")


CHEMISTRY_OF = ("specification", "specification", "(auto)")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (waters(masses=[None] * 6), "field masses has none for atom 1; give all"),
        (waters(masses=[None, 1.00782503223, *[None] * 4]), "field masses has none for atom 1; give all"),
        (
            told("sto-3g", *CHEMISTRY_OF, "model", "basiss"),
            "model of model chemistry '(auto)' has a field 'basiss', which no program reads",
        ),
        (
            told("properties", "specification", "driver"),
            "driver 'properties' has no many-body expansion; take energy, gradient, hessian",
        ),
        (
            told("all", *CHEMISTRY_OF, "protocols", "wavefunction"),
            "protocol wavefunction of model chemistry '(auto)' asks for what results",
        ),
        (case("levels_ssie"), "several levels and supersystem_ie_only do not go together"),
        (
            an_input(HELIUMS, levels={1: "low", 3: "(auto)"}, max_nbody=2),
            "max_nbody is 2, but levels go up to 3; leave max_nbody out",
        ),
        (an_input(HELIUMS, levels={"supersystem": "low"}), "levels name the supersystem alone"),
    ],
    ids=["no masses", "one mass", "model", "driver", "wavefunction", "levels", "max_nbody", "supersystem"],
)
def test_what_nobody_would_obey_is_refused_in_words(fields, message):
    assert refusal(fields).startswith(message)


@pytest.mark.parametrize(
    ("fragments", "fault"),
    [
        ([[0.0, 1, 2], [3, 4, 5]], " holds 0.0; give atoms as whole numbers, from 0"),
        ([[True, 1, 2], [3, 4, 5]], " holds True; give atoms as whole numbers, from 0"),
        ([["0", 1, 2], [3, 4, 5]], " holds '0'; give atoms as whole numbers, from 0"),
        ([[0, 1, 2], [3, 4]], ": atom 5 is in no fragment"),
        ([[0, 1, 2], [2, 3, 4, 5]], " names atom 2 twice, in fragments 1 and 2"),
        ([[0, 1, 2], [3, 4, 6]], " names atom 6, but the molecule has atoms 0 to 5"),
        ([[0, 1, 2], [-1, 3, 4]], " names atom -1, but the molecule has atoms 0 to 5"),
        ([[0, 1, 2, 3, 4, 5], []], ": fragment 2 has no atoms"),
        (["abc", [3, 4, 5]], " holds 'abc', which is no list of atoms"),
        ([0, 1, 2, 3, 4, 5], " holds 0, which is no list of atoms"),
    ],
)
def test_fragments_that_are_no_partition_of_the_atoms_are_named(fragments, fault):
    assert refusal(waters(fragments=fragments)).startswith(f"field 'fragments'{fault}")


def test_a_byte_order_mark_before_json_is_no_fault():
    assert len(workload.load(case("bom")).tasks) == 3


def test_a_field_that_is_given_twice_is_refused():
    text = '{"molecule": {}, "specification": {}, "molecule": {}}'
    with pytest.raises(InputError, match="field 'molecule' is given twice in one object"):
        workload.parse_json(text, name="input")


@pytest.mark.parametrize(
    "path",
    [
        *((), ("molecule",), ("specification",), ("specification", "keywords"), ("specification", "protocols")),
        *(CHEMISTRY_OF, (*CHEMISTRY_OF, "protocols")),
    ],
    ids=".".join,
)
@pytest.mark.parametrize("version", [1, 2])
def test_a_misspelt_field_is_refused_wherever_it_is(version, path):
    fields = {**told(1, *path, "mispelt"), "schema_version": version}
    fields["molecule"]["schema_version"] = version + 1
    assert "mispelt" in refusal(fields)


# --- levels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("charges", [{1: [0.1, 0.2, 0.3], 2: [0.1, 0.2]}, {1: [0.1, 0.2, 0.3], 3: [0.1, 0.2, 0.3]}])
def test_embedding_charges_that_atoms_lack_are_refused(monkeypatch, charges):
    monkeypatch.setenv("QCMANYBODY_EMBEDDING_CHARGES", "1")
    fields = told("psi4", *CHEMISTRY_OF, "program")
    fields["specification"]["keywords"] |= {"embedding_charges": charges, "return_total_data": True}
    count = len(charges.get(2, ()))
    assert refusal(fields).startswith(f"embedding_charges has {count} charges for fragment 2, which has 3 atoms")


def all_levels():
    yield None
    for count in (1, 2, 3):
        for bodies in itertools.combinations([1, 2, 3, 4], count):
            levels = dict(zip(bodies, "abc", strict=False))
            yield from (levels, {**levels, "supersystem": "s"})


@pytest.mark.parametrize("bsse", [["nocp"], ["cp"], ["vmfc"], ["nocp", "cp"], ["cp", "vmfc"]], ids="+".join)
def test_every_expansion_is_refused_in_words_or_has_a_result(bsse):
    """Energies of fragments that do not see each other: no interaction, whatever the expansion."""
    results = 0
    for levels, only, total, most in itertools.product(all_levels(), (False, True), (False, True), (None, 2, 4)):
        keywords = {"bsse_type": bsse, "supersystem_ie_only": only, "return_total_data": total}
        keywords |= {"levels": levels} if levels else {}
        keywords |= {"max_nbody": most} if most else {}
        try:
            work = workload.load(an_input(HELIUMS, **keywords))
        except InputError as error:
            assert len(str(error)) > 40, error  # noqa: PT017 - most are no faults
            continue
        result = work.assemble({task.key: {"energy": -2.0 * task.nbody} for task in work.tasks}, {})
        assert result.return_result == pytest.approx(-8.0 if total else 0.0)
        results += 1
    assert results > 60


# --- isotopes -------------------------------------------------------------------------------------------------------

ISOTOPES = {
    "mass numbers": {"mass_numbers": [16, 2, 2, 18, 1, 1]},
    "masses": {"masses": [15.99491461957, 2.01410177812, 1.00782503223, 17.99915961286, 1.00782503223, 1.00782503223]},
    "masses of no isotope": {"masses": [15.999, 1.008, 1.008, 15.999, 1.00782503223, 3.2]},
    "masses of usual isotopes": {"masses": [15.9949, 1.0078, 1.0078, 15.9949, 1.0078, 1.0078]},
    "labels and the rest": {
        "mass_numbers": [16, 2, 1, 16, 1, 1],
        "atom_labels": ["a", "", "b", "", "", ""],
        "identifiers": {"smiles": "O.O"},
        "extras": {"mine": 1},
        "comment": "heavy water",
        "connectivity": [[0, 1, 1.0]],
        "fix_symmetry": "c1",
        "id": "7",
        "name": "dimer",
    },
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("name", ISOTOPES)
def test_components_of_isotopes_are_upstreams_field_by_field(name, way):
    fields = waters(**ISOTOPES[name])
    fields["specification"]["keywords"]["bsse_type"] = ["cp", "nocp"]
    work = workload.load(way(fields))
    recipe = work.recipe.from_json(work.recipe.to_json())
    tasks = {label: task for task in work.tasks for label in task.labels}
    components = list(work._computer.qcmb_core.iterate_molecules())
    assert len(components) == 5
    for level, label, molecule in components:
        built = atomic_input(recipe, level, tasks[label].real, tasks[label].basis).molecule
        assert built.model_dump_json() == molecule.model_dump_json()
        assert built.model_fields_set == molecule.model_fields_set


def test_the_result_of_isotopes_is_upstreams_replay_to_the_last_bit():
    with Session() as session:
        for stated in ISOTOPES.values():
            fields = waters(**stated)
            fields["specification"]["protocols"] = {"cluster_results": "all"}
            ours = session.run(fields)
            assert_bit_equal(ours, replayed(v2.ManyBodyInput(**fields), ours))


def test_isotopes_have_keys_of_their_own():
    def keys(**molecule):
        return {task.key for task in workload.load(waters(**molecule)).tasks}

    usual, heavy = keys(), keys(mass_numbers=[16, 2, 2, 16, 1, 1])
    assert len(usual & heavy) == 1  # the fragment that is the same
    assert keys(mass_numbers=[16, 1, 1, 16, 1, 1]) == usual


def test_the_stated_frame_is_that_of_the_components():
    fields = waters(fix_com=False, fix_orientation=False)
    fields["molecule"]["geometry"] = (np.array(fields["molecule"]["geometry"]) + 3.25).tolist()
    work = workload.load(fields)
    molecule = atomic_input(work.recipe, "(auto)", (1,), (1,)).molecule
    assert molecule.geometry.ravel().tolist() == pytest.approx(fields["molecule"]["geometry"][:9], abs=1e-8)


def test_the_first_bsse_type_is_the_one_that_is_returned():
    for bsse in (["cp", "nocp"], ["nocp", "cp"]):
        work = workload.load(an_input({**HELIUMS}, bsse_type=bsse, max_nbody=2))
        values = {task.key: {"energy": -float(len(task.real)) - 0.1 * len(task.basis)} for task in work.tasks}
        result = work.assemble(values, {})
        named = getattr(result.properties, f"{bsse[0]}_corrected_interaction_energy")
        assert result.return_result == named


def test_older_models_are_those_of_the_same_version():
    work = workload.load(WAYS["older model"](waters()))
    result = work.assemble({task.key: {"energy": -1.0} for task in work.tasks}, {})
    assert isinstance(result, v1.ManyBodyResult)
