"""Integrals of three and four fragments, put together from those of their pairs, are those that PySCF computes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("pyscf")

from pyscf import gto

from autotune_plugins import pyscf_pairs

pytestmark = pytest.mark.programs("pyscf")

WATER = [("O", 0, 0, 0), ("H", 0, 1.4, 1.1), ("H", 0, -1.4, 1.1)]
AMMONIA = [("N", 0, 0, 0), ("H", 0, 1.8, 0.7), ("H", 1.5, -0.9, 0.7), ("H", -1.5, -0.9, 0.7)]
HELIUM = [("He", 0, 0, 0)]


@pytest.mark.parametrize(
    ("kinds", "basis", "cart"),
    [
        ((WATER, WATER, WATER), "6-31g*", True),
        ((HELIUM, AMMONIA, WATER), "cc-pvdz", False),
        ((AMMONIA, HELIUM, HELIUM), "6-31g*", True),
        ((HELIUM, WATER, HELIUM, AMMONIA), "sto-3g", False),
    ],
)
def test_they_are_what_pyscf_computes_of_the_whole_and_a_table_of_places_changes_no_bit(
    kinds, basis, cart, monkeypatch
):
    fragments = [
        [(symbol, (x + 5.3 * place, y + 0.3 * place, z - 0.2 * place)) for symbol, x, y, z in kind]
        for place, kind in enumerate(kinds)
    ]

    def molecule(*numbers):
        atoms = list(itertools.chain(*(fragments[number] for number in numbers)))
        return gto.M(atom=atoms, basis=basis, unit="Bohr", cart=cart, verbose=0)

    whole = molecule(*range(len(kinds)))
    places = [range(*pair) for pair in itertools.pairwise(np.cumsum([0, *map(len, fragments)]))]
    asked, found = [], []

    def of_pair(first, second):
        asked.append((first, second))
        return molecule(first, second).intor("int2e", aosym="s8")

    for _ in range(2):
        asked.clear()
        found.append(pyscf_pairs.together(whole, places, of_pair))
        assert asked == list(itertools.combinations(range(len(kinds)), 2))
        monkeypatch.setattr(pyscf_pairs, "_MOST_IN_TABLE", 0)
    assert (found[0] == found[1]).all()
    wanted = whole.intor("int2e", aosym="s8")
    assert found[0].shape == wanted.shape
    # The last bits depend on the order of the shells.
    assert np.abs(found[0] - wanted).max() < 1e-13
    assert np.abs(found[0]).max() > 1.0
