"""Terms of distant fragments: which are left out, and that the sum is the plain one without them."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from derivatives import kept, made_up
from qcelemental import constants

import autotune
from autotune.base.errors import InputError
from autotune.cli import options
from autotune.expansion import workload
from autotune.expansion.screening import cutoff_of, near_pairs
from autotune.runtime.execution import Execution
from autotune.session import reductions
from autotune.session.session import Options, Session

BETWEEN = 2.5  # Å; two of the six pairs of `water4` are farther apart, and so is one pair of each of its triples
EVERYTHING = (1, 2, 3, 4)


def screened(fields, **stated):
    """Return the result of made-up energies of what is computed under some options, and what these leave out."""
    work = workload.load(fields)
    lean = reductions.plan(work, Options(**stated))
    computed = {task.key for task in lean.work.tasks}
    values = kept(entry for entry in made_up(work, names=("energy",)) if entry.key in computed)
    result = work.assemble(lean.fill_in(Execution(values=values)).values, {})
    return reductions.note_what_is_left_out(result, lean.list_omitted()), lean.list_omitted()


def energies(fields):
    """Return the energies that `screened` makes up, of all components, by real and basis fragments and level."""
    work = workload.load(fields)
    of = {entry.key: entry.values["energy"] for entry in made_up(work, names=("energy",))}
    return {(task.real, task.basis, task.level): of[task.key] for task in work.tasks}


def measured(fields):
    """Return the distances of each pair of fragments by each metric in Å, measured atom by atom."""
    molecule = autotune.read(fields).molecule
    places = np.asarray(molecule.geometry) * constants.bohr2angstroms
    fragments = [list(atoms) for atoms in molecule.fragments]
    centres = [
        sum(molecule.masses[atom] * places[atom] for atom in atoms) / sum(molecule.masses[atom] for atom in atoms)
        for atoms in fragments
    ]
    found = {}
    for i, j in combinations(range(len(fragments)), 2):
        apart = [np.linalg.norm(places[a] - places[b]) for a in fragments[i] for b in fragments[j]]
        between = np.linalg.norm(centres[i] - centres[j])
        found[i + 1, j + 1] = {"nearest": min(apart), "farthest": max(apart), "centres": between}
    return found


def pairs_within(fields, distance):
    return {pair for pair, of in measured(fields).items() if of["nearest"] <= distance}


def summed(energy, fragments, pairs, highest, *, lowest=2):
    """Return the expansion by inclusion and exclusion without the terms of fragments that are apart."""
    return sum(
        (-1) ** (len(real) - below) * energy(part)
        for size in range(lowest, highest + 1)
        for real in combinations(range(1, fragments + 1), size)
        if set(combinations(real, 2)) <= pairs
        for below in range(1, size + 1)
        for part in combinations(real, below)
    )


@pytest.mark.parametrize(
    ("name", "bsse", "highest", "distance"),
    [
        ("water4", ("nocp",), 2, 1.0),
        ("water4", ("nocp",), 3, BETWEEN),
        ("water4", ("nocp",), 4, BETWEEN),
        ("water6", ("nocp",), 3, BETWEEN),
        ("water6", ("nocp",), 3, 3.0),
        ("water4", ("cp",), 2, BETWEEN),
        ("water4", ("cp",), 3, BETWEEN),
        ("water4", ("cp",), 4, BETWEEN),
        ("water6", ("cp",), 3, BETWEEN),
        ("water4", ("nocp", "cp"), 3, BETWEEN),
    ],
)
def test_the_sum_is_the_plain_expansion_without_the_far_terms(cluster, name, bsse, highest, distance):
    fields = cluster(name, bsse=bsse, max_nbody=highest)
    of, pairs = energies(fields), pairs_within(fields, distance)
    count = len(fields["molecule"]["fragments"])
    properties = screened(fields, screen_distance=distance)[0].properties
    for each in bsse:

        def energy(real, basis=None if each == "nocp" else tuple(range(1, count + 1))):
            return of[real, basis or real, "(auto)"]

        interaction = summed(energy, count, pairs, highest)
        assert getattr(properties, f"{each}_corrected_interaction_energy") == pytest.approx(interaction, abs=1e-10)
        if each == "nocp":
            total = summed(energy, count, pairs, highest, lowest=1)
            assert properties.nocp_corrected_total_energy == pytest.approx(total, abs=1e-10)


def two_levels(fields):
    """Return an input with monomers by MP2 and pairs and triples by HF."""
    specification = fields["specification"]
    chemistry = specification["specification"].pop("(auto)")
    for level, method in (("high", "mp2"), ("low", "hf")):
        specification["specification"][level] = {**chemistry, "model": {**chemistry["model"], "method": method}}
    specification["keywords"] = {"bsse_type": ["nocp"], "levels": {1: "high", 3: "low"}, "return_total_data": True}
    return fields


@pytest.mark.parametrize("equal", [False, True])
def test_each_level_is_without_its_own_far_terms_and_levels_of_equal_content_are_screened_as_one(cluster, equal):
    fields = two_levels(cluster("water4"))
    chemistries = fields["specification"]["specification"]
    if equal:
        chemistries["high"] = chemistries["low"]
    high, low = (
        {real: energy for (real, _, of), energy in energies(fields).items() if equal or of == level}
        for level in ("high", "low")
    )
    expected = sum(high[i,] for i in EVERYTHING) + summed(low.get, 4, pairs_within(fields, BETWEEN), 3)
    assert screened(fields, screen_distance=BETWEEN)[0].return_result == pytest.approx(expected, abs=1e-10)


APART, DISTANCES = {2: 2.99, 3: 2.988}, "--screen-distance 2=2.99,3=2.988: 2 of 10 components are not"
NAMED = {(1, 2, 4), (1, 2), (1, 4), (2, 4), (3, 4)}


@pytest.mark.parametrize("bsse", ["nocp", "cp"])
@pytest.mark.parametrize(
    ("highest", "stated", "is_kept", "words"),
    [
        (2, {"around": (2,)}, lambda term: 2 in term.fragments, "--around 2: 3 of 6 components are not"),
        (2, {"around": (1, 4)}, lambda term: term.fragments != (2, 3), "--around 1,4: 1 of 6 components are not"),
        (
            2,
            {"around": (1,), "screen_distance": BETWEEN},
            lambda term: 1 in term.fragments and term.distance_angstrom <= BETWEEN,
            "--around 1 --screen-distance 2.5: 4 of 6 components",
        ),
        (3, {"screen_distance": {3: 1.0}}, lambda term: term.nbody == 2, "--screen-distance 3=1: "),
        (3, {"screen_distance": APART}, lambda term: term.distance_angstrom <= APART[term.nbody], DISTANCES),
        (3, {"terms": ((4, 1, 2), (3, 4))}, lambda term: term.fragments in NAMED, "--terms"),
    ],
    ids=["around", "around two", "around and near", "triples alone", "distances", "terms"],
)
def test_terms_that_are_kept_are_those_of_the_whole_and_the_others_are_zero_and_said(
    cluster, bsse, highest, stated, is_kept, words
):
    fields = cluster("water4", max_nbody=highest, bsse=(bsse,))
    whole = autotune.tabulate_terms(screened(fields)[0]).terms
    result, omitted = screened(fields, **stated)
    found = {term.fragments: term.contribution_hartree for term in autotune.tabulate_terms(result).terms}
    left = {term.fragments: term.contribution_hartree for term in whole if is_kept(term)}
    assert 0 < len(left) < len(whole)
    for fragments, energy in found.items():
        assert energy == pytest.approx(left.get(fragments, 0.0), abs=1e-11)
    assert result.return_result == pytest.approx(math.fsum(left.values()), abs=1e-10)
    (said,) = omitted
    assert said.option in stated
    assert (said.tasks, said.of) == (len(whole) - len(left), len(whole))
    assert said.words.startswith(words)


def test_a_component_left_out_adds_nothing_of_its_own(cluster):
    properties = screened(cluster("water4", max_nbody=3), screen_distance=BETWEEN)[0].properties
    assert abs(properties.nocp_corrected_3_body_contribution_to_energy) < 1e-11
    assert screened(cluster("water2", bsse=("cp",)), screen_distance=0.5)[0].return_result == 0.0


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        ({"screen_distance": 100.0}, "--screen-distance 100: no two fragments are farther apart"),
        ({"around": (1,)}, "--around 1: all pairs have one of these fragments"),
    ],
    ids=str,
)
def test_a_screen_that_leaves_nothing_out_changes_no_bit_and_is_said(cluster, stated, words):
    fields = cluster("water2")
    result, (omitted,) = screened(fields, **stated)
    assert (omitted.tasks, omitted.words) == (0, f"{words}, so all components are computed")
    assert result.model_dump_json() == screened(fields)[0].model_dump_json()


@pytest.mark.programs("pyscf")
def test_what_is_left_out_of_a_run_is_said_and_recorded_and_the_rest_is_computed(cluster):
    said = []
    with Session(Options(screen_distance=BETWEEN), on_notice=said.append) as session:
        result = session.run(cluster("water4", max_nbody=3))
        record = session.record
    words = (
        "--screen-distance 2.5: 6 of 10 components are not computed (2-body 2 of 6, 3-body 4 of 4); their contributions"
        " are taken as zero"
    )
    assert words in said
    assert [(each.option, each.tasks, each.of, each.words) for each in record.omitted] == [
        ("screen_distance", 6, 10, words)
    ]
    assert record.tasks == len(record.task_records) == 8
    terms = autotune.tabulate_terms(result).terms
    assert [abs(term.contribution_hartree) > 1e-11 for term in terms] == [
        term.distance_angstrom < 2.5 for term in terms
    ]


@pytest.mark.parametrize("name", ["water4", "water6", "methanol_water6", "sodium_chloride_water6"])
@pytest.mark.parametrize("metric", ["nearest", "farthest", "centres"])
def test_metrics_measure_what_they_say(cluster, name, metric):
    fields = cluster(name, max_nbody=2)
    distances = {pair: of[metric] for pair, of in measured(fields).items()}
    recipe = workload.load(fields).recipe
    for distance in sorted(distances.values())[:: max(1, len(distances) // 5)]:
        limit = distance + 1e-6
        assert near_pairs(recipe, limit, metric=metric) == {pair for pair, d in distances.items() if d <= limit}


def test_a_metric_is_said(cluster):
    _, (omitted,) = screened(cluster("water4", max_nbody=2), screen_distance=3.5, screen_metric="centres")
    assert omitted.words.startswith("--screen-distance 3.5 of centres of mass: ")


def test_a_level_that_is_not_named_has_the_distance_of_the_next_lower_one_and_below_them_all_is_computed():
    assert [cutoff_of(nbody, 5.0) for nbody in (2, 3)] == [5.0, 5.0]
    assert [cutoff_of(nbody, {3: 8.0, 5: 4.0}) for nbody in (2, 3, 4, 5, 6)] == [math.inf, 8.0, 8.0, 4.0, 4.0]


# --- what is refused -------------------------------------------------------------------------------------------------

NEAR = {"screen_distance": BETWEEN}


@pytest.mark.parametrize(
    ("keywords", "stated", "fault"),
    [
        ({"bsse_type": ["vmfc"]}, NEAR, "vmfc"),
        ({"supersystem_ie_only": True}, NEAR, "supersystem"),
        ({"levels": {1: "high", "supersystem": "low"}, "max_nbody": None}, NEAR, "supersystem"),
        ({"bsse_type": ["nocp", "cp"], "max_nbody": 4}, NEAR, "which nocp and cp share"),
        ({}, {"around": (5,)}, "names fragment 5, but there are 4"),
        ({"max_nbody": 3}, {"around": (1,)}, "terms of three fragments need pairs"),
        ({}, {"terms": ((1, 9),)}, "^--terms names fragment 9, but there are 4"),
        ({}, {"terms": ((1, 2, 3),)}, "^--terms names 1-2-3, but there are terms up to 2-body; raise max_nbody"),
    ],
)
def test_expansions_that_a_screen_is_not_defined_for_are_refused_in_one_line(cluster, keywords, stated, fault):
    fields = cluster("water4", max_nbody=2)
    fields = two_levels(fields) if "levels" in keywords else fields
    fields["specification"]["keywords"].update(keywords)
    with pytest.raises(InputError, match=fault) as refused:
        screened(fields, **stated)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("stated", "words"),
    [
        *(({"screen_distance": distance}, "screen_distance") for distance in (0.0, -1.0, math.nan)),
        ({"screen_distance": {}}, "names no level"),
        ({"screen_distance": {1: 5.0}}, "names level 1"),
        ({"screen_distance": {"2": 5.0}}, "names level '2'"),
        ({"screen_distance": {2: -1.0}}, "must be above 0"),
        ({"screen_distance": {2: 5.0, 3: 6.0}}, "grows with the level"),
        ({"screen_metric": "centres"}, "option screen_metric says what a distance is: give screen_distance"),
        (
            {"screen_metric": "middle", "screen_distance": 1.0},
            "option screen_metric is 'middle'; there are nearest, centres, farthest",
        ),
        *(({"around": around}, "is no tuple of fragments") for around in (1, (0,), ("1",), (True,), (1.5,))),
    ],
    ids=str,
)
def test_options_that_cannot_be_meant_are_refused(stated, words):
    with pytest.raises(InputError, match=words):
        Options(**stated)


def from_command_line(**given):
    return options.session_options({"no_program_tuning": False, "strategies": None, **given})


@pytest.mark.parametrize(
    ("option", "text", "expected"),
    [
        ("screen_distance", "8", 8.0),
        ("screen_distance", "2.5e0", 2.5),
        ("screen_distance", "2=12,3=8", {2: 12.0, 3: 8.0}),
        ("screen_distance", "3=8", {3: 8.0}),
        ("around", "1,3", (1, 3)),
    ],
)
def test_distances_and_fragments_are_read_from_the_command_line(option, text, expected):
    assert from_command_line(**{option: text})[option] == expected


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        *(
            ("screen_distance", text, r"^--screen-distance .*(as 2=12,3=8|twice)")
            for text in ("near", "2=", "2=a", "=3", "2=12,2=8", "2=12;3=8")
        ),
        ("around", "ligand", "--around 'ligand' is no list of fragments"),
    ],
)
def test_what_is_no_distance_or_fragment_is_refused_in_one_line(option, text, words):
    with pytest.raises(InputError, match=words):
        from_command_line(**{option: text})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1 2\n3\n", "line 2 is no term, '3'; write its fragments, as 1 2 5"),
        ("1 x\n", "line 1 is no term, '1 x'"),
        ("2 2\n", "line 1 is no term, '2 2'"),
        ("0 1\n", "line 1 is no term, '0 1'"),
        ("# nothing\n", "names no term; write one on each line"),
    ],
)
def test_terms_are_read_from_a_file_with_comments_and_what_is_no_term_is_refused(tmp_path, text, words):
    path = tmp_path / "terms"
    path.write_text("# of the ligand\n1 2 5\n\n1-3  # a pair\n2,4\n")
    assert from_command_line(terms=str(path))["terms"] == ((1, 2, 5), (1, 3), (2, 4))
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        from_command_line(terms=str(path))
