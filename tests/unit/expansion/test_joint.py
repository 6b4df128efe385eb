"""Claims about inputs that are joined: each component is what it is where its input runs by itself."""

from __future__ import annotations

import itertools

import pytest

from autotune.expansion import joint, workload
from autotune.expansion.component import Keys, Recipe, atomic_input

CASES = {
    "water2": {},
    "water4": {"bsse": ("cp",), "max_nbody": 2},
    "sodium_chloride_water6": {"max_nbody": 2},
    "methanol_water6": {"levels": {1: "hf/6-31g*", 2: "hf/sto-3g"}, "method": "", "basis": ""},
    "ammonia5": {"max_nbody": 2, "method": "mp2", "driver": "gradient", "keywords": {"conv_tol": 1e-9}},
}


@pytest.fixture
def works(cluster):
    return {name: workload.load(cluster(name, **expansion)) for name, expansion in CASES.items()}


def test_each_component_is_given_to_its_program_as_in_a_run_of_its_own(works):
    together = joint.join(works)
    recipe = Recipe.from_json(together.recipe.to_json())  # as a worker has it
    keys, by_key = Keys(recipe), {task.key: task for task in together.tasks}
    for name, work in works.items():
        for task in work.tasks:
            theirs = by_key[task.key]
            assert keys.key(theirs.level, theirs.real, theirs.basis) == task.key
            alone = atomic_input(work.recipe, task.level, task.real, task.basis).model_dump(mode="json")
            joined = atomic_input(recipe, theirs.level, theirs.real, theirs.basis).model_dump(mode="json")
            for fields in (alone, joined):
                del fields["molecule"]["name"]
            assert joined == alone, name
            assert (theirs.method, theirs.size) == (task.method, task.size)


def test_equal_tasks_are_there_once_and_are_called_by_their_input(cluster):
    work = workload.load(cluster("water4", max_nbody=2))
    other = workload.load(cluster("water4", max_nbody=1))
    together = joint.join({"a": work, "b": other, "c": work}, first=7)
    assert [task.key for task in together.tasks] == [task.key for task in work.tasks]
    assert [task.number for task in together.tasks] == list(range(7, 7 + len(work.tasks)))
    assert together.tasks[0].labels == tuple(f"a {label}" for label in work.tasks[0].labels)
    assert together.inputs == 3
    assert together.methods == work.methods


def test_what_a_recipe_has_once_tells_kinds_apart(cluster):
    fields = cluster("water2")
    whole = cluster("water2")
    whole["specification"]["protocols"] = {"cluster_results": "all"}
    frozen = cluster("water2")
    frozen["molecule"]["fix_symmetry"] = "c1"
    works = [workload.load(each) for each in (fields, whole, whole, frozen)]
    kinds = [joint.kind(work) for work in works]
    assert all(one != other for one, other in itertools.combinations(kinds, 2))
    assert joint.kind(workload.load(fields)) == joint.kind(workload.load(cluster("water4", method="mp2")))
