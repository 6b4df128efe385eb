"""Embedding charges, as far as inputs: Psi4 before 1.6 ignores them, so nothing is computed with them here."""

from __future__ import annotations

from unittest import mock

import pytest
from qcelemental.models.v2 import AtomicResult
from qcmanybody.models import v2
from qcmanybody.v2 import ManyBodyComputer

from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.expansion.component import Recipe, atomic_input

pytestmark = pytest.mark.programs("pyscf")

CHARGES = (-0.8, 0.41, 0.39)


@pytest.fixture
def embedded(cluster, monkeypatch):
    """Return a function that makes an input with charges on the atoms of each molecule."""
    monkeypatch.setenv("QCMANYBODY_EMBEDDING_CHARGES", "1")

    def make(*, charges=CHARGES, **chosen):
        fields = cluster("water4", **{"program": "psi4", "basis": "6-31g", "max_nbody": 2, **chosen})
        of_each = {number: list(charges) for number in range(1, 5)}
        fields["specification"]["keywords"] |= {"return_total_data": True, "embedding_charges": of_each}
        return fields

    return make


def upstreams_inputs(fields):
    """Return what upstream's own loop hands to QCEngine."""
    asked = []

    def compute(asked_input, program, **_):
        asked.append((asked_input.model_copy(deep=True), program))
        return AtomicResult(
            input_data=asked_input,
            molecule=asked_input.molecule,
            properties={"return_energy": 0.0},
            return_result=0.0,
            success=True,
            provenance={"creator": "nothing"},
        )

    with mock.patch("qcengine.compute", compute):
        ManyBodyComputer.from_manybodyinput(v2.ManyBodyInput(**fields))
    return asked


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"max_nbody": 3},
        {"bsse": ("cp",)},
        {"bsse": ("vmfc",)},
        {"keywords": {"scf_type": "pk", "function_kwargs": {"ref_gradient": 1}}},
    ],
    ids=str,
)
def test_worker_built_inputs_equal_upstreams_field_by_field_and_building_them_leaves_the_recipe(embedded, chosen):
    fields = embedded(**chosen)
    work = workload.load(fields)
    recipe = Recipe.from_json(work.recipe.to_json())
    before = recipe.to_json()
    tasks = {label: task for task in work.tasks for label in task.labels}
    upstreams = upstreams_inputs(fields)
    assert len(upstreams) == len(work._keys_by_label)
    for label, (theirs, program) in zip(work._keys_by_label, upstreams, strict=True):
        task = tasks[label]
        ours = atomic_input(recipe, task.level, task.real, task.basis)
        assert program == "psi4"
        assert ours.model_dump_json() == theirs.model_dump_json()
        assert ours.molecule.model_fields_set == theirs.molecule.model_fields_set
    assert recipe.to_json() == before


def keys(fields):
    return {label: task.key for task in workload.load(fields).tasks for label in task.labels}


def test_content_keys_change_with_the_charges_and_their_places(embedded, cluster):
    moved = embedded()
    moved["molecule"]["geometry"][-1] += 0.1  # an atom of the fourth molecule
    without = cluster("water4", program="psi4", basis="6-31g", max_nbody=2)
    found = [keys(each) for each in (embedded(), embedded(charges=(-0.8, 0.4, 0.4)), moved, without)]
    for label in found[0]:
        assert len({each[label] for each in found}) == 4
    assert all(each.keys() == found[0].keys() for each in found)


@pytest.mark.parametrize("program", ["pyscf", "nwchem"])
def test_other_programs_than_psi4_are_refused(embedded, program):
    with pytest.raises(InputError) as refusal:
        workload.load(embedded(program=program))
    assert str(refusal.value) == (
        f"embedding charges cannot be given to {program}; leave embedding_charges out, or compute with psi4"
    )


def test_without_upstreams_consent_charges_are_refused_in_one_line(embedded, monkeypatch):
    fields = embedded()
    monkeypatch.delenv("QCMANYBODY_EMBEDDING_CHARGES")
    with pytest.raises(InputError, match=r"Set environment variable QCMANYBODY_EMBEDDING_CHARGES=1") as refusal:
        workload.load(fields)
    assert "\n" not in str(refusal.value)


@pytest.mark.programs("psi4")
def test_a_psi4_that_would_ignore_the_charges_is_refused_before_anything_is_computed(session, embedded):
    from autotune_plugins import psi4_harness, psi4_installation

    found = psi4_installation.find()
    if found.at_least(*psi4_harness.EXTERNAL_POTENTIALS_FROM):
        pytest.skip(f"Psi4 {found.version} takes external potentials")
    with pytest.raises(InputError, match=r"ignores external potentials \(embedding charges\); 1\.6 does not"):
        session.run(embedded())
