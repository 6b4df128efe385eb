"""Atoms keep the order of the input, wherever their fragments are; upstream sees the fragments in blocks."""

from __future__ import annotations

import copy
import json
import random
from itertools import pairwise

import numpy as np
import pytest
from derivatives import DERIVATIVES, EXPANSIONS, UNEVEN, expanded, kept, made_up
from hypothesis import given, settings
from hypothesis import strategies as st
from qcmanybody.models import v1, v2

from autotune import Session
from autotune.base.errors import InputError
from autotune.compat.manybody_core import core_of
from autotune.expansion import assembly, workload

OF_ATOMS = {"symbols": 1, "geometry": 3, "mass_numbers": 1}
# Isotopes and bonds, so that each atom can be told from its like.
BLOCKS = {
    **UNEVEN,
    "mass_numbers": [4, 18, 1, 2, 12, 16, 1, 1, 2, 1, 3, 1],
    "connectivity": [[1, 2, 1.0], [4, 5, 1.0], [10, 11, 1.0]],
    "fragment_charges": [0.0, 0.0, 0.0, 0.0],
    "fragment_multiplicities": [1, 1, 1, 1],
}


def scattered(blocks, order):
    """Return the molecule whose atom `i` is atom `order[i]` of one with its fragments in blocks."""
    place = {atom: new for new, atom in enumerate(order)}
    molecule = copy.deepcopy(blocks)
    for name, width in OF_ATOMS.items():
        if name in blocks:
            rows = [blocks[name][width * atom : width * (atom + 1)] for atom in order]
            molecule[name] = [value for row in rows for value in row]
    molecule["fragments"] = [[place[atom] for atom in fragment] for fragment in blocks["fragments"]]
    if "connectivity" in blocks:
        molecule["connectivity"] = [[place[a], place[b], bond] for a, b, bond in blocks["connectivity"]]
    return molecule


def shuffled(natom, seed=1):
    order = list(range(natom))
    random.Random(seed).shuffle(order)
    return order


def shuffled_input(driver, **keywords):
    return expanded(keywords, driver, scattered(BLOCKS, shuffled(12)))


def results(keywords, driver, order, blocks=BLOCKS):
    """Return the result of a scattered molecule and that of its blocks, from the same values of components."""
    inside = workload.load(expanded(keywords, driver, blocks))
    work = workload.load(expanded(keywords, driver, scattered(blocks, order)))
    assert [task.key for task in work.tasks] == [task.key for task in inside.tasks]
    values = kept(made_up(inside, names=DERIVATIVES[driver]))
    return work.assemble(values, {}), inside.assemble(values, {})


def arrays(result):
    """Return everything in a result that has the shape of the whole system, by name."""
    named = [("properties", result.properties), *result.cluster_properties.items()]
    found = {f"{label} {name}": value for label, properties in named for name, value in properties}
    found["return_result"] = result.return_result
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}


def rows(array, order):
    """Return a gradient or Hessian with the rows, and columns, of these atoms."""
    natom = len(order)
    if array.size == 3 * natom:
        return array.reshape(natom, 3)[order]
    return array.reshape(natom, 3, natom, 3)[order][:, :, order]


@pytest.mark.parametrize("driver", DERIVATIVES)
@pytest.mark.parametrize("name", ["nocp", "all at once", "supersystem"])
def test_every_array_of_the_whole_system_is_in_the_order_of_the_input(name, driver):
    order = shuffled(12)
    ours, blocks = results({**EXPANSIONS[name], "return_total_data": True}, driver, order)
    expected, found = arrays(blocks), arrays(ours)
    assert found.keys() == expected.keys()
    assert len(found) > 10
    for what, array in found.items():
        assert array.shape == expected[what].shape
        assert rows(array, list(range(12))).tobytes() == rows(expected[what], order).tobytes(), what


@given(seed=st.integers(0, 2**32), sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4))
@settings(max_examples=20, deadline=None)
def test_so_is_that_of_any_fragments(seed, sizes):
    ends = np.cumsum([0, *sizes]).tolist()
    geometry = [float(20 * atom) for atom in range(ends[-1]) for _ in range(3)]
    fragments = [list(range(a, b)) for a, b in pairwise(ends)]
    blocks = {"symbols": ["He"] * ends[-1], "geometry": geometry, "fragments": fragments}
    order = shuffled(ends[-1], seed)
    ours, inside = results({"bsse_type": ["nocp"], "max_nbody": 2}, "gradient", order, blocks)
    assert np.array_equal(ours.return_result, inside.return_result[order])


def test_energies_and_tables_are_those_of_the_blocks_and_molecules_that_of_the_input():
    order = shuffled(12)
    ours, blocks = results({"bsse_type": ["nocp", "cp"], "max_nbody": 2}, "gradient", order)
    for name, value in blocks.properties:
        if isinstance(value, (int, float)):
            assert getattr(ours.properties, name) == value
    assert ours.stdout == blocks.stdout
    stated = scattered(BLOCKS, order)
    for molecule in (ours.molecule, ours.input_data.molecule):
        assert molecule.symbols.tolist() == stated["symbols"]
        assert molecule.geometry.ravel().tolist() == stated["geometry"]
        assert molecule.mass_numbers.tolist() == stated["mass_numbers"]
        assert [fragment.tolist() for fragment in molecule.fragments] == stated["fragments"]
        assert [list(bond) for bond in molecule.connectivity] == stated["connectivity"]
        assert molecule.real.all()


def test_fragments_in_another_order_than_their_atoms_are_taken_as_they_are_numbered():
    order = [9, 10, 11, *range(9)]
    waters = {**UNEVEN, "symbols": [*"OHH"] * 4, "fragments": [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]}
    ours, blocks = results({"bsse_type": ["nocp"], "max_nbody": 2}, "gradient", order, waters)
    assert [fragment.tolist() for fragment in ours.molecule.fragments] == [[3, 4, 5], [6, 7, 8], [9, 10, 11], [0, 1, 2]]
    assert np.array_equal(ours.return_result, blocks.return_result[order])


@pytest.mark.parametrize("version", [1, 2])
def test_a_result_and_its_input_are_read_again_from_their_own_json(version, capsys):
    models = {1: v1, 2: v2}[version]
    fields = shuffled_input("hessian", bsse_type=["cp"], max_nbody=2)
    first = workload.load(fields)
    model = first._input.convert_v(version)
    work = workload.load(model)
    result = work.assemble(kept(made_up(work, names=DERIVATIVES["hessian"])), {})
    assert isinstance(result, models.ManyBodyResult)

    def as_text(one):
        return one.json() if version == 1 else one.model_dump_json()

    again = models.ManyBodyResult(**json.loads(as_text(result)))
    assert as_text(again) == as_text(result)
    assert again.input_data.molecule.symbols.tolist() == fields["molecule"]["symbols"]
    assert np.array_equal(np.ravel(again.return_result), np.ravel(result.return_result))
    for source in (model, json.loads(as_text(model))):
        again = workload.load(source)
        assert again.schema_version == version
        assert [task.key for task in again.tasks] == [task.key for task in first.tasks]
        assert again._order == first._order
    assert capsys.readouterr() == ("", "")


def test_a_v1_file_with_scattered_fragments_is_read():
    fields = shuffled_input("gradient", bsse_type=["nocp"], max_nbody=1)
    fields["molecule"] |= {"schema_name": "qcschema_molecule", "schema_version": 2}
    work = workload.load({**fields, "schema_name": "qcschema_manybodyinput", "schema_version": 1})
    assert work.schema_version == 1
    assert work._order is not None


def test_what_stands_in_blocks_is_upstreams_own_result_untouched(monkeypatch):
    work = workload.load(expanded({"bsse_type": ["nocp"], "max_nbody": 2}, "gradient", BLOCKS))
    made, upstream = [], assembly.assemble
    monkeypatch.setattr(assembly, "assemble", lambda *arguments: made.append(upstream(*arguments)) or made[-1])
    result = work.assemble(kept(made_up(work, names=DERIVATIVES["gradient"])), {})
    assert result is made[0]
    assert work.recipe.molecule is work._input.molecule


def test_components_keep_molecules_of_their_own():
    fields = shuffled_input("energy", bsse_type=["nocp"], max_nbody=1)
    fields["specification"]["specification"]["(auto)"]["keywords"] = {}
    with Session() as session:
        found = session.components(fields)
    assert {"".join(sorted(one.molecule.symbols)) for one in found.values()} == {"He", "HHO", "CHHHHO", "HH"}
    for one in found.values():
        assert one.molecule.fragments[0].tolist() == list(range(len(one.molecule.symbols)))


def test_the_older_interfaces_core_asks_for_blocks_and_prints_nothing(capsys):
    with pytest.raises(InputError, match="wants the atoms of each fragment in one block"):
        core_of(shuffled_input("gradient", bsse_type=["nocp"], max_nbody=1))
    assert capsys.readouterr() == ("", "")
