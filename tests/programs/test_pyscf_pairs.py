"""Integrals of three and four fragments, put together from those of their pairs, are those that PySCF computes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("pyscf")

from pyscf import gto

from autotune_plugins import pyscf_pairs

pytestmark = pytest.mark.programs("pyscf")

WATER, AMMONIA, HELIUM = (
    "O 0 0 0; H 0 1.4 1.1; H 0 -1.4 1.1",
    "N 0 0 0; H 0 1.8 .7; H 1.5 -.9 .7; H -1.5 -.9 .7",
    "He 0 0 0",
)


def moved(text, by):
    atoms = [line.split() for line in text.split(";")]
    return [(symbol, tuple(np.array(position, float) + by)) for symbol, *position in atoms]


def molecule(atoms, basis="6-31g*", *, cart=True):
    charge = sum(gto.charge(symbol) for symbol, _ in atoms) % 2
    return gto.M(atom=atoms, basis=basis, unit="Bohr", cart=cart, charge=charge, verbose=0)


@pytest.mark.parametrize(
    ("kinds", "basis", "cart"),
    [
        ((WATER, WATER, WATER), "6-31g*", True),
        ((HELIUM, AMMONIA, WATER), "cc-pvdz", False),
        ((AMMONIA, HELIUM, HELIUM), "6-31g*", True),
        ((HELIUM, WATER, HELIUM, AMMONIA), "sto-3g", False),
    ],
)
@pytest.mark.parametrize("table", [True, False])
def test_they_are_what_pyscf_computes_of_the_whole(kinds, basis, cart, table, monkeypatch):
    if not table:
        monkeypatch.setattr(pyscf_pairs, "_MOST_IN_TABLE", 0)
    fragments = [moved(kind, (5.3 * place, 0.3 * place, -0.2 * place)) for place, kind in enumerate(kinds)]
    whole = molecule([*itertools.chain(*fragments)], basis, cart=cart)
    ends = np.cumsum([0, *map(len, fragments)])
    places = [range(*pair) for pair in itertools.pairwise(ends)]
    asked = []

    def of_pair(first, second):
        asked.append((first, second))
        return molecule([*fragments[first], *fragments[second]], basis, cart=cart).intor("int2e", aosym="s8")

    found = pyscf_pairs.together(whole, places, of_pair)
    assert asked == list(itertools.combinations(range(len(kinds)), 2))
    wanted = whole.intor("int2e", aosym="s8")
    assert found.shape == wanted.shape
    # The last bits depend on the order of the shells.
    assert np.abs(found - wanted).max() < 1e-13
    assert np.abs(found).max() > 1.0


def test_a_table_of_places_changes_no_bit(monkeypatch):
    fragments = [moved(kind, (5.3 * place, 0.3 * place, 0.0)) for place, kind in enumerate((WATER, AMMONIA, WATER))]
    whole, ends = molecule([*itertools.chain(*fragments)]), np.cumsum([0, *map(len, fragments)])

    def found():
        return pyscf_pairs.together(
            whole,
            [range(*pair) for pair in itertools.pairwise(ends)],
            lambda first, second: molecule([*fragments[first], *fragments[second]]).intor("int2e", aosym="s8"),
        )

    with_table = found()
    monkeypatch.setattr(pyscf_pairs, "_MOST_IN_TABLE", 0)
    assert (with_table == found()).all()
