"""Cheap first: the sum has the expensive method's terms where the cheap one finds them large, and its own elsewhere."""

from __future__ import annotations

import math
from itertools import combinations

import pytest

import autotune
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE

CHEAP = {"program": "tblite", "method": "gfn2-xtb", "basis": ""}
EXACT = 1e-11  # Eh; sums of the same numbers in another order


def terms_of(result):
    return {(term.bsse, term.fragments): term.contribution_hartree for term in autotune.tabulate_terms(result).terms}


@pytest.mark.programs("pyscf", "tblite")
@pytest.mark.parametrize(
    ("name", "expansion", "threshold"),
    [
        ("water4", {"max_nbody": 3}, 3.0),
        ("water6", {"max_nbody": 3}, 0.2),
        ("water4", {"max_nbody": 2, "bsse": ("cp",)}, 2.0),
        ("water4", {"max_nbody": 2, "bsse": ("nocp", "cp")}, 4.0),
    ],
)
def test_the_sum_is_that_of_both_methods_terms(session, cluster, name, expansion, threshold):
    expensive = terms_of(session.run(cluster(name, **expansion)))
    # GFN2-xTB knows no ghosts, and has no superposition error that they would show.
    uncorrected = terms_of(session.run(cluster(name, **CHEAP, max_nbody=expansion["max_nbody"])))
    bsse = expansion.get("bsse", ("nocp",))
    cheap = {(kind, of): energy for kind in bsse for (_, of), energy in uncorrected.items()}
    screen = {"screen_energy": threshold, "screen_method": "tblite gfn2-xtb"}
    with autotune.Session(autotune.Options(journal="none", threads=1, **screen)) as screening:
        result = screening.run(cluster(name, **expansion))
        record = screening.record
    large = {of for (_, of), energy in cheap.items() if abs(energy) * KCAL_PER_HARTREE >= threshold}
    kept = large.union(*({part for size in range(2, len(of)) for part in combinations(of, size)} for of in large))
    assert 0 < len(kept) < len({of for _, of in cheap})
    found = terms_of(result)
    for key, energy in found.items():
        assert energy == pytest.approx((expensive if key[1] in kept else cheap)[key], abs=EXACT), key
    sums = math.fsum(energy for (kind, _), energy in found.items() if kind == bsse[0])
    assert result.return_result == pytest.approx(sums, abs=EXACT)
    (omitted,) = (each for each in record.omitted if each.option == "screen_energy")
    assert omitted.tasks > 0
    noted, error = result.extras["autotune"]["omitted"][0], record.doubts[-1]
    assert noted == omitted.words
    assert noted.endswith("their contributions are taken from tblite gfn2-xtb")
    assert "the screen" in error
    assert str(autotune.tabulate(result)).splitlines()[-1] == error
