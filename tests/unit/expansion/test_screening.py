"""Terms of distant fragments: which are left out, and that the sum is the plain one without them."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from qcelemental import constants

import autotune
from autotune.base.errors import InputError
from autotune.cli import options
from autotune.expansion import workload
from autotune.expansion.screening import cutoff_of, near_pairs
from autotune.session import reductions
from autotune.session.session import Options, Session

pytestmark = pytest.mark.programs("pyscf")

BETWEEN = 2.5  # Å; two of the six pairs of `water4` are farther apart, and so is one pair of each of its triples


@pytest.fixture(scope="module")
def session():
    with Session() as warm:
        yield warm


def measured_pairs(fields, distance):
    """Return the pairs of fragments within a distance in Å, measured atom by atom."""
    molecule = fields["molecule"]
    positions = np.asarray(molecule["geometry"], dtype=float).reshape(-1, 3) * constants.bohr2angstroms
    return {
        (i + 1, j + 1)
        for (i, first), (j, second) in combinations(enumerate(molecule["fragments"]), 2)
        if min(np.linalg.norm(positions[a] - positions[b]) for a in first for b in second) <= distance
    }


def energies(session, fields):
    """Return the energy of each component by real and basis fragments, all of them computed."""
    work = workload.load(fields)
    found = session.components(work)
    return {
        (task.real, task.basis, task.level): found[label].return_result for task in work.tasks for label in task.labels
    }


def terms(energy, real):
    """Return a component's n-body term by inclusion and exclusion; `energy` is a function of fragments."""
    return sum(
        (-1) ** (len(real) - size) * energy(below)
        for size in range(1, len(real) + 1)
        for below in combinations(real, size)
    )


def summed(energy, fragments, pairs, highest, *, lowest=1):
    """Return the expansion without the terms of fragments that are apart."""
    return sum(
        terms(energy, real)
        for size in range(lowest, highest + 1)
        for real in combinations(range(1, fragments + 1), size)
        if set(combinations(real, 2)) <= pairs
    )


@pytest.mark.parametrize(
    ("name", "highest", "distance"),
    [
        ("water4", 2, 1.0),
        ("water4", 3, BETWEEN),
        ("water4", 4, BETWEEN),
        ("water6", 3, BETWEEN),
        ("water6", 3, 3.0),
    ],
)
def test_the_sum_is_the_plain_expansion_without_the_far_terms(session, cluster, name, highest, distance):
    fields = cluster(name, max_nbody=highest)
    fields["specification"]["keywords"]["return_total_data"] = True
    of, pairs = energies(session, fields), measured_pairs(fields, distance)
    fragments = len(fields["molecule"]["fragments"])
    expected = summed(lambda real: of[real, real, "(auto)"], fragments, pairs, highest)
    assert autotune.run(fields, screen_distance=distance).return_result == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize(("name", "highest"), [("water4", 2), ("water4", 3), ("water4", 4), ("water6", 3)])
def test_counterpoise_terms_are_left_out_in_the_basis_of_all_fragments(session, cluster, name, highest):
    fields = cluster(name, bsse=("cp",), max_nbody=highest)
    if name == "water6":
        # Four of its waters, of which three are near each other.
        chosen = (1, 2, 5, 6)
        geometry = np.asarray(fields["molecule"]["geometry"]).reshape(6, -1)[[number - 1 for number in chosen]]
        fields = cluster("water4", bsse=("cp",), max_nbody=highest)
        fields["molecule"]["geometry"] = geometry.ravel().tolist()
    of, pairs = energies(session, fields), measured_pairs(fields, BETWEEN)
    assert 0 < len(pairs) < 6
    expected = summed(lambda real: of[real, (1, 2, 3, 4), "(auto)"], 4, pairs, highest, lowest=2)
    assert autotune.run(fields, screen_distance=BETWEEN).return_result == pytest.approx(expected, abs=1e-10)


def test_nocp_and_cp_of_one_input_are_both_without_the_far_terms(session, cluster):
    fields = cluster("water4", bsse=("nocp", "cp"), max_nbody=3)
    of, pairs = energies(session, fields), measured_pairs(fields, BETWEEN)
    properties = autotune.run(fields, screen_distance=BETWEEN).properties
    nocp = summed(lambda real: of[real, real, "(auto)"], 4, pairs, 3, lowest=2)
    cp = summed(lambda real: of[real, (1, 2, 3, 4), "(auto)"], 4, pairs, 3, lowest=2)
    assert properties.nocp_corrected_interaction_energy == pytest.approx(nocp, abs=1e-10)
    assert properties.cp_corrected_interaction_energy == pytest.approx(cp, abs=1e-10)


def test_each_level_of_a_multi_level_input_is_without_its_own_far_terms(session, cluster):
    fields = two_levels(cluster("water4"))
    of, pairs = energies(session, fields), measured_pairs(fields, BETWEEN)
    monomers = sum(of[(i,), (i,), "high"] for i in range(1, 5))
    low = summed(lambda real: of[real, real, "low"], 4, pairs, 3, lowest=2)
    fields["specification"]["keywords"]["return_total_data"] = True
    result = autotune.run(fields, screen_distance=BETWEEN)
    assert result.return_result == pytest.approx(monomers + low, abs=1e-10)


def two_levels(fields):
    """Return an input with monomers by MP2 and pairs and triples by HF."""
    specification = fields["specification"]
    chemistry = specification["specification"].pop("(auto)")
    for level, method in (("high", "mp2"), ("low", "hf")):
        specification["specification"][level] = {**chemistry, "model": {**chemistry["model"], "method": method}}
    specification["keywords"] = {"bsse_type": ["nocp"], "levels": {1: "high", 3: "low"}}
    return fields


def test_levels_of_equal_content_are_screened_as_one(cluster):
    fields = two_levels(cluster("water4"))
    chemistries = fields["specification"]["specification"]
    chemistries["high"] = chemistries["low"]
    single = autotune.run(cluster("water4", max_nbody=3), screen_distance=BETWEEN)
    assert autotune.run(fields, screen_distance=BETWEEN).return_result == pytest.approx(single.return_result, abs=1e-12)


def test_a_component_left_out_adds_nothing_of_its_own(cluster):
    fields = cluster("water4", max_nbody=3)
    properties = autotune.run(fields, screen_distance=BETWEEN).properties
    assert abs(properties.nocp_corrected_3_body_contribution_to_energy) < 1e-11
    both = autotune.run(cluster("water2", bsse=("cp",)), screen_distance=0.5)
    assert both.return_result == 0.0


def test_a_screen_that_nothing_is_beyond_changes_no_bit(cluster):
    fields, said = cluster("water4", max_nbody=3), []
    with Session(Options(screen_distance=100.0, threads=1), on_notice=said.append) as screened:
        result = screened.run(fields)
        assert screened.record.omitted[0].tasks == 0
    assert result.model_dump_json() == autotune.run(fields, threads=1).model_dump_json()
    assert "--screen-distance 100: no two fragments are farther apart, so all components are computed" in said


def test_what_is_left_out_is_said_and_recorded(cluster):
    said = []
    with Session(Options(screen_distance=BETWEEN), on_notice=said.append) as screened:
        screened.run(cluster("water4", max_nbody=3))
        record = screened.record
    words = (
        "--screen-distance 2.5: 6 of 10 components are not computed (2-body 2 of 6, 3-body 4 of 4); their contributions"
        " are taken as zero"
    )
    assert words in said
    assert [(each.option, each.tasks, each.of, each.words) for each in record.omitted] == [
        ("screen_distance", 6, 10, words)
    ]
    assert record.tasks == len(record.task_records) == 8


def test_distances_are_those_of_the_nearest_atoms(cluster):
    fields = cluster("water4", max_nbody=2)
    recipe = workload.load(fields).recipe
    for distance in (1.0, 2.0, BETWEEN, 4.0):
        assert near_pairs(recipe, distance) == measured_pairs(fields, distance)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"bsse_type": ["vmfc"]}, "vmfc"),
        ({"supersystem_ie_only": True}, "supersystem"),
        ({"levels": {1: "high", "supersystem": "low"}, "max_nbody": None}, "supersystem"),
        ({"bsse_type": ["nocp", "cp"], "max_nbody": 4}, "which nocp and cp share"),
    ],
)
def test_expansions_it_is_not_defined_for_are_refused_in_one_line(cluster, changes, fault):
    fields = cluster("water4", max_nbody=2)
    fields = two_levels(fields) if "levels" in changes else fields
    fields["specification"]["keywords"].update(changes)
    with pytest.raises(InputError, match=fault) as refused:
        reductions.plan(workload.load(fields), Options(screen_distance=BETWEEN))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("distance", [0.0, -1.0, float("nan")])
def test_a_distance_that_cannot_be_meant_is_refused(distance):
    with pytest.raises(InputError, match="screen_distance"):
        Options(screen_distance=distance)


@pytest.mark.parametrize("bsse", ["nocp", "cp"])
def test_each_level_has_a_distance_of_its_own_and_the_sum_is_the_plain_one_of_what_is_left(session, cluster, bsse):
    fields = cluster("water4", max_nbody=3, bsse=(bsse,))
    whole = autotune.tabulate_terms(session.run(fields)).terms
    apart = sorted(term.distance_angstrom for term in whole)
    limits = {2: apart[4] + 1e-6, 3: apart[-3] - 1e-6}
    limits = {2: max(limits.values()), 3: min(limits.values())}
    with Session(Options(screen_distance=limits)) as screened:
        result = screened.run(fields)
        (omitted,) = screened.record.omitted
    expected = sum(term.contribution_hartree for term in whole if term.distance_angstrom <= limits[term.nbody])
    assert result.return_result == pytest.approx(expected, abs=1e-10)
    assert omitted.tasks == sum(term.distance_angstrom > limits[term.nbody] for term in whole) > 0
    assert omitted.words.startswith(f"--screen-distance 2={limits[2]:g},3={limits[3]:g}: ")


def test_a_level_that_is_not_named_has_the_distance_of_the_next_lower_one_and_below_them_all_is_computed():
    assert [cutoff_of(nbody, 5.0) for nbody in (2, 3)] == [5.0, 5.0]
    assert [cutoff_of(nbody, {3: 8.0, 5: 4.0}) for nbody in (2, 3, 4, 5, 6)] == [math.inf, 8.0, 8.0, 4.0, 4.0]


def test_triples_alone_may_be_screened(session, cluster):
    fields = cluster("water4", max_nbody=3)
    whole = session.run(fields)
    result = autotune.run(fields, screen_distance={3: 1.0})
    pairs = whole.properties.nocp_corrected_interaction_energy_through_2_body
    assert result.return_result == pytest.approx(pairs, abs=1e-10)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({}, "names no level"),
        ({1: 5.0}, "names level 1"),
        ({"2": 5.0}, "names level '2'"),
        ({2: -1.0}, "must be above 0"),
        ({2: 5.0, 3: 6.0}, "grows with the level"),
    ],
)
def test_distances_that_cannot_be_meant_are_refused(stated, words):
    with pytest.raises(InputError, match=words):
        Options(screen_distance=stated)


@pytest.mark.parametrize(
    ("text", "expected"), [("8", 8.0), ("2.5e0", 2.5), ("2=12,3=8", {2: 12.0, 3: 8.0}), ("3=8", {3: 8.0})]
)
def test_distances_are_read_from_the_command_line(text, expected):
    given = {"no_program_tuning": False, "strategies": None, "screen_distance": text}
    assert options.session_options(given)["screen_distance"] == expected


@pytest.mark.parametrize("text", ["near", "2=", "2=a", "=3", "2=12,2=8", "2=12;3=8"])
def test_what_is_no_distance_is_refused_in_one_line(text):
    given = {"no_program_tuning": False, "strategies": None, "screen_distance": text}
    with pytest.raises(InputError, match=r"^--screen-distance .*(as 2=12,3=8|twice)"):
        options.session_options(given)


@pytest.mark.parametrize("bsse", ["nocp", "cp"])
@pytest.mark.parametrize("around", [(2,), (1, 4)])
def test_around_some_fragments_only_their_pairs_count(session, cluster, bsse, around):
    fields = cluster("water4", max_nbody=2, bsse=(bsse,))
    whole = autotune.tabulate_terms(session.run(fields)).terms
    with Session(Options(around=around)) as screened:
        result = screened.run(fields)
        (omitted,) = screened.record.omitted
    kept = [term for term in whole if {*around} & {*term.fragments}]
    assert result.return_result == pytest.approx(sum(term.contribution_hartree for term in kept), abs=1e-10)
    assert (omitted.option, omitted.tasks, omitted.of) == ("around", len(whole) - len(kept), len(whole))
    assert omitted.words.startswith(f"--around {','.join(map(str, around))}: {omitted.tasks} of 6 components are not")


def test_around_and_a_distance_go_together(session, cluster):
    fields = cluster("water4", max_nbody=2)
    whole = autotune.tabulate_terms(session.run(fields)).terms
    result = autotune.run(fields, around=(1,), screen_distance=BETWEEN)
    kept = [term for term in whole if 1 in term.fragments and term.distance_angstrom <= BETWEEN]
    assert 0 < len(kept) < 3
    assert result.return_result == pytest.approx(sum(term.contribution_hartree for term in kept), abs=1e-10)


def test_where_every_pair_has_one_of_the_fragments_all_is_computed_and_said(cluster):
    said = []
    with Session(Options(around=(1,), threads=1), on_notice=said.append) as session:
        session.run(cluster("water2"))
    assert "--around 1: all pairs have one of these fragments, so all components are computed" in said


@pytest.mark.parametrize(
    ("around", "most", "words"),
    [((5,), 2, "names fragment 5, but there are 4"), ((1,), 3, "terms of three fragments need pairs")],
)
def test_what_around_is_not_defined_for_is_refused(cluster, around, most, words):
    with pytest.raises(InputError, match=words):
        reductions.plan(workload.load(cluster("water4", max_nbody=most)), Options(around=around))


@pytest.mark.parametrize("around", [1, (0,), ("1",), (True,), (1.5,)])
def test_what_is_no_fragment_is_refused(around):
    with pytest.raises(InputError, match="is no tuple of fragments"):
        Options(around=around)


def test_fragments_are_read_from_the_command_line():
    given = {"no_program_tuning": False, "strategies": None}
    assert options.session_options({**given, "around": "1,3"})["around"] == (1, 3)
    with pytest.raises(InputError, match="--around 'ligand' is no list of fragments"):
        options.session_options({**given, "around": "ligand"})


# --- metrics, named terms --------------------------------------------------------------------------------------------


def farthest_and_centres(fields):
    """Return, for each pair, the distance of its farthest atoms and of its centres of mass in Å, atom by atom."""
    molecule = autotune.read(fields).molecule
    places = np.asarray(molecule.geometry) * constants.bohr2angstroms
    fragments = [list(atoms) for atoms in molecule.fragments]
    centres = [
        sum(molecule.masses[atom] * places[atom] for atom in atoms) / sum(molecule.masses[atom] for atom in atoms)
        for atoms in fragments
    ]
    return {
        (i + 1, j + 1): (
            max(np.linalg.norm(places[a] - places[b]) for a in fragments[i] for b in fragments[j]),
            np.linalg.norm(centres[i] - centres[j]),
        )
        for i, j in combinations(range(len(fragments)), 2)
    }


@pytest.mark.parametrize("name", ["water6", "methanol_water6", "sodium_chloride_water6"])
@pytest.mark.parametrize(("metric", "place"), [("farthest", 0), ("centres", 1)])
def test_other_metrics_measure_what_they_say(cluster, name, metric, place):
    fields = cluster(name, max_nbody=2)
    measured = {pair: both[place] for pair, both in farthest_and_centres(fields).items()}
    recipe = workload.load(fields).recipe
    for distance in sorted(measured.values())[:: max(1, len(measured) // 5)]:
        limit = distance + 1e-6
        assert near_pairs(recipe, limit, metric=metric) == {pair for pair, d in measured.items() if d <= limit}


def test_a_metric_is_said_and_needs_a_distance(cluster):
    said = []
    with Session(Options(screen_distance=3.5, screen_metric="centres"), on_notice=said.append) as screened:
        screened.run(cluster("water4", max_nbody=2))
    assert any(line.startswith("--screen-distance 3.5 of centres of mass: ") for line in said)
    with pytest.raises(InputError, match="option screen_metric says what a distance is: give screen_distance"):
        Options(screen_metric="centres")
    with pytest.raises(InputError, match="option screen_metric is 'middle'; there are nearest, centres, farthest"):
        Options(screen_metric="middle", screen_distance=1.0)


@pytest.mark.parametrize("bsse", ["nocp", "cp"])
def test_named_terms_are_computed_with_all_below_them_and_no_others(session, cluster, bsse):
    fields = cluster("water4", max_nbody=3, bsse=(bsse,))
    whole = {term.fragments: term.contribution_hartree for term in autotune.tabulate_terms(session.run(fields)).terms}
    with Session(Options(terms=((4, 1, 2), (3, 4)))) as screened:
        result = screened.run(fields)
        (omitted,) = screened.record.omitted
    found = {term.fragments: term.contribution_hartree for term in autotune.tabulate_terms(result).terms}
    kept = {(1, 2, 4), (1, 2), (1, 4), (2, 4), (3, 4)}
    for fragments, energy in found.items():
        assert energy == pytest.approx(whole[fragments] if fragments in kept else 0.0, abs=1e-11)
    assert omitted.option == "terms"
    assert (omitted.tasks, omitted.of) == (5, 10)
    assert result.return_result == pytest.approx(math.fsum(whole[of] for of in kept), abs=1e-10)


def test_terms_are_read_from_a_file_with_comments(tmp_path):
    path = tmp_path / "terms"
    path.write_text("# of the ligand\n1 2 5\n\n1-3  # a pair\n2,4\n")
    given = {"no_program_tuning": False, "strategies": None, "terms": str(path)}
    assert options.session_options(given)["terms"] == ((1, 2, 5), (1, 3), (2, 4))
    for text, words in (
        ("1 2\n3\n", "line 2 is no term, '3'; write its fragments, as 1 2 5"),
        ("1 x\n", "line 1 is no term, '1 x'"),
        ("2 2\n", "line 1 is no term, '2 2'"),
        ("0 1\n", "line 1 is no term, '0 1'"),
        ("# nothing\n", "names no term; write one on each line"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            options.session_options(given)


def test_named_terms_that_are_not_there_are_refused(cluster):
    for terms, words in (
        (((1, 9),), "^--terms names fragment 9, but there are 4"),
        (((1, 2, 3),), "^--terms names 1-2-3, but there are terms up to 2-body; raise max_nbody"),
    ):
        with pytest.raises(InputError, match=words):
            reductions.plan(workload.load(cluster("water4", max_nbody=2)), Options(terms=terms))
