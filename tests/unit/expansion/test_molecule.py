"""A QCSchema Molecule with options is taken like an XYZ file; what it states of itself goes before what is found."""

from __future__ import annotations

import json

import numpy as np
import pytest
from places import CASES
from qcelemental import constants
from qcelemental.models import v1, v2

from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields

WATERS = json.loads((CASES / "q_mol.json").read_text())
SCATTERED = json.loads((CASES / "noncontiguous.json").read_text())["molecule"]
# Water between sodium and chloride, in bohr.
SALT = {"symbols": [*"OHH", "Na", "Cl"], "geometry": [*WATERS["geometry"][:9], 0, 0, 5.0, 0, 0, -6.0]}
RADICAL = {"symbols": [*"OHO", "H", "H"], "geometry": [0, 0, 0, 0, 0, 1.85, *WATERS["geometry"][9:]]}


def changed(molecule, **fields):
    """Return a molecule with these fields; None leaves one out."""
    return {name: value for name, value in {**molecule, **fields}.items() if value is not None}


def taken(molecule, **options):
    expansion = Expansion(program="faulty", method="nothing", **options)
    return many_body_fields(json.dumps(molecule), name="mine.json", expansion=expansion)


def stated(molecule, **options):
    """Return fragments, charges and multiplicities of what is computed."""
    fields = taken(molecule, **options)
    workload.load(fields)
    names = ("fragments", "fragment_charges", "fragment_multiplicities")
    return tuple(fields["molecule"][name] for name in names)


TWO, ALONE = [[0, 1, 2], [3, 4, 5]], None


@pytest.mark.parametrize("fragments", [TWO, ALONE])
@pytest.mark.parametrize("made", ["as it is", "v1", "v2"])
def test_a_molecule_is_taken_with_its_fragments_or_those_of_its_bonds(fragments, made):
    molecule = changed(WATERS, fragments=fragments)
    if made == "v1":
        molecule = json.loads(v1.Molecule(**molecule).json())
    elif made == "v2":
        molecule = json.loads(v2.Molecule(**{**molecule, "schema_version": 3}).model_dump_json())
    assert stated(molecule) == (TWO, [0, 0], [1, 1])


def test_it_is_the_input_that_an_xyz_file_of_the_same_molecule_gives():
    angstrom = np.reshape(WATERS["geometry"], (-1, 3)) * constants.bohr2angstroms
    lines = [f"{s} {x:.15f} {y:.15f} {z:.15f}" for s, (x, y, z) in zip(WATERS["symbols"], angstrom, strict=True)]
    chemistry = {"program": "pyscf", "method": "hf", "basis": "cc-pvdz", "keywords": {"conv_tol": 1e-9}}
    expansion = Expansion(driver="gradient", bsse=("cp", "nocp"), max_nbody=2, **chemistry)
    ours = many_body_fields(json.dumps(WATERS), name="m", expansion=expansion)
    xyz = many_body_fields("\n".join(["6", "", *lines]), name="x", expansion=expansion)
    assert ours["specification"] == xyz["specification"]
    assert ours["molecule"]["symbols"] == xyz["molecule"]["symbols"]
    assert ours["molecule"]["geometry"] == pytest.approx(xyz["molecule"]["geometry"], abs=1e-9)


@pytest.mark.parametrize("fragments", [SCATTERED["fragments"], ALONE])
def test_scattered_fragments_keep_the_order_of_the_molecule(fragments):
    molecule = changed(SCATTERED, fragments=fragments)
    assert stated(molecule) == ([[0, 2, 4], [1, 3, 5]], [0, 0], [1, 1])
    assert taken(molecule)["molecule"]["symbols"] == SCATTERED["symbols"]


def test_what_nobody_states_is_found_as_for_an_xyz_file_and_fragments_may_be_given():
    assert stated(SALT) == ([[0, 1, 2], [3], [4]], [0, 1, -1], [1, 1, 1])
    assert stated(changed(WATERS, fragments=None), fragments="1-3;4-6")[0] == TWO


@pytest.mark.parametrize(
    ("molecule", "options", "charges", "multiplicities"),
    [
        (changed(WATERS, fragment_charges=[1.0, -1.0]), {}, [1, -1], [2, 2]),
        (changed(WATERS, fragment_multiplicities=[3, 1], molecular_multiplicity=3), {}, [0, 0], [3, 1]),
        (changed(WATERS, fragment_charges=[1, -1]), {"charges": "0,0"}, [0, 0], [1, 1]),
        (changed(WATERS, molecular_charge=0), {"charges": "1:2"}, [2, 0], [1, 1]),
        (changed(WATERS, molecular_multiplicity=1), {"multiplicities": "2:3"}, [0, 0], [1, 3]),
        (changed(RADICAL), {"multiplicities": "1:2"}, [0, 0], [2, 1]),
        (changed(RADICAL, molecular_charge=-1), {"charges": "1:-1"}, [-1, 0], [1, 1]),
    ],
)
def test_options_go_before_the_molecule_and_the_molecule_before_guesses(molecule, options, charges, multiplicities):
    assert stated(molecule, **options)[1:] == (charges, multiplicities)


def test_what_else_it_states_comes_along():
    extra = {"name": "dimer", "comment": "c", "mass_numbers": [16, 2, 2, 16, 1, 1], "extras": {"mine": 1}, "id": "7"}
    molecule = workload.load(taken(changed(WATERS, **extra))).recipe.molecule
    assert (molecule.name, molecule.comment, molecule.extras, molecule.id) == ("dimer", "c", {"mine": 1}, "7")
    assert molecule.mass_numbers.tolist() == extra["mass_numbers"]


ATOMS_ONCE = "mine.json: field fragments must hold each atom once"
WHOLE_CHARGES = "field fragment_charges must hold a whole number for each of the 2"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"molecular_charge": -1}, "mine.json: the Molecule states charge -1, but 2 H2O (0) together have 0"),
        (
            {"molecular_multiplicity": 3},
            "mine.json: the Molecule states multiplicity 3, but the fragments together have 1",
        ),
        (
            {"fragment_charges": [0, 0], "molecular_charge": 1},
            "fragment_charges add up to +0 but molecular_charge is +1",
        ),
        (
            {"fragment_multiplicities": [1, 1], "molecular_multiplicity": 3},
            "molecular_multiplicity is 3, but fragments of these multiplicities",
        ),
        (
            {**RADICAL, "fragments": None},
            "fragment 1 (O H) has an odd number of electrons when neutral: an ion, or a radical?",
        ),
        ({"real": [True] * 5 + [False]}, "field 'real' makes atom 6 a ghost"),
        ({"fragmnts": TWO}, "the many-body input is not valid: field molecule.fragmnts"),
        ({"fragments": [[0.0, 1, 2], [3, 4, 5]]}, ATOMS_ONCE),
        ({"fragments": [[0, 1], [3, 4, 5]]}, ATOMS_ONCE),
        ({"fragment_charges": [0.5, -0.5]}, WHOLE_CHARGES),
        ({"fragment_charges": [0]}, WHOLE_CHARGES),
        ({"symbols": [*"OHHOH", "Qq"]}, "field symbols holds 'Qq', which is no element"),
        ({"symbols": 7}, "field symbols is not a list of element symbols"),
        ({"geometry": [0.0] * 18}, "atoms 1 (O) and 2 (H) overlap: 0.000 Å apart"),
        (
            {"fragments": None, "connectivity": [[0, 1, 1.0], [0, 2, 1.0], [3, 4, 1.0]]},
            "mine.json: its field connectivity makes other fragments than the distances of its atoms",
        ),
        ({"fragments": None, "connectivity": [7]}, "field connectivity holds [7]; give pairs of atoms"),
        ({}, "mine.json states its own fragments; leave out --fragments, or that field"),
    ],
)
def test_what_cannot_be_obeyed_is_refused_in_one_line(changes, message):
    options = {} if changes else {"fragments": "3,3"}
    with pytest.raises(InputError) as caught:
        stated(changed(WATERS, **changes), **options)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
