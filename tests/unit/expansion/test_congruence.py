"""Components of one shape: what counts as one, and that one energy serves all that have it."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import autotune
from autotune.expansion import workload
from autotune.expansion.congruence import TOLERANCE_BOHR, are_congruent, equal_shapes
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.session import reductions
from autotune.session.session import Options, Session

WATER = np.array([[0.0, 0.0, 0.1173], [0.0, 0.7572, -0.4692], [0.0, -0.7572, -0.4692]]) / 0.529177
# No mirror image of itself.
PEROXIDE = np.array([[0.0, 0.7, 0.0], [0.0, -0.7, 0.1], [0.8, 0.9, 0.5], [-0.8, -0.9, 0.4]]) / 0.529177


def turn(seed, *, mirror=False):
    """Return axes in some orientation, as columns."""
    axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return axes * (np.linalg.det(axes) * (-1 if mirror else 1))


def made(shapes, symbols, **expansion):
    """Return the input of monomers in a row, 6 a0 apart."""
    placed = [shape + np.array([6.0 * number, 0.3 * number, 0.0]) for number, shape in enumerate(shapes)]
    size = len(symbols)
    text = f"{size * len(shapes)}\n\n" + "\n".join(
        f"{symbol} {x} {y} {z}"
        for shape in placed
        for symbol, (x, y, z) in zip(symbols, shape * 0.529177210903, strict=True)
    )
    told = {"program": "pyscf", "method": "hf", "basis": "sto-3g", "fragments": f"{size}x{len(shapes)}", **expansion}
    fields = many_body_fields(text, name="monomers", expansion=Expansion(**told))
    fields["molecule"]["geometry"] = np.concatenate(placed).ravel().tolist()
    return fields


def equal(fields):
    """Return the fragments whose energy is taken from another, and whose."""
    work = workload.load(fields)
    fragment = {task.key: task.real[0] for task in work.tasks if task.nbody == 1}
    found = reductions.find_equal(work.tasks, work.recipe, Options(reuse_equal_monomers=True))
    return {fragment[key]: fragment[other] for key, other in found.items()}


def equal_fragments(fields):
    """Return the groups of equal components, each as `real@basis`."""
    work = workload.load(fields)
    name = {task.key: "".join(map(str, task.real)) + "@" + "".join(map(str, task.basis)) for task in work.tasks}
    found = reductions.find_equal(work.tasks, work.recipe, Options(reuse_equal_fragments=True))
    groups = {}
    for key, other in found.items():
        groups.setdefault(other, {name[other]}).add(name[key])
    assert not groups.keys() & found.keys()
    return {" ".join(sorted(group)) for group in groups.values()}


def distances(positions):
    return np.linalg.norm(positions[:, None] - positions[None], axis=-1)


@pytest.fixture
def waters():
    """Return an input of four waters, of which the third has another shape."""
    stretched = WATER * np.array([1.0, 1.02, 1.0])
    return made([WATER, WATER @ turn(1), stretched @ turn(2), WATER @ turn(3)], "OHH", max_nbody=2)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), mirror=st.booleans())
def test_what_is_turned_mirrored_and_reordered_is_congruent_and_what_is_bent_is_not(seed, mirror):
    draw = np.random.default_rng(seed)
    atoms = draw.normal(size=(9, 3), scale=3.0)
    kinds = np.repeat([0, 1, 2], 3)
    order = np.concatenate([draw.permutation(3) + first for first in (0, 3, 6)])
    other = (atoms @ turn(seed, mirror=mirror) + draw.normal(size=3))[order]
    assert are_congruent(distances(atoms), distances(other), kinds)
    other[draw.integers(9)] += [1e-4, 0.0, 0.0]
    assert not are_congruent(distances(atoms), distances(other), kinds)


def test_atoms_that_all_look_alike_are_paired_by_what_lies_around_them():
    # The corners of a cube, of which every one sees the same distances.
    cube = np.array([[x, y, z] for x in (0.0, 3.0) for y in (0.0, 3.0) for z in (0.0, 3.0)])
    order = np.random.default_rng(3).permutation(8)
    assert are_congruent(distances(cube), distances((cube @ turn(1))[order]), np.zeros(8))
    # Two sets of points with equal sets of distances that do not lie on each other (Bloom, J. Comb. Theory A 22, 1977).
    one, other = ([0, 1, 4, 10, 12, 17], [0, 1, 8, 11, 13, 17])
    lines = [np.array([[float(x), 0.0, 0.0] for x in marks]) for marks in (one, other)]
    assert sorted(distances(lines[0]).ravel()) == sorted(distances(lines[1]).ravel())
    assert not are_congruent(distances(lines[0]), distances(lines[1]), np.zeros(6))


def test_mirror_images_are_equal():
    shapes = [PEROXIDE, *(PEROXIDE @ turn(n, mirror=n > 1) for n in (1, 2, 3))]
    assert equal(made(shapes, "OOHH", max_nbody=1)) == {2: 1, 3: 1, 4: 1}


def test_the_tolerance_is_what_an_atom_may_be_off():
    for share, found in ((0.4, {2: 1}), (4.0, {})):
        moved = WATER.copy()
        moved[1, 1] += share * TOLERANCE_BOHR
        assert equal(made([WATER, moved @ turn(1)], "OHH", max_nbody=1)) == found


def test_the_order_of_atoms_is_no_matter_and_their_elements_are():
    assert equal(made([WATER, WATER[[0, 2, 1]] @ turn(1)], "OHH", max_nbody=1)) == {2: 1}
    fields = made([PEROXIDE, PEROXIDE], "OOHH", max_nbody=1)
    fields["molecule"]["geometry"][12:] = (PEROXIDE[[2, 1, 3, 0]] + 8.0).ravel().tolist()
    assert equal(fields) == {}
    fields["molecule"]["symbols"][4:] = ["H", "O", "H", "O"]
    assert equal(fields) == {2: 1}


@pytest.mark.parametrize(
    ("bsse", "expected"),
    [
        ("nocp", {"12@12 23@23", "1@1 2@2 3@3"}),
        ("cp", {"12@123 23@123", "1@123 3@123"}),
        ("vmfc", {"12@12 23@23", "1@12 2@12 2@23 3@23", "1@13 3@13", "1@1 2@2 3@3"}),
    ],
)
def test_pairs_are_equal_whatever_the_order_of_their_fragments_and_ghosts_are_no_atoms(bsse, expected):
    # Parallel molecules in a row, whose ends are equal by a half turn about the one in the middle.
    fields = made([np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.7]])] * 3, "HF", bsse=(bsse,), max_nbody=2)
    assert equal_fragments(fields) == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"fragment_charges": [0.0, 1.0], "fragment_multiplicities": [1, 2], "molecular_charge": 1.0},
        {"fragment_multiplicities": [1, 3]},
        {"masses": [15.99491461957, 1.00782503223, 1.00782503223, 15.99491461957, 2.01410177812, 1.00782503223]},
    ],
    ids=["charge", "multiplicity", "isotope"],
)
def test_charge_multiplicity_and_isotopes_tell_monomers_apart(changes):
    fields = made([WATER, WATER @ turn(1)], "OHH", max_nbody=1)
    assert equal(fields) == {2: 1}
    fields["molecule"].pop("molecular_multiplicity", None)
    fields["molecule"].update(changes)
    assert equal(fields) == {}


def test_monomers_with_ghosts_grids_and_keywords_that_name_a_direction_are_computed():
    field = {"perturb_h": True, "perturb_with": "dipole", "perturb_dipole": [0, 0, 0.05]}
    for told, found in (
        ({"bsse": ("cp",)}, {}),
        ({"program": "psi4"}, {2: 1}),
        ({"program": "psi4", "keywords": field}, {}),
        ({"keywords": {"conv_tol": 1e-9}}, {2: 1}),
        ({"method": "b3lyp"}, {}),
    ):
        fields = made([WATER, WATER @ turn(1)], "OHH", max_nbody=2, **told)
        assert equal(fields) == found, told
    (said,) = reductions.plan(workload.load(fields), Options(reuse_equal_monomers=True)).list_omitted()
    assert said.words == (
        "--reuse-equal-monomers: 0 of 2 monomers take the energy of one of their shape; not with pyscf b3lyp/sto-3g"
        " energy, of which it is not known that energies turn with the molecule"
    )


def test_monomers_of_one_shape_are_found_and_the_result_is_that_of_computing_every_one(waters):
    said = []
    with Session(Options(reuse_equal_monomers=True), on_notice=said.append) as session:
        result = session.run(waters)
        assert session.record.tasks == 8
        (left_out,) = session.record.omitted
    assert equal(waters) == {2: 1, 4: 1}
    assert (left_out.option, left_out.tasks, left_out.of) == ("reuse_equal_monomers", 2, 4)
    assert "--reuse-equal-monomers: 2 of 4 monomers take the energy of one of their shape" in said
    # QCElemental rounds positions to 1e-8 a0, so the monomers are equal to that only.
    assert result.return_result == pytest.approx(autotune.run(waters).return_result, abs=5e-9)


def test_where_no_two_are_equal_all_are_computed(cluster):
    fields = cluster("water4", max_nbody=2)
    assert equal(fields) == {}
    lean = reductions.plan(workload.load(fields), Options(reuse_equal_monomers=True))
    assert lean.work.tasks == lean.whole.tasks


def test_two_triplets_are_no_triplet_of_twice_the_size():
    # Helium atoms in triplet states: a pair of them against one fragment of two atoms in one.
    pair = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
    fields = made([pair, pair], ["He", "He"], max_nbody=2, multiplicities="1:3,2:3")
    fields["molecule"]["fragments"] = [[0], [1], [2, 3]]
    fields["molecule"]["fragment_charges"] = [0.0] * 3
    fields["molecule"]["fragment_multiplicities"] = [3, 3, 3]
    for name in ("molecular_multiplicity", "molecular_charge"):
        fields["molecule"].pop(name, None)
    assert equal_fragments(fields) == {"1@1 2@2", "13@13 23@23"}


def test_large_components_are_compared_in_little_time():
    draw = np.random.default_rng(1)
    atoms = draw.normal(size=(500, 3), scale=20.0)
    order = draw.permutation(500)
    started = time.process_time()
    assert are_congruent(distances(atoms), distances((atoms @ turn(2))[order]), np.zeros(500))
    assert time.process_time() - started < 5.0


def test_components_with_all_ghosts_are_not_compared_one_with_another(cluster):
    work = workload.load(cluster("water32", bsse=("cp",), max_nbody=2))
    started = time.process_time()
    assert reductions.find_equal(work.tasks, work.recipe, Options(reuse_equal_fragments=True)) == {}
    assert time.process_time() - started < 10.0


@pytest.mark.programs("pyscf")
def test_no_number_changes_where_all_components_of_one_shape_are_computed_once():
    angle = 2 * np.pi / 3
    axes = np.array([[np.cos(angle), np.sin(angle), 0.0], [-np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    first = WATER @ turn(5) + np.array([6.0, 0.0, 0.0])
    ring = [first, first @ axes, first @ axes @ axes]
    with Session(Options(reuse_equal_fragments=True, threads=1)) as reusing, Session(Options(threads=1)) as plain:
        for bsse, computed, of in (("nocp", 3, 7), ("cp", 3, 7), ("vmfc", 7, 19)):
            fields = made(ring, "OHH", bsse=(bsse,))
            # The helper has moved them: back to the ring.
            fields["molecule"]["geometry"] = np.concatenate(ring).ravel().tolist()
            reused = reusing.run(fields)
            (said,) = reusing.record.omitted
            assert (reusing.record.tasks, said.tasks) == (computed, of - computed)
            # QCElemental rounds positions to 1e-8 a0.
            assert reused.return_result == pytest.approx(plain.run(fields).return_result, abs=1e-8)


def test_thousands_of_monomers_that_all_differ_are_compared_in_seconds():
    draw = np.random.default_rng(1)
    fields = made([WATER + draw.normal(size=(3, 3), scale=0.02) for _ in range(2000)], "OHH", max_nbody=1)
    work = workload.load(fields)
    started = time.process_time()
    assert equal_shapes(work.tasks, work.recipe, monomers=True) == {}
    assert time.process_time() - started < 2.0
