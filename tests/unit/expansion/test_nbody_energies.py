"""Rows of n-body energies: equal to sums of component energies by hand, whatever form the result has."""

from __future__ import annotations

import csv
import itertools
import math

import numpy as np
import pytest
from derivatives import kept, made_up
from qcelemental import constants

import autotune
from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE, nbody_energies
from autotune.reports.nbody_table import tabulate

FRAGMENTS = (1, 2, 3)
PAIRS = tuple(itertools.combinations(FRAGMENTS, 2))


@pytest.fixture
def trimer(cluster):
    """Return the input of a water trimer: three fragments of the packaged tetramer, HF/STO-3G with PySCF."""

    def make(**expansion):
        fields = cluster("water4", **expansion)
        whole = fields["molecule"]
        whole |= {
            "symbols": whole["symbols"][:9],
            "geometry": whole["geometry"][:27],
            "fragments": whole["fragments"][:3],
        }
        return {**fields, "molecule": {**whole, "fragment_charges": [0] * 3, "fragment_multiplicities": [1] * 3}}

    return make


def computed(fields):
    """Return a result of made-up energies and gradients, and these by real and basis fragments."""
    work = workload.load(fields)
    names = ("energy", "gradient") if fields["specification"]["driver"] == "gradient" else ("energy",)
    entries = list(made_up(work, names=names))
    of = {entry.key: entry.values for entry in entries}
    return work.assemble(kept(entries), {}), {(task.real, task.basis): of[task.key] for task in work.tasks}


@pytest.fixture
def gradients(trimer):
    """Return the result of all treatments, and each component's energy and gradient by real and basis fragments."""
    result, found = computed(trimer(bsse=("nocp", "cp", "vmfc"), driver="gradient"))
    components = {}
    for (real, basis), values in found.items():
        whole = np.zeros((9, 3))
        whole[[3 * (fragment - 1) + atom for fragment in basis for atom in range(3)]] = values["gradient"]
        components[real, basis] = (values["energy"], whole)
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
    for row, (bsse, nbody, total, interaction) in zip(nbody_energies(result), expected, strict=True):
        assert (row.bsse, row.nbody, row.method) == (bsse, nbody, "pyscf hf/sto-3g")
        assert row.total_hartree == pytest.approx(total, abs=1e-9)
        assert row.interaction_hartree == pytest.approx(interaction, abs=1e-9)
        contribution = None if nbody == 1 else pytest.approx(terms[bsse][nbody - 2], abs=1e-9)
        assert row.contribution_hartree == contribution


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
    result, _ = computed(fields)
    (row,) = [row for row in nbody_energies(result) if row.returned]
    assert row.returned == kind
    assert getattr(row, f"{kind}_hartree") == result.properties.return_energy


def test_the_run_record_has_the_rows_of_its_result(faulty):
    with autotune.Session(autotune.Options(journal="none", tuning="none")) as session:
        result = session.run(faulty())
        assert session.record.energies == nbody_energies(result)


def test_each_level_names_the_model_chemistry_of_its_terms(trimer):
    fields = trimer(method="", basis="", levels={2: "hf/6-31g", "supersystem": "hf/sto-3g"})
    result, _ = computed(fields)
    assert [(row.nbody, row.method) for row in nbody_energies(result)] == [
        (1, "pyscf hf/6-31g"),
        (2, "pyscf hf/6-31g"),
        (3, "pyscf hf/sto-3g, all fragments at once"),
    ]
    assert "all fragments at once" in str(tabulate(result))


def test_what_the_result_does_not_hold_is_left_open(trimer):
    result, _ = computed(trimer(bsse=("cp",)))
    rows = nbody_energies(result)
    assert [row.total_hartree for row in rows] == [None] * 3  # fragments alone are not computed for cp
    assert all(math.isfinite(row.interaction_hartree) for row in rows)
    assert [line.split()[2] for line in str(tabulate(result)).splitlines()[2:5]] == ["-"] * 3


def test_kilocalories_are_those_of_qcelemental():
    assert constants.hartree2kcalmol == KCAL_PER_HARTREE


def test_csv_has_every_digit_and_its_units_in_the_heads(gradients, tmp_path):
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
    (tmp_path / "file.json").write_text(text)
    with pytest.raises(InputError) as refused:
        tabulate(tmp_path / "file.json")
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
