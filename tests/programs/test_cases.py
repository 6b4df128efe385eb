"""Inputs whose energy once was that of something else, from the file to the number, with PySCF."""

from __future__ import annotations

import pytest
from places import CASES

from autotune.expansion.readers import Expansion, many_body_fields, read_text

pytestmark = pytest.mark.programs("pyscf")


def energies(session, name, **options):
    """Return the total and the interaction energy (Eh) of a case at HF/6-31G."""
    text, source = read_text(str(CASES / f"{name}.xyz"))
    expansion = Expansion(program="pyscf", method="hf", basis="6-31g", **options)
    result = session.run(many_body_fields(text, name=source, expansion=expansion))
    return result.properties.nocp_corrected_total_energy, result.properties.nocp_corrected_interaction_energy


def hartree_fock(atoms, *, charge=0, unpaired=0):
    """Return the HF/6-31G energy (Eh) of some atoms by PySCF itself."""
    from pyscf import gto, scf

    molecule = gto.M(atom=atoms, basis="6-31g", charge=charge, spin=unpaired, verbose=0)
    return scf.HF(molecule).run(conv_tol=1e-10).e_tot


def rows(name, first, last):
    return "\n".join((CASES / f"{name}.xyz").read_text().splitlines()[1 + first : 2 + last])


def test_oxalate_has_the_charge_that_the_file_states(session):
    _, interaction = energies(session, "oxalate_w")
    assert interaction == pytest.approx(-0.0587969, abs=2e-7)  # PySCF of both fragments and the complex
    parts = hartree_fock(rows("oxalate_w", 1, 3)) + hartree_fock(rows("oxalate_w", 4, 9), charge=-2)
    assert interaction == pytest.approx(hartree_fock(rows("oxalate_w", 1, 9), charge=-2) - parts, abs=1e-7)


def test_sulphate_has_the_charge_that_the_comment_states_of_all_atoms(session):
    total, interaction = energies(session, "so4_w1")
    assert (total, interaction) == (pytest.approx(-772.42238, abs=1e-5), pytest.approx(-0.0475, abs=5e-5))
    assert total == pytest.approx(hartree_fock(rows("so4_w1", 1, 8), charge=-2), abs=1e-7)


def test_two_beryllium_atoms_of_charge_0_together_are_atoms(session):
    total, interaction = energies(session, "be2")
    assert (total, interaction) == (pytest.approx(-29.12108, abs=1e-5), pytest.approx(0.0124483, abs=2e-7))
    assert total == pytest.approx(hartree_fock(rows("be2", 1, 2)), abs=1e-7)


def test_oxygen_stated_as_a_triplet_has_its_ground_states_energy(session):
    total, interaction = energies(session, "o2w", multiplicities="1:3")
    assert (total, interaction) == (pytest.approx(-225.53021, abs=1e-5), pytest.approx(-0.00092, abs=1e-5))
    assert total == pytest.approx(hartree_fock(rows("o2w", 1, 5), unpaired=2), abs=1e-7)


def test_freeze_codes_that_the_file_names_leave_the_positions_as_they_are_meant(session):
    text = (CASES / "freeze_code.xyz").read_text().replace("freeze codes", "Properties=species:S:1:freeze:I:1:pos:R:3")
    expansion = Expansion(program="pyscf", method="hf", basis="sto-3g")
    result = session.run(many_body_fields(text, name="freeze_code", expansion=expansion))
    assert result.properties.nocp_corrected_interaction_energy == pytest.approx(0.0038943, abs=2e-7)


def test_an_extended_xyz_file_in_its_usual_spelling_gives_the_energy_of_the_plain_one(session):
    text, _ = read_text(str(CASES / "ext_quoted.xyz"))
    lines = text.split("\n")
    plain = "\n".join([lines[0], "", *lines[2:]])
    expansion = Expansion(program="pyscf", method="hf", basis="sto-3g")
    results = [session.run(many_body_fields(each, name="water", expansion=expansion)) for each in (text, plain)]
    both = [result.properties.nocp_corrected_total_energy for result in results]
    assert both[0] == both[1]


def test_molecules_that_the_cell_cut_give_their_energy_once_they_are_whole(session):
    lines = (CASES / "co2_pbc.xyz").read_text().replace("O 5.34", "O -0.66").splitlines()
    expansion = Expansion(program="pyscf", method="hf", basis="6-31g", max_nbody=2)
    result = session.run(many_body_fields("\n".join(lines), name="co2", expansion=expansion))
    assert result.properties.nocp_corrected_total_energy == pytest.approx(
        -375.02967, abs=1e-5
    )  # PySCF, two whole molecules


def test_heavy_water_has_the_energy_of_water_and_the_masses_of_its_isotopes(session):
    text = (CASES / "w2_cs.xyz").read_text()
    expansion = Expansion(program="pyscf", method="hf", basis="sto-3g")
    light, heavy = (
        session.run(many_body_fields(each, name="water", expansion=expansion))
        for each in (text, text.replace("\nH ", "\nD "))
    )
    assert heavy.properties.nocp_corrected_total_energy == light.properties.nocp_corrected_total_energy
    assert heavy.molecule.masses[1] == pytest.approx(2.0141018)  # AME 2012
