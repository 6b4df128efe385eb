"""Terms of an expansion: each as its energies give it by hand, and together what upstream's sums say."""

from __future__ import annotations

import csv
import itertools
import json
import math

import pytest
import qcengine
from derivatives import kept, made_up

import autotune
from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE, nbody_energies
from autotune.expansion.terms import terms
from autotune.session import reductions
from autotune_plugins.program_pyscf import autotune_register_programs

EVERYTHING = (1, 2, 3, 4)


def computed(fields):
    """Return the result of made-up energies."""
    work = workload.load(fields)
    return work.assemble(kept(made_up(work, names=("energy",))), {})


@pytest.fixture
def result(cluster):
    return computed(cluster("water4", bsse=("vmfc", "nocp", "cp"), max_nbody=3))


@pytest.fixture
def energies(result):
    return {
        tuple(map(tuple, json.loads(label)[1:])): properties.return_energy
        for label, properties in result.cluster_properties.items()
    }


def test_terms_add_up_to_what_upstream_says_of_each_level(result):
    levels = [row for row in nbody_energies(result) if row.nbody > 1]
    assert len(levels) == 6
    for row in levels:
        of_level = [term for term in terms(result) if (term.bsse, term.nbody) == (row.bsse, row.nbody)]
        assert len(of_level) == math.comb(4, row.nbody)
        assert math.fsum(term.contribution_hartree for term in of_level) == pytest.approx(
            row.contribution_hartree, abs=1e-10
        )
        assert of_level[-1].running_hartree == pytest.approx(row.contribution_hartree, abs=1e-10)


def test_a_term_is_what_its_energies_give_by_hand(result, energies):
    of = {(term.bsse, term.fragments): term.contribution_hartree for term in terms(result)}
    for bsse, basis_of in {"nocp": lambda _, real: real, "cp": lambda *_: EVERYTHING, "vmfc": lambda t, _: t}.items():
        one, two, three = (1, 2, 4), (1, 2), (2,)

        def energy(term, real, basis_of=basis_of):
            return energies[real, basis_of(term, real)]

        pair = energy(two, two) - energy(two, (1,)) - energy(two, three)
        assert of[bsse, two] == pytest.approx(pair, abs=1e-12)
        pairs = sum(energy(one, real) for real in itertools.combinations(one, 2))
        alone = sum(energy(one, (real,)) for real in one)
        assert of[bsse, one] == pytest.approx(energy(one, one) - pairs + alone, abs=1e-12)


def test_terms_are_in_the_order_of_the_input_by_level_and_distance(result):
    found = terms(result)
    assert list(dict.fromkeys(term.bsse for term in found)) == ["vmfc", "nocp", "cp"]
    for _, of_level in itertools.groupby(found, key=lambda term: (term.bsse, term.nbody)):
        distances = [term.distance_angstrom for term in of_level]
        assert distances == sorted(distances)


def test_distances_are_those_that_screening_goes_by(cluster, result):
    pairs = {t.fragments: t.distance_angstrom for t in terms(result) if t.nbody == 2 and t.bsse == "nocp"}
    for term in terms(result):
        assert term.distance_angstrom == max(pairs[pair] for pair in itertools.combinations(term.fragments, 2))
    middle = sorted(pairs.values())[2] + 1e-6
    work = workload.load(cluster("water4", max_nbody=2))
    computed = reductions.plan(work, autotune.Options(screen_distance=middle)).work.tasks
    near = {pair for pair, distance in pairs.items() if distance < middle}
    assert {task.real for task in computed if task.nbody == 2} == near


def test_both_schema_versions_and_stored_json_give_the_same_terms(result, tmp_path):
    expected = terms(result)
    older = result.convert_v(1)
    assert terms(older) == expected
    for name, text in (("v1.json", older.json()), ("v2.json", result.model_dump_json())):
        (tmp_path / name).write_text(text)
        stored = autotune.tabulate_terms(tmp_path / name).terms
        assert [(t.bsse, t.fragments) for t in stored] == [(t.bsse, t.fragments) for t in expected]
        for one, other in zip(stored, expected, strict=True):
            assert one.contribution_hartree == pytest.approx(other.contribution_hartree, abs=1e-12)
            assert one.distance_angstrom == pytest.approx(other.distance_angstrom, abs=1e-6)


def test_a_result_of_upstream_itself_is_read(cluster):
    autotune_register_programs()
    own = qcengine.compute(cluster("water4", max_nbody=2), "qcmanybody", raise_error=True)
    assert {term.fragments for term in terms(own)} == {*itertools.combinations(EVERYTHING, 2)}
    total = math.fsum(term.contribution_hartree for term in terms(own))
    assert total == pytest.approx(own.properties.nocp_corrected_interaction_energy, abs=1e-9)


def test_each_level_takes_its_own_model_chemistry(cluster):
    mixed = computed(cluster("water4", method="", basis="", levels={2: "hf/6-31g", 3: "hf/sto-3g"}))
    found = terms(mixed)
    assert {term.nbody for term in found} == {2, 3}
    of = {row.nbody: row.contribution_hartree for row in nbody_energies(mixed)}
    for nbody in (2, 3):
        total = math.fsum(term.contribution_hartree for term in found if term.nbody == nbody)
        assert total == pytest.approx(of[nbody], abs=1e-10)


def test_what_has_no_terms_is_refused_in_words(cluster, result):
    only_whole = cluster("water4")
    only_whole["specification"]["keywords"] = {"bsse_type": ["nocp"], "supersystem_ie_only": True}
    with pytest.raises(InputError, match="supersystem_ie_only"):
        terms(computed(only_whole))
    fields = json.loads(result.model_dump_json())
    with pytest.raises(InputError, match="does not hold the energies of its components"):
        terms({**fields, "cluster_properties": None})
    label, *_ = (label for label in fields["cluster_properties"] if len(json.loads(label)[1]) == 2)
    del fields["cluster_properties"][label]
    with pytest.raises(InputError, match="no ManyBodyResult with components"):
        terms(fields)
    with pytest.raises(InputError, match="no ManyBodyResult"):
        terms({"nothing": 1})


def test_an_expansion_of_monomers_has_no_terms(cluster):
    table = autotune.tabulate_terms(computed(cluster("water4", max_nbody=1)))
    assert table.terms == ()
    assert str(table) == "the expansion has no terms of two fragments"


def test_csv_and_text_and_json_say_the_same(result, tmp_path):
    table = autotune.tabulate_terms(result, output=tmp_path / "terms.csv")
    with (tmp_path / "terms.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["contribution_hartree"]) for row in rows] == [t.contribution_hartree for t in table.terms]
    assert float(rows[0]["contribution_kcal_mol"]) == table.terms[0].contribution_hartree * KCAL_PER_HARTREE
    assert [tuple(map(int, row["fragments"].split("-"))) for row in rows] == [t.fragments for t in table.terms]
    assert [fields["fragments"] for fields in table.fields()] == [t.fragments for t in table.terms]
    lines = str(table).splitlines()
    assert len(lines) == 2 + len(table.terms)
    assert lines[2].split()[:3] == ["vmfc", "2", "-".join(map(str, table.terms[0].fragments))]


def test_the_largest_of_each_treatment_are_chosen(result):
    table = autotune.tabulate_terms(result)
    chosen = table.largest(2).terms
    assert [term.bsse for term in chosen] == ["vmfc"] * 2 + ["nocp"] * 2 + ["cp"] * 2
    sizes = [abs(t.contribution_hartree) for t in table.terms if t.bsse == "cp"]
    assert [abs(t.contribution_hartree) for t in chosen[4:]] == sorted(sizes, reverse=True)[:2]


def test_the_picture_has_a_mark_for_each_term_and_plain_numbers(result, tmp_path):
    table = autotune.tabulate_terms(result, plot=tmp_path / "terms.svg")
    picture = (tmp_path / "terms.svg").read_text()
    assert "mathdefault" not in picture
    nearer = [t for t in table.terms if (t.bsse, t.nbody) == ("cp", 2) and t.contribution_hartree < 0]
    assert f"2-body, {len(nearer)} terms below zero" in picture or len(nearer) == 1
    with pytest.raises(InputError, match="its ending must be one of"):
        autotune.tabulate_terms(result, plot=tmp_path / "terms.xyz")
