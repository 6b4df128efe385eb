"""Rows of n-body energies: equal to sums of component energies by hand, whatever form the result has."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

import autotune
import autotune.expansion.readers
from autotune.base.errors import InputError
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE, nbody_energies
from autotune.reports.nbody_table import tabulate

pytestmark = pytest.mark.programs("pyscf")

FRAGMENTS = (1, 2, 3)
PAIRS = tuple(itertools.combinations(FRAGMENTS, 2))
OPTIONS = {"journal": "none", "tuning": "none"}


@pytest.fixture(scope="module")
def trimer():
    """Return the input of a water trimer: three fragments of the packaged tetramer, HF/STO-3G with PySCF."""
    from importlib.resources import files

    lines = (files("autotune.studies") / "workloads" / "water4.xyz").read_text().splitlines()
    text = "\n".join(["9", "", *lines[2:11], ""])

    def make(**expansion):
        stated = autotune.Expansion(program="pyscf", method="hf", basis="sto-3g", **expansion)
        return autotune.expansion.readers.many_body_fields(text, name="water3", expansion=stated)

    return make


@pytest.fixture(scope="module")
def gradients(trimer):
    """Return the result of all treatments, and each component's energy and gradient by real and basis fragments."""
    fields = trimer(bsse=("nocp", "cp", "vmfc"), driver="gradient")
    with autotune.Session(autotune.Options(**OPTIONS)) as session:
        result = session.run(fields)
        found = session.components(fields)
    components = {}
    for label, component in found.items():
        _, real, basis = json.loads(label)
        whole = np.zeros((9, 3))
        atoms = [3 * (fragment - 1) + atom for fragment in sorted(basis) for atom in range(3)]
        whole[atoms] = np.asarray(component.properties.return_gradient).reshape(-1, 3)
        components[tuple(real), tuple(basis)] = (component.properties.return_energy, whole)
    return result, components


def by_hand(components, quantity):
    """Return the 2- and 3-body terms of each treatment, and the sum of the fragments, from their definitions."""
    of = {key: values[quantity] for key, values in components.items()}
    all_three = FRAGMENTS
    alone = sum(of[(i,), (i,)] for i in FRAGMENTS)
    whole = of[all_three, all_three]
    nocp_2 = sum(of[pair, pair] - sum(of[(i,), (i,)] for i in pair) for pair in PAIRS)
    cp_2 = sum(of[pair, all_three] - sum(of[(i,), all_three] for i in pair) for pair in PAIRS)
    vmfc_2 = sum(of[pair, pair] - sum(of[(i,), pair] for i in pair) for pair in PAIRS)
    in_all = sum(of[(i,), all_three] for i in FRAGMENTS)
    return alone, {
        "nocp": (nocp_2, whole - alone - nocp_2),
        "cp": (cp_2, whole - in_all - cp_2),
        "vmfc": (vmfc_2, whole - sum(of[pair, all_three] for pair in PAIRS) + in_all),
    }


def test_energies_are_the_sums_of_component_energies_by_hand(gradients):
    result, components = gradients
    alone, terms = by_hand(components, 0)
    expected = [
        (bsse, nbody, alone + sum(terms[bsse][: nbody - 1]), sum(terms[bsse][: nbody - 1]))
        for bsse in ("nocp", "cp", "vmfc")
        for nbody in FRAGMENTS
    ]
    rows = nbody_energies(result)
    for row, (bsse, nbody, total, interaction) in zip(rows, expected, strict=True):
        assert (row.bsse, row.nbody, row.method) == (bsse, nbody, "pyscf hf/sto-3g")
        assert row.total_hartree == pytest.approx(total, abs=1e-9)
        assert row.interaction_hartree == pytest.approx(interaction, abs=1e-9)
        if nbody == 1:
            assert row.contribution_hartree is None
        else:
            assert row.contribution_hartree == pytest.approx(terms[bsse][nbody - 2], abs=1e-9)


def test_norms_are_those_of_gradients_that_are_summed_by_hand(gradients):
    result, components = gradients
    alone, terms = by_hand(components, 1)
    for row in nbody_energies(result):
        added = terms[row.bsse][: row.nbody - 1]
        assert row.gradient_norm == pytest.approx(np.linalg.norm(alone + sum(added)), abs=1e-7)
        if added:
            assert row.contribution_gradient_norm == pytest.approx(np.linalg.norm(added[-1]), abs=1e-7)


def test_models_and_stored_json_of_both_schema_versions_give_the_same_rows(gradients, tmp_path):
    result, _ = gradients
    older = result.convert_v(1)
    rows = nbody_energies(result)
    assert len(rows) == 9
    assert nbody_energies(older) == rows
    for name, text in (("v1.json", older.json()), ("v2.json", result.model_dump_json())):
        (tmp_path / name).write_text(text)
        stored = tabulate(tmp_path / name).rows
        assert [(row.bsse, row.nbody, row.returned) for row in stored] == [(r.bsse, r.nbody, r.returned) for r in rows]
        for one, other in zip(stored, rows, strict=True):
            assert one.total_hartree == pytest.approx(other.total_hartree, abs=1e-12)
            assert one.gradient_norm == pytest.approx(other.gradient_norm, abs=1e-12)


@pytest.mark.parametrize(
    ("keywords", "driver", "kind"),
    [
        ({"bsse_type": ["cp", "nocp"]}, "energy", "interaction"),
        ({"bsse_type": ["cp"], "return_total_data": True}, "energy", "total"),
        ({"bsse_type": ["nocp"], "max_nbody": 2}, "gradient", "total"),
        ({"bsse_type": ["nocp"], "return_total_data": False}, "gradient", "interaction"),
        ({"bsse_type": ["nocp", "cp"], "supersystem_ie_only": True}, "energy", "interaction"),
    ],
)
def test_the_one_row_that_is_marked_has_the_energy_that_the_result_returns(trimer, keywords, driver, kind):
    fields = trimer(driver=driver)
    fields["specification"]["keywords"] = keywords
    result = autotune.run(fields, **OPTIONS)
    (row,) = [row for row in nbody_energies(result) if row.returned]
    assert row.returned == kind
    assert getattr(row, f"{kind}_hartree") == result.properties.return_energy


def test_the_run_record_has_the_rows_of_its_result(trimer):
    with autotune.Session(autotune.Options(**OPTIONS)) as session:
        result = session.run(trimer(max_nbody=2))
        assert session.record.energies == nbody_energies(result)


def test_each_level_names_the_model_chemistry_of_its_terms(trimer):
    fields = trimer()
    (small,) = fields["specification"]["specification"].values()
    large = {**small, "model": {"method": "hf", "basis": "6-31g"}}
    fields["specification"]["specification"] = {"large": large, "small": small}
    fields["specification"]["keywords"] = {"bsse_type": ["nocp"], "levels": {2: "large", "supersystem": "small"}}
    rows = nbody_energies(autotune.run(fields, **OPTIONS))
    assert [(row.nbody, row.method) for row in rows] == [
        (1, "pyscf hf/6-31g"),
        (2, "pyscf hf/6-31g"),
        (3, "pyscf hf/sto-3g, all fragments at once"),
    ]
    assert "all fragments at once" in str(tabulate(autotune.run(fields, **OPTIONS)))


def test_what_the_result_does_not_hold_is_left_open(trimer):
    result = autotune.run(trimer(bsse=("cp",)), **OPTIONS)
    rows = nbody_energies(result)
    assert [row.total_hartree for row in rows] == [None] * 3  # fragments alone are not computed for cp
    assert all(math.isfinite(row.interaction_hartree) for row in rows)
    assert [line.split()[2] for line in str(tabulate(result)).splitlines()[2:5]] == ["-"] * 3


def test_kilocalories_are_those_of_qcelemental():
    from qcelemental import constants

    assert constants.hartree2kcalmol == KCAL_PER_HARTREE


def test_csv_has_every_digit_and_its_units_in_the_heads(gradients, tmp_path):
    import csv

    result, _ = gradients
    table = tabulate(result, output=tmp_path / "table.csv")
    rows = list(csv.DictReader((tmp_path / "table.csv").read_text().splitlines()))
    assert [float(row["interaction_hartree"]) for row in rows] == [row.interaction_hartree for row in table.rows]
    assert [float(row["interaction_kcal_mol"]) for row in rows] == [
        row.interaction_hartree * KCAL_PER_HARTREE for row in table.rows
    ]
    assert rows[0]["contribution_hartree"] == ""
    assert {row["method"] for row in rows} == {"pyscf hf/sto-3g"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3\n\nHe 0 0 0", "is not valid JSON"),
        ("[]", "holds a JSON list, not a ManyBodyResult object"),
        ('{"schema": "autotune.run/5"}', "is a run record, not a ManyBodyResult; `autotune report"),
        ('{"schema": "autotune.lattice/1"}', "is a lattice energy, not a ManyBodyResult; `autotune crystal --csv`"),
        ('{"schema": "autotune.partial/1"}', "which adds up to no result"),
        ('{"success": false, "schema_name": "qcschema_many_body_result"}', "is a calculation that failed"),
        ('{"schema_name": "qcschema_output"}', "has schema_name 'qcschema_output'; give a ManyBodyResult"),
        ('{"schema_name": "qcschema_many_body_result"}', "this is no ManyBodyResult: KeyError: 'input_data'"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(text, words, tmp_path):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        tabulate(path)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
