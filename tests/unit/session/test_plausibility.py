"""Doubts about results: what physics does not allow is named, what it allows is not."""

from __future__ import annotations

import math

import pytest

from autotune.expansion import workload
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.session.plausibility import implausible

KCAL = 1.0 / 627.5095


def atoms_of(*fragments):
    """Return an XYZ text of fragments, each a list of symbol and position (Å)."""
    atoms = [atom for fragment in fragments for atom in fragment]
    return "\n".join([str(len(atoms)), "", *(f"{symbol} {x} {y} {z}" for symbol, x, y, z in atoms)])


def helium(x):
    return [("He", x, 0.0, 0.0)]


def water(x):
    return [("O", x, 0.0, 0.0), ("H", x, -0.757, 0.587), ("H", x, 0.757, 0.587)]


def doubts(text, terms, *, monomers=None, **expansion):
    """Return the doubts about a workload whose n-body terms are these (kcal/mol, by fragments), 0 elsewhere."""
    given = {"program": "pyscf", "method": "hf", "basis": "sto-3g", **expansion}
    work = workload.load(many_body_fields(text, name="cluster", expansion=Expansion(**given)))
    values = {}
    for task in work.tasks:
        below = [term for of, term in terms.items() if set(of) <= set(task.real)]
        alone = sum((monomers or {}).get(fragment, -10.0) for fragment in task.real)
        values[task.key] = {"energy": alone + KCAL * math.fsum(below)}
    return implausible(work.tasks, work.recipe, values)


def test_nothing_is_said_of_a_cluster_with_ordinary_terms():
    text = atoms_of(water(0.0), water(2.9), water(5.8))
    assert doubts(text, {(1, 2): -5.0, (2, 3): -5.0, (1, 3): -0.6, (1, 2, 3): -1.5}) == ()


def test_a_large_term_of_fragments_that_do_not_touch_is_named_with_its_distance_and_what_to_try():
    (doubt,) = doubts(atoms_of(water(0.0), water(6.0)), {(1, 2): 79.0})
    assert doubt.startswith("doubtful: the 2-body term of fragments 1+2 +79.0 kcal/mol at 6.0 Å: ")
    assert "stability analysis" in doubt


def test_ions_may_attract_each_other_as_charges_do():
    ions = atoms_of([("Na", 0.0, 0.0, 0.0)], [("Cl", 6.0, 0.0, 0.0)])
    assert doubts(ions, {(1, 2): -55.0}) == ()
    assert len(doubts(ions, {(1, 2): -155.0})) == 1


def test_a_strong_hydrogen_bond_is_no_reason_for_doubt():
    assert doubts(atoms_of(water(0.0), water(2.4)), {(1, 2): -30.0}) == ()


def test_a_bond_that_was_cut_between_fragments_is_no_reason_for_doubt():
    methyls = [
        [("C", x, 0.0, 0.0), *(("H", x - sign * 0.4, y, z) for y, z in ((1.0, 0), (-0.5, 0.9), (-0.5, -0.9)))]
        for x, sign in ((0.0, 1), (1.5, -1))
    ]
    text = atoms_of(*methyls)
    assert doubts(text, {(1, 2): -110.0}, fragments="4,4", multiplicities="2,2") == ()


def test_a_term_that_grows_with_distance_is_named():
    text = atoms_of(helium(0.0), helium(3.0), helium(9.0))
    (doubt,) = doubts(text, {(1, 2): -0.1, (2, 3): 8.0}, max_nbody=2)
    assert "fragments 2+3 +8.0 kcal/mol at 6.0 Å: more than that of all nearer pairs" in doubt


def test_a_three_body_term_larger_than_its_pairs_is_named():
    text = atoms_of(helium(0.0), helium(3.0), helium(6.0))
    (doubt,) = doubts(text, {(1, 2): -0.1, (2, 3): -0.1, (1, 2, 3): 9.0})
    assert "fragments 1+2+3 +9.0 kcal/mol where parts have 0.1 kcal/mol" in doubt


@pytest.mark.parametrize("bsse", ["cp", "vmfc"])
def test_a_wrong_term_is_found_in_the_basis_of_ghosts_too(bsse):
    found = doubts(atoms_of(water(0.0), water(6.0)), {(1, 2): 79.0}, bsse=(bsse,))
    assert len(found) == 1


def test_equal_molecules_with_different_energies_are_named():
    text = atoms_of(water(0.0), water(8.0))
    (doubt,) = doubts(text, {}, monomers={1: -76.0, 2: -75.9})
    assert "fragments 1 and 2 (1.0e-01 Eh)" in doubt


def test_more_than_three_doubts_of_a_kind_are_one_line_with_the_worst_first():
    text = atoms_of(*(helium(6.0 * place) for place in range(5)))
    terms = {(place, place + 1): 20.0 + place for place in range(1, 5)}
    (doubt,) = doubts(text, terms, max_nbody=2)
    assert doubt.startswith("doubtful: the 2-body term of fragments 4+5 +24.0 kcal/mol")
    assert ", and 1 more: " in doubt


def test_programs_that_differ_for_the_same_method_are_named():
    text = atoms_of(water(0.0), water(6.0))
    fields = many_body_fields(text, name="two", expansion=Expansion(program="pyscf", method="hf", basis="cc-pvdz"))
    chemistry = fields["specification"]["specification"].pop("(auto)")
    fields["specification"]["specification"] = {"a": chemistry, "b": {**chemistry, "program": "nwchem"}}
    fields["specification"]["keywords"] |= {"levels": {1: "a", 2: "b"}, "max_nbody": 2}
    work = workload.load(fields)
    # A water molecule in spherical and, as NWChem takes it unless told otherwise, in Cartesian functions.
    energies = {"pyscf": -76.026768, "nwchem": -76.027111}
    values = {task.key: {"energy": task.nbody * energies[task.method.program]} for task in work.tasks}
    (doubt,) = implausible(work.tasks, work.recipe, values)
    assert "by pyscf and nwchem (3.4e-04 Eh)" in doubt
    agreeing = {task.key: {"energy": -76.026768 * task.nbody} for task in work.tasks}
    assert implausible(work.tasks, work.recipe, agreeing) == ()
