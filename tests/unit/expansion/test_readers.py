"""What a calculation can begin with: molecules as Psi4 has them, levels of methods, what is said of doubtful input."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest
from derivatives import made_up
from qcelemental.models.v2 import Molecule

import autotune
from autotune.base.errors import InputError
from autotune.expansion.expansion import Expansion, parse_levels
from autotune.expansion.readers import many_body_fields
from autotune.expansion.summary import describe
from autotune.expansion.workload import load
from autotune.session.preparation import input_of

HF = {"program": "pyscf", "method": "hf", "basis": "sto-3g"}
ATOMS = """\
O  -1.551007  -0.114520   0.000000
H  -1.934259   0.762503   0.000000
H  -0.599677   0.040712   0.000000
{rule}
O   1.350625   0.111469   0.000000
H   1.680398  -0.373741  -0.758561
H   1.680398  -0.373741   0.758561
"""
DIMER = ATOMS.format(rule="--")
SALT = "1 1\n--\n1 1\nNa 0 0 0\n--\n0 1\nO 0 0 2.3\nH 0.8 0 2.8\nH -0.8 0 2.8\n"
RADICAL = "0 2\nO1 0 0 0\nH1 0 0 0.97\n--\n0 1\n2H 0 4 0\nH@1.00782503223 0 4.74 0\nunits angstrom\nsymmetry c1\n"


def molecule_of(text, **stated):
    expansion = Expansion(**HF, **stated)
    return load(many_body_fields(text, name="the text", expansion=expansion)).recipe.molecule


def refusal(text, **stated):
    """Return the error with which a text is refused, in one line."""
    with pytest.raises(InputError) as refused:
        molecule_of(text, **stated)
    assert "\n" not in str(refused.value)
    return refused.value


@pytest.mark.parametrize("text", ["0 1\n" + DIMER.replace("--\n", "--\n0 1\n"), SALT, RADICAL, SALT + "units bohr\n"])
def test_a_block_of_psi4_is_the_molecule_that_qcelemental_makes_of_it(text):
    # All charges and multiplicities are stated in these, so that QCElemental need not guess, nor may we.
    expected = Molecule.from_data(text, dtype="psi4", fix_com=True, fix_orientation=True)
    found = molecule_of(text)
    assert found.symbols.tolist() == expected.symbols.tolist()
    assert np.allclose(found.geometry, expected.geometry, atol=1e-8)
    assert [list(atoms) for atoms in found.fragments] == [list(atoms) for atoms in expected.fragments]
    assert list(found.fragment_charges) == list(expected.fragment_charges)
    assert list(found.fragment_multiplicities) == list(expected.fragment_multiplicities)
    assert np.allclose(found.masses, expected.masses)


IN_BOHR = """6

O 0 0 0
H 0 1.43 1.11
H 0 -1.43 1.11
O 0 0 5.6
H 0 1.43 6.71
H 0 -1.43 6.71
"""


def test_a_geometry_that_is_read_in_the_other_unit_is_suspected_beside_a_metal_too():
    suspicion = "read in bohr each has: if they are bohr, write units=bohr in line 2"
    for stated in ({}, {"fragments": "3x2"}):
        assert suspicion in "".join(refusal(IN_BOHR, **stated).__notes__)
    assert suspicion in describe(molecule_of(IN_BOHR, fragments="3x2", charges="0,0"))
    marked = describe(molecule_of(IN_BOHR.replace("6\n\n", "6\nunits=bohr\n")))
    assert "2 H2O" in marked
    assert "read in" not in marked
    angstrom = "6\nunits=bohr\n" + ATOMS.format(rule="").replace("\n\n", "\n")
    assert "the file says that its coordinates are in bohr: are they in ångström?" in describe(
        molecule_of(angstrom, fragments="3x2", charges="0,0")
    )
    with_metal = IN_BOHR.replace("6\n\n", "7\n\nNa 0 0 -4.5\n")
    assert "write units=bohr" in describe(molecule_of(with_metal, fragments="1;2-4;5-7", charges="1,0,0"))


@pytest.mark.parametrize(
    "atoms", ["S 0 0 0\nH 0 0.97 0.93\nH 0 -0.97 0.93", "I 0 0 0\nH 0 0 1.61\nHe 0 3 0", "H 0 0 0\nH 0 0 1.4\nH 0 3 0"]
)
def test_molecules_with_long_bonds_and_hydrogen_alone_are_not(atoms):
    with contextlib.suppress(InputError):
        assert "bohr" not in describe(molecule_of(f"3\n\n{atoms}\n", charges="0", fragments="3"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"charges": [0, 1]}, "charges of an expansion is [0, 1], but must be a text, as --charges takes it"),
        ({"method": None}, "method of an expansion is None, but must be a text"),
        ({"bsse": "cp"}, "bsse of an expansion is the text 'cp', but must be a tuple, such as ('cp',)"),
        ({"max_nbody": "2"}, "max_nbody of an expansion is '2', but must be a number, such as 2"),
    ],
)
def test_values_of_another_kind_are_refused_at_once(wrong, words):
    with pytest.raises(InputError) as refused:
        Expansion(**{**HF, **wrong})
    assert str(refused.value) == words


def test_what_a_block_does_not_state_is_found_as_for_an_xyz_file():
    block, xyz = (
        molecule_of(text).model_dump_json(exclude={"provenance", "extras"})
        for text in (DIMER, "6\n\n" + DIMER.replace("--\n", ""))
    )
    assert block == xyz


def test_of_the_input_of_a_psi4_calculation_the_molecule_is_read_and_the_rest_is_said_to_be_left():
    words = describe(molecule_of(f"memory 2 gb\nmolecule dimer {{\n{DIMER}}}\nset basis cc-pvdz\nenergy('mp2')\n"))
    assert words.startswith("2 fragments: 2 H2O; in all 6 atoms")
    assert "only its molecule {} was read, none of the settings around it" in words


def test_many_blocks_take_no_longer_than_their_atoms():
    # Left to guess the charges of 24 waters, QCElemental needs 4 GB of memory; of 40 it would never end.
    waters = [f"O {4 * n} 0 0\nH {4 * n + 0.76} 0.59 0\nH {4 * n - 0.76} 0.59 0" for n in range(40)]
    assert len(molecule_of("\n--\n".join(waters), max_nbody=1).fragments) == 40


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("He 0 0 0\n--\npubchem:water\n", "'pubchem:water' names atoms that are elsewhere"),
        ("O 0 0 0\nH 1 0.96\n--\nHe 0 0 9\n", "the line 'H 1 0.96' is not understood"),
        ("He 0 0 R\n--\nHe 0 0 9\nR = 1.0\n", "no Z-matrix or variables"),
        ("Gh(He) 0 0 0\n--\nHe 0 0 3\n", "atom 1 is a ghost"),
        ("0 1\n0 1\nHe 0 0 0\n--\nHe 0 0 9\n", "block 1 states charge and multiplicity twice"),
        ("He 0 0 0\n--\n--\nHe 0 0 9\n", "fragment 2 has no atoms"),
        ("He 0 0 0\n--\nQq 0 0 9\n", "the line 'Qq 0 0 9' has an unknown element 'Qq'"),
        ("He@3.5 0 0 0\n--\nHe 0 0 3\n", "atom 1 has a mass that no isotope has"),
        ("O 0 0 0\nH 0 0 0.97\n--\nHe 0 0 4\n", "has an odd number of electrons when neutral: an ion, or a radical?"),
        ("1 1\n--\n0 1\nHe 0 0 0\n--\n0 1\nHe 0 0 4\n", "the file states charge +1"),
        ("molecule a {\nHe 0 0 0\n}\nmolecule b {\nHe 0 0 0\n}\n", "has 2 molecules; keep the one to compute"),
        ("He 0 0 0\n--\nHe 0 0 0\n", "two atoms are in one place; remove a duplicate"),
    ],
)
def test_what_cannot_be_obeyed_or_may_mean_two_things_is_refused_in_one_line(text, words):
    assert words in str(refusal(text))


# --- levels -----------------------------------------------------------------------------------------------------------


def test_levels_give_what_calculations_of_each_level_would():
    text = "9\n\n" + "".join(f"O {x} 0 0\nH {x + 0.76} 0.59 0\nH {x - 0.76} 0.59 0\n" for x in (0, 4, 8))
    small, large = Expansion(**HF), Expansion(program="pyscf", method="hf", basis="6-31g")
    mixed = Expansion(program="pyscf", levels={1: "hf/6-31g", 3: "hf/sto-3g"})
    works = [load(many_body_fields(text, name="x", expansion=each)) for each in (small, large, mixed)]
    values = {
        entry.key: entry.values
        for n, work in enumerate(works[:2])
        for entry in made_up(work, names=("energy",), seed=n)
    }
    of_small, of_large, of_mixed = (
        work.assemble({task.key: values[task.key] for task in work.tasks}, {}).properties for work in works
    )
    first = of_large.nocp_corrected_total_energy_through_1_body
    assert of_mixed.nocp_corrected_total_energy_through_1_body == pytest.approx(first, abs=1e-9)
    assert of_mixed.nocp_corrected_interaction_energy == pytest.approx(
        of_small.nocp_corrected_interaction_energy, abs=1e-9
    )


def test_levels_of_other_programs_take_basis_sets_as_they_were_made():
    expansion = Expansion(program="psi4", levels=parse_levels("1=mp2/cc-pvdz,2=nwchem hf/cc-pvdz"))
    chemistries = many_body_fields(DIMER, name="x", expansion=expansion)["specification"]["specification"]
    assert {label: each["program"] for label, each in chemistries.items()} == {
        "mp2/cc-pvdz": "psi4",
        "nwchem hf/cc-pvdz": "nwchem",
    }
    assert chemistries["nwchem hf/cc-pvdz"]["keywords"] == {"basis__spherical": True}
    assert [str(method) for method in expansion.models] == ["psi4 mp2/cc-pvdz energy", "nwchem hf/cc-pvdz energy"]


def test_commas_within_basis_sets_do_not_end_a_level():
    assert parse_levels("1=ccsd(t)/6-311++g(2df,2pd), 2=hf/6-31g*,supersystem=hf/sto-3g") == {
        1: "ccsd(t)/6-311++g(2df,2pd)",
        2: "hf/6-31g*",
        "supersystem": "hf/sto-3g",
    }


@pytest.mark.parametrize("text", ["mp2/cc-pvdz", "two=hf/sto-3g", "2=", "2=hf/sto-3g,2=mp2/sto-3g", "2=hf,,3=mp2"])
def test_levels_that_cannot_be_meant_are_refused(text):
    with pytest.raises(InputError, match=r"--levels|names no method"):
        Expansion(program="pyscf", levels=parse_levels(text)).models  # noqa: B018 - methods are taken apart on demand


def test_an_expansion_has_a_method_or_levels_and_not_both():
    for stated in ({"method": "hf", "levels": {2: "hf/sto-3g"}}, {"basis": "sto-3g", "levels": {2: "hf"}}):
        with pytest.raises(InputError, match=r"leave one out|leave the basis out"):
            Expansion(program="pyscf", **stated)


# --- read -------------------------------------------------------------------------------------------------------------


def test_an_input_that_is_read_has_the_tasks_of_the_file(tmp_path):
    path = tmp_path / "dimer.dat"
    path.write_text(DIMER)
    expansion = Expansion(**HF, bsse=("cp",))
    read = autotune.read(path, expansion=expansion)
    assert type(read).__name__ == "ManyBodyInput"
    assert read.specification.keywords.bsse_type[0].value == "cp"
    assert load(read).tasks == load(input_of(path, expansion)).tasks


def test_an_input_keeps_its_schema_version_when_it_is_read(tmp_path, cluster):
    model = autotune.read(cluster("water2"))
    path = tmp_path / "v1.json"
    path.write_text(model.convert_v(1).json())
    assert autotune.read(path).schema_version == 1
    assert autotune.read(model).schema_version == 2


def test_what_cannot_be_run_cannot_be_read(cluster):
    with pytest.raises(InputError, match="max_nbody is 3"):
        autotune.read(cluster("water2", max_nbody=3))


# --- what is said of doubtful input -----------------------------------------------------------------------------------


def test_a_doublet_that_follows_from_a_charge_is_said():
    words = describe(molecule_of(DIMER, charges="1:+1"))
    assert (
        "fragment 1, H2O with charge +1, has an odd number of electrons and is computed as a doublet, as no"
        " multiplicity is stated; correct the charge, or say --multiplicities 1:2"
    ) in words
    assert "no multiplicity is stated" not in describe(molecule_of(DIMER, charges="1:+1", multiplicities="1:2"))
    assert "no multiplicity is stated" not in describe(molecule_of(SALT))


def test_a_doublet_of_a_molecule_in_json_is_said_as_well():
    stated = json.loads(molecule_of(DIMER).model_dump_json(include={"symbols", "geometry", "fragments"}))
    assert "is computed as a doublet" in describe(molecule_of(json.dumps(stated), charges="2:-1"))


@pytest.mark.parametrize(
    ("symbols", "distance", "multiplicity"),
    [
        *(("HH", 0.741, 1), ("FF", 1.412, 1), ("NN", 1.098, 1), ("OH", 0.958, 2), ("CO", 1.128, 1), ("HF", 0.917, 1)),
        *((["H", "Cl"], 1.275, 1), ("OO", 1.208, 3)),
    ],
)
def test_ordinary_bonds_are_not_doubted_and_the_same_in_the_wrong_unit_are(symbols, distance, multiplicity):
    for unit, doubted in ((1 / 0.529177, False), (1.0, True)):
        molecule = Molecule(
            symbols=[*symbols, "He"],
            geometry=[0, 0, 0, 0, 0, distance * unit, 0, 20, 0],
            fragments=[[0, 1], [2]],
            fragment_charges=[0, 0],
            fragment_multiplicities=[multiplicity, 1],
        )
        assert ("were these meant in ångström?" in describe(molecule)) == doubted


def test_a_question_about_a_molecule_that_is_too_small_names_the_unit():
    angstrom = molecule_of(DIMER).geometry.ravel() * 0.529177
    text = json.dumps({"symbols": list("OHHOHH"), "geometry": angstrom.tolist()})
    assert "coordinates in JSON are in bohr: were these meant in ångström?" in refusal(text).__notes__[0]


@pytest.mark.parametrize(("stated", "said"), [({}, True), ({"max_nbody": 6}, False)])
def test_more_tasks_than_anybody_may_have_meant_are_said_before_they_start(cluster, stated, said):
    lines = []
    fields = cluster("water8", program="faulty", method="nothing", basis="", bsse=("vmfc",), **stated)

    def stop(_):
        raise RuntimeError("nothing is computed yet")

    session = autotune.Session(autotune.Options(journal="none", tuning="none"), on_notice=lines.append, on_choice=stop)
    with session, pytest.raises(RuntimeError, match="nothing is computed yet"):
        session.run(fields)
    words = "max_nbody is not given, so all levels up to 8-body are computed: 6,305 tasks; give --max-nbody 3"
    assert any(line.startswith(words) for line in lines) == said


@pytest.mark.parametrize("expansion", [None, Expansion(program="faulty", method="nothing", basis="")])
def test_json_that_is_neither_is_not_called_an_input(expansion):
    with pytest.raises(InputError, match=r"^hello is JSON, but neither a ManyBodyInput, .* nor a QCSchema Molecule"):
        many_body_fields('{"hello": 1}', name="hello", expansion=expansion)
