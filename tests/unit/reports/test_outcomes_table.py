"""The table of many inputs: a row for each input and treatment, errors in sight, all digits in CSV."""

from __future__ import annotations

import csv
import io

import pytest

import autotune
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    water = "3\n\nO 0 0 {0}\nH 0 0.757 {1}\nH 0 -0.757 {1}\n"
    dimer = "6\n\n" + "".join(water.format(z, z - 0.58).partition("\n\n")[2] for z in (0.0, 3.0))
    expansion = autotune.Expansion(program="pyscf", method="hf", basis="sto-3g", bsse=("nocp", "cp"))
    options = {"journal": "none"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOTUNE_HOME", str(tmp_path_factory.mktemp("home")))
        return autotune.run_many({"dimer": dimer, "no": "3\n\nO 0 0 0\n"}, expansion=expansion, **options)


def test_rows_have_the_energies_of_the_results(outcomes, tmp_path):
    table = autotune.tabulate_many(outcomes, output=tmp_path / "t.csv")
    assert [(row.name, row.energies.bsse if row.energies else "") for row in table.rows] == [
        ("dimer", "nocp"),
        ("dimer", "cp"),
        ("no", ""),
    ]
    nocp, cp, no = csv.DictReader(io.StringIO((tmp_path / "t.csv").read_text()))
    properties = outcomes[0].result.properties
    assert float(nocp["interaction_hartree"]) == properties.nocp_corrected_interaction_energy
    assert float(cp["interaction_hartree"]) == properties.cp_corrected_interaction_energy
    assert float(cp["interaction_kcal_mol"]) == properties.cp_corrected_interaction_energy * KCAL_PER_HARTREE
    assert no["error"].startswith("the text: line 1 says 3 atoms, but 1 line follows")
    assert no["total_hartree"] == ""


def test_where_rows_are_left_out_errors_are_shown_first(outcomes):
    text = autotune.tabulate_many(outcomes).text(1)
    assert text.splitlines()[-2].startswith("no ")
    assert text.splitlines()[-1] == "and 2 more rows"
    assert "error" not in str(autotune.tabulate_many(outcomes[:1]))
