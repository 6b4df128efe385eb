"""What a ghost atom carries in each program: basis functions at a place, and nothing else; or it is refused."""

from __future__ import annotations

import numpy as np
import pytest

from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.programs import abilities
from autotune.programs.facts import known_facts

pytestmark = pytest.mark.programs("pyscf")

WATERS = (
    *(("O", 0.0, 0.0, 0.0), ("H", 0.1, -0.757, 0.587), ("H", 0.0, 0.757, 0.587)),
    *(("O", 0.1, 0.2, -2.9), ("H", 0.05, 0.1, -1.94), ("H", 0.9, 0.6, -3.2)),
)
NOBLE = (("He", 0.0, 0.0, 0.0), ("Ne", 0.1, 0.2, 2.6))
CORED = (("He", 0.0, 0.0, 0.0), ("Xe", 1.0, 0.0, 0.0))
CORED_PAIR = (("I", 0.0, 0.0, 0.0), ("I", 0.5, 0.0, 3.4))

# What makes numbers of different programs comparable.
TIGHT = {
    "pyscf": {},
    "psi4": {"scf_type": "pk", "e_convergence": 1e-10, "d_convergence": 1e-8},
    "nwchem": {"scf__thresh": 1e-7},
}
FINE = {
    "pyscf": {"grid_level": 6},
    "psi4": {**TIGHT["psi4"], "dft_radial_points": 99, "dft_spherical_points": 590},
    "nwchem": {"dft__grid": "xfine"},
}
PROGRAMS = [pytest.param(name, marks=pytest.mark.programs(name)) for name in TIGHT]
OURS = [pytest.param(name, marks=pytest.mark.programs(name)) for name in ("pyscf", "psi4")]


@pytest.fixture(scope="module")
def first(session, expansion):
    """Return a function that computes the first fragment of two, alone or among the ghosts of the second."""

    def compute(atoms, *, ghosts, masses=(), **chosen):
        bsse = ("cp",) if ghosts else ("nocp",)
        half = len(atoms) // 2
        fields = expansion(atoms, bsse=bsse, fragments=f"{half},{half}", max_nbody=2, **chosen)
        if masses:
            fields["molecule"]["masses"] = list(masses)
        work = workload.load(fields)
        (label,) = [task.labels[0] for task in work.tasks if task.real == (1,) and (len(task.basis) == 2) == ghosts]
        return session.components(work, labels=[label])[label]

    return compute


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_ghost_brings_its_functions_and_neither_electrons_nor_a_charge(first, program):
    chosen = {"program": program, "method": "hf", "basis": "6-31g*", "keywords": TIGHT[program]}
    alone, among = (first(WATERS, ghosts=ghosts, **chosen).properties for ghosts in (False, True))
    assert (alone.calcinfo_nbasis, among.calcinfo_nbasis) == (19, 38)
    assert (among.calcinfo_nalpha, among.calcinfo_nbeta) == (alone.calcinfo_nalpha, alone.calcinfo_nbeta) == (5, 5)
    assert among.nuclear_repulsion_energy == pytest.approx(alone.nuclear_repulsion_energy, abs=1e-8)
    assert among.return_energy < alone.return_energy - 1e-4


@pytest.mark.programs("pyscf", "psi4", "nwchem")
@pytest.mark.parametrize(("method", "keywords", "allowed"), [("hf", TIGHT, 1e-8), ("b3lyp", FINE, 1e-6)])
def test_programs_agree_on_an_atom_beside_a_ghost(first, method, keywords, allowed):
    chosen = {"method": method, "basis": "6-31g*", "ghosts": True}
    energies = [first(NOBLE, program=each, keywords=keywords[each], **chosen).return_result for each in TIGHT]
    assert energies == pytest.approx([energies[0]] * 3, abs=allowed)


@pytest.mark.programs("psi4", "pyscf")
def test_grid_points_on_ghosts_change_less_than_the_default_grids_do(first):
    # Psi4 puts them there, our PySCF does not.
    chosen = {"method": "b3lyp", "basis": "6-31g*", "ghosts": True}
    ghostly = first(NOBLE, program="psi4", keywords={"scf_type": "pk"}, **chosen).return_result
    bare = first(NOBLE, program="pyscf", **chosen).return_result
    assert ghostly == pytest.approx(bare, abs=2e-6)


@pytest.mark.parametrize("program", OURS)
def test_a_ghost_carries_no_core_potential(first, program):
    # Expected in Psi4's issue 1968: -2.855863 Eh, where its ghost with a potential gave -2.818142.
    chosen = {"program": program, "basis": "def2-svp", "keywords": TIGHT[program], "ghosts": True}
    assert first(CORED, method="hf", **chosen).return_result == pytest.approx(-2.855863, abs=1e-6)


@pytest.mark.programs("psi4", "pyscf")
@pytest.mark.parametrize(
    ("chosen", "psi4_keywords", "pyscf_keywords", "allowed"),
    [
        ({"method": "mp2"}, {"mp2_type": "conv"}, {}, 1e-8),
        ({"method": "b3lyp"}, FINE["psi4"], FINE["pyscf"], 1e-6),
        ({"method": "hf"}, {"scf_type": "df"}, {"density_fit": True}, 1e-8),
        ({"method": "hf", "driver": "gradient"}, {}, {}, 1e-6),
    ],
    ids=["MP2", "DFT", "fitted densities", "gradient"],
)
def test_nothing_is_left_of_a_ghosts_core_potential_in_psi4(first, chosen, psi4_keywords, pyscf_keywords, allowed):
    ours, theirs = (
        first(CORED, ghosts=True, basis="def2-svp", program=program, keywords=keywords, **chosen).return_result
        for program, keywords in (("psi4", {**TIGHT["psi4"], **psi4_keywords}), ("pyscf", pyscf_keywords))
    )
    assert np.abs(np.asarray(ours) - np.asarray(theirs)).max() < allowed


@pytest.mark.programs("psi4", "pyscf")
def test_an_atom_keeps_its_core_potential_beside_a_ghost_of_the_same_element(first):
    chosen = {"method": "mp2", "basis": "def2-svp", "ghosts": True, "charges": "-1,-1"}
    keywords = {**TIGHT["psi4"], "mp2_type": "conv", "freeze_core": True}
    ours = first(CORED_PAIR, program="psi4", keywords=keywords, **chosen)
    theirs = first(CORED_PAIR, program="pyscf", keywords={"frozen_core": True}, **chosen)
    assert ours.return_result == pytest.approx(theirs.return_result, abs=1e-8)


@pytest.mark.programs("psi4")
def test_a_ghost_has_no_dispersion_in_psi4(first):
    chosen = {"program": "psi4", "method": "b97-d", "basis": "sto-3g", "ghosts": True}
    assert first(NOBLE, **chosen).extras["qcvars"]["DISPERSION CORRECTION ENERGY"] == 0.0


@pytest.mark.programs("nwchem")
def test_a_ghost_has_no_dispersion_in_nwchem(first):
    chosen = {"program": "nwchem", "method": "b3lyp", "basis": "sto-3g", "ghosts": True}
    plain, corrected = (
        first(NOBLE, keywords=keywords, **chosen).return_result for keywords in ({}, {"dft__disp__vdw": 3})
    )
    assert corrected == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize("program", OURS)
def test_the_mass_of_a_ghost_changes_nothing(first, program):
    chosen = {"program": program, "method": "hf", "basis": "sto-3g", "keywords": TIGHT[program], "ghosts": True}
    usual, heavy = (first(NOBLE, masses=masses, **chosen).return_result for masses in ((), (4.00260325, 21.99138511)))
    assert heavy == pytest.approx(usual, abs=1e-10)


@pytest.mark.parametrize("program", sorted(name for name, facts in known_facts().items() if not facts.ghosts))
def test_programs_that_take_ghosts_for_real_atoms_are_refused_before_the_run(expansion, program):
    work = workload.load(expansion(NOBLE, program=program, method="any", bsse=("cp",), fragments="1,1"))
    words = "fragments with ghost atoms, which bsse cp and vmfc need; use nocp, or another program"
    with pytest.raises(InputError, match=f"^{program} cannot compute {words}$"):
        abilities.check_ghosts(work.tasks)
