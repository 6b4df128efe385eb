"""Planning and assembly equal upstream's, for every kind of expansion; bad inputs get one clear line."""

from __future__ import annotations

import copy
import math
import time

import pytest
from qcmanybody.models import v1, v2
from replay import assert_bit_equal, replayed

import autotune
from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.expansion.component import Recipe, atomic_input

EXPANSIONS = {
    "nocp": {"bsse_type": ["nocp"], "max_nbody": 3},
    "cp": {"bsse_type": ["cp"], "max_nbody": 2},
    "nothing to compute": {"bsse_type": ["cp"], "max_nbody": 1},
    "cp total": {"bsse_type": ["cp"], "max_nbody": 3, "return_total_data": True},
    "vmfc": {"bsse_type": ["vmfc"], "max_nbody": 3},
    "all at once": {"bsse_type": ["nocp", "cp", "vmfc"], "max_nbody": 2, "return_total_data": True},
    "all bodies": {"bsse_type": ["nocp"]},
    "interaction only": {"bsse_type": ["cp"], "supersystem_ie_only": True},
    "two levels": {"bsse_type": ["nocp"], "levels": {1: "high", 3: "low"}},
    "two levels cp": {"bsse_type": ["cp"], "levels": {2: "high", 3: "low"}},
    "supersystem": {"bsse_type": ["nocp"], "levels": {1: "high", 2: "low", "supersystem": "third"}},
}


def expanded(fields, keywords, *, keep="all"):
    fields = copy.deepcopy(fields)
    specification = fields["specification"]
    specification["keywords"] = keywords
    specification["protocols"] = {"cluster_results": keep}
    chemistry = specification["specification"].pop("(auto)")
    for level in set(keywords.get("levels", {0: "(auto)"}).values()):
        specification["specification"][level] = {**chemistry, "keywords": {"level": level}}
    return fields


@pytest.fixture(scope="module")
def session():
    with autotune.Session() as warm:
        yield warm


@pytest.mark.parametrize(
    "name", sorted(EXPANSIONS.keys() - {"all bodies", "interaction only"})
)  # the others many times
@pytest.mark.parametrize("geometry", ["sodium_chloride_water6", "methanol_water6"])
def test_worker_built_inputs_equal_upstreams_field_by_field(faulty, geometry, name):
    fields = expanded(faulty(geometry), EXPANSIONS[name])
    work = workload.load(fields)
    recipe = Recipe.from_json(work.recipe.to_json())
    tasks = {label: task for task in work.tasks for label in task.labels}
    components = list(work._computer.qcmb_core.iterate_molecules())
    assert [label for _, label, _ in components] == list(work._keys_by_label)
    for level, label, molecule in components[:: max(1, len(components) // 25)]:
        task = tasks[label]
        built = atomic_input(recipe, level, task.real, task.basis).molecule
        assert built.model_dump_json() == molecule.model_dump_json()
        assert built.model_fields_set == molecule.model_fields_set


@pytest.mark.parametrize("name", EXPANSIONS)
def test_the_result_equals_upstreams_replay_to_the_last_bit(session, faulty, name):
    fields = expanded(faulty("water4"), EXPANSIONS[name])
    ours = session.run(fields)
    assert_bit_equal(ours, replayed(v2.ManyBodyInput(**fields), ours))


@pytest.mark.parametrize("name", ["cp", "two levels"])
def test_a_v1_input_gets_the_v1_result_that_upstreams_v1_replay_gives(session, faulty, name):
    fields = expanded(faulty("water4"), EXPANSIONS[name])
    version_1 = v2.ManyBodyInput(**fields).convert_v(1)
    ours = session.run(version_1)
    assert isinstance(ours, v1.ManyBodyResult)
    assert_bit_equal(ours, replayed(version_1, ours))


def test_component_results_are_left_out_unless_asked_for(session, faulty):
    result = session.run(expanded(faulty("water4"), EXPANSIONS["cp"], keep="none"))
    assert result.cluster_results == {}
    assert len(result.cluster_properties) == 10


def test_equal_content_under_two_labels_is_computed_once(session, faulty):
    fields = expanded(faulty("water4"), EXPANSIONS["two levels"])
    for chemistry in fields["specification"]["specification"].values():
        chemistry["keywords"] = {}
    work = workload.load(fields)
    assert len(work._keys_by_label) == 4 + 4 + 6 + 4
    assert len(work.tasks) == 14
    ours = session.run(fields)
    assert_bit_equal(ours, replayed(v2.ManyBodyInput(**fields), ours))


def test_keys_tell_apart_everything_the_result_depends_on(faulty):
    keys = {task.key for task in workload.load(expanded(faulty("water4"), EXPANSIONS["all at once"])).tasks}
    changed = faulty("water4")
    changed["molecule"]["geometry"][0] += 1e-7
    others = {task.key for task in workload.load(expanded(changed, EXPANSIONS["all at once"])).tasks}
    assert len(keys & others) == sum(1 for key in keys if key in others)
    assert 0 < len(keys & others) < len(keys)


def test_planning_costs_less_than_a_tenth_of_a_millisecond_a_task_and_little_without_stated_charges(faulty):
    for max_nbody, tasks, most in ((3, 64 + 2016 + 41664, 1e-4), (2, 64 + 2016, 4.8e-4)):
        fields = faulty("water64", max_nbody=max_nbody)
        if max_nbody == 2:
            del fields["molecule"]["fragment_charges"], fields["molecule"]["fragment_multiplicities"]
        started = time.process_time()
        work = workload.load(fields)
        assert (time.process_time() - started) / tasks < most
        assert len(work.tasks) == tasks


INVALID = "the many-body input is not valid: "
WRONG_KIND = "field molecule holds something of the wrong kind"


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("molecule", {"fragments": None}, "the molecule has no fragments, so there is nothing to expand"),
        ("molecule", {"fragments": 2}, WRONG_KIND),
        ("molecule", {"fragment_charges": [0]}, "fragment_charges has 1 entries for 4 fragments"),
        ("molecule", {"fragment_charges": [math.nan, 0, 0, 0]}, "fragment_charges holds nan, which is no number"),
        ("molecule", {"fragment_charges": ["a", 0, 0, 0]}, "fragment_charges holds 'a', which is no number"),
        ("molecule", {"fragment_charges": [1, 0, 0, 0], "fragment_multiplicities": [1] * 4}, INVALID),
        ("molecule", {"molecular_charge": 1}, "fragment_charges add up to +0 but molecular_charge is +1"),
        ("molecule", {"molecular_charge": "0"}, WRONG_KIND),
        ("molecule", {"geometry": [0.0] * 36}, "atoms 1 (O) and 2 (H) overlap"),
        ("molecule", {"symbols": ["Qq", *"HHOHHOHHOHH"]}, INVALID),
        ("keywords", {"max_nbody": 9}, "max_nbody is 9, but must lie within 1"),
        ("keywords", {"levels": {0: "a"}, "max_nbody": None}, "levels name the 0-body level; the lowest is 1"),
        ("keywords", {"levels": {1: "a", 2: "b"}, "max_nbody": 2}, "levels name 'a', 'b'"),
        ("keywords", {"bsse_type": ["pc"]}, f"{INVALID}field specification.keywords.bsse_type"),
        ("specification", {"driver": "enery"}, f"{INVALID}field specification.driver"),
        ("input", {"specification": None}, f"{INVALID}field specification"),
        ("input", {"molecule": None}, "the many-body input has no molecule"),
        ("input", {"schema_version": 7}, "schema_version 7 is not known"),
        ("input", {"schema_version": []}, "schema_version [] is not known"),
    ],
)
def test_a_bad_input_gets_one_line_that_names_the_fault(faulty, part, changes, message):
    fields = faulty("water4")
    place = {**fields["specification"], **fields, "input": fields}[part]
    place |= changes
    for name in [name for name in changes if part != "keywords" and changes[name] is None]:
        del place[name]
    with pytest.raises(InputError) as caught:
        workload.load(fields)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
