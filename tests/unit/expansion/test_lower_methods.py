"""Energies that a calculation contains: what contains what, and that the energies are those of the lower methods."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import qcengine
from qcelemental.models.v2 import AtomicProperties

import autotune
from autotune.expansion import lower_methods, workload
from autotune.expansion.component import ENERGIES, atomic_input
from autotune.expansion.lower_methods import RANKS
from autotune.plugin.manager import Manager
from autotune.programs.facts import facts_of
from autotune_plugins.pyscf_input import HF_NAMES, KEYWORDS

LEVELS = {"cc": ("ccsd(t)", {}), "mp": ("mp2", {}), "hf": ("hf", {})}


@pytest.fixture
def leveled(cluster):
    """Return a function that makes an input with a method and keywords for each n-body level."""

    def make(levels=LEVELS, name="water4", *, program="pyscf", **keywords):
        fields = cluster(name)
        specification = fields["specification"]
        chemistry = specification["specification"].pop("(auto)")
        for level, (method, told) in levels.items():
            specification["specification"][level] = {
                **chemistry,
                "program": program,
                "model": {**chemistry["model"], "method": method},
                "keywords": told,
            }
        bodies = dict(enumerate(levels, start=1))
        specification["keywords"] = {"bsse_type": ["nocp"], "levels": bodies, **keywords}
        return fields

    return make


def taken(fields):
    """Return, by level and number of fragments, from which level and property energies are taken, and how often."""
    work = workload.load(fields)
    level_of = {task.key: task.level for task in work.tasks}
    found = lower_methods.sources(work.tasks, work.recipe)
    return Counter(
        (task.level, task.nbody, level_of[found[task.key].key], found[task.key].energy)
        for task in work.tasks
        if task.key in found
    )


def test_lower_methods_are_taken_from_the_highest_that_contains_them(leveled):
    assert taken(leveled()) == {
        ("mp", 1, "cc", "mp2_total_energy"): 4,
        ("hf", 1, "cc", "scf_total_energy"): 4,
        ("hf", 2, "mp", "scf_total_energy"): 6,
    }
    pair = {"triples": ("ccsd(t)", {}), "doubles": ("ccsd", {})}
    assert taken(leveled(pair)) == {("doubles", 1, "triples", "ccsd_total_energy"): 4}


@pytest.mark.parametrize(
    ("high", "low", "found"),
    [
        (("mp2", {"frozen_core": True}), ("hf", {}), 4),
        (("ccsd", {"cc_conv_tol": 1e-8, "frozen_core": True}), ("mp2", {"frozen_core": True}), 4),
        (("ccsd", {"frozen_core": True}), ("mp2", {}), 0),
        (("ccsd(t)", {"cc_conv_tol": 1e-8}), ("ccsd", {}), 0),
        (("mp2", {"conv_tol": 1e-9}), ("hf", {}), 0),
        (("mp2", {"density_fit": True}), ("hf", {}), 0),
        (("mp2", {"density_fit": True, "auxbasis_correlation": "cc-pvdz-ri"}), ("hf", {"density_fit": True}), 4),
        (("mp2", {}), ("uhf", {}), 0),
        (("mp2", {}), ("b3lyp", {}), 0),
        (("b3lyp", {}), ("hf", {}), 0),
        (("hf", {}), ("mp2", {}), 4),
    ],
)
def test_all_that_acts_on_the_lower_method_must_be_equal(leveled, high, low, found):
    assert sum(taken(leveled({"high": high, "low": low})).values()) == found


def test_another_basis_program_or_set_of_fragments_contains_nothing(leveled):
    two = {"high": ("mp2", {}), "low": ("hf", {})}
    assert taken(leveled(two, program="psi4")) == {}
    for change in ({"program": "psi4"}, {"model": {"method": "hf", "basis": "6-31g"}}):
        fields = leveled(two)
        fields["specification"]["specification"]["low"] |= change
        assert taken(fields) == {}
    # In counterpoise, monomers have the basis of all fragments at one level and their own at the other.
    fields = leveled(two, bsse_type=["cp"], return_total_data=True)
    work = workload.load(fields)
    basis = {task.key: task.basis for task in work.tasks}
    found = lower_methods.sources(work.tasks, work.recipe)
    assert all(basis[key] == basis[source.key] for key, source in found.items())


def test_the_tables_are_those_of_the_program_and_of_the_schema():
    assert set(ENERGIES) <= set(AtomicProperties.model_fields)
    stated = facts_of("pyscf").contained
    for method in ("hf", "mp2"):
        idle = {name for name, about in KEYWORDS.items() if not {method, "dft"} & {*about["acts_on"]}}
        assert idle == (stated.correlation_keywords if method == "hf" else stated.coupled_cluster_keywords)
    assert {name for name in RANKS if RANKS[name] == 0} == {name for name, kind in HF_NAMES.items() if kind is None}


@pytest.mark.parametrize("keywords", [{}, {"density_fit": True, "frozen_core": True}], ids=["plain", "fitted"])
@pytest.mark.parametrize("charge", [0, 1], ids=["closed", "open"])
def test_contained_energies_are_those_that_are_computed(leveled, charge, keywords):
    Manager().register_programs()
    methods = ("hf", "mp2", "ccsd", "ccsd(t)")
    of_hf = {name: value for name, value in keywords.items() if name == "density_fit"}
    fields = leveled({method: (method, of_hf if method == "hf" else keywords) for method in methods})
    fields["molecule"]["fragment_charges"] = [float(charge), 0.0, 0.0, 0.0]
    fields["molecule"]["fragment_multiplicities"] = [1 + charge, 1, 1, 1]
    recipe = workload.load(fields).recipe
    results = {
        method: qcengine.compute(
            atomic_input(recipe, method, (1,), (1, 2)),
            "pyscf",
            raise_error=True,
            return_version=2,
            task_config={"ncores": 1, "memory": 2.0, "retries": 0},
        )
        for method in methods
    }
    for low, high in itertools.combinations(methods, 2):
        within = lower_methods.energies(results[high].properties)[lower_methods.ENERGY_OF[low]]
        # HF alone stops earlier; MP2 in CCSD has the orbital energies of a Fock matrix that is made again.
        assert within == pytest.approx(results[low].return_result, abs=5e-9 if low == "mp2" else 5e-10)


def test_an_energy_that_is_missing_or_not_finite_is_not_there():
    properties = AtomicProperties(scf_total_energy=-1.0, mp2_total_energy=float("nan"))
    assert lower_methods.energies(properties) == {"scf_total_energy": -1.0}
    assert autotune.Options().reuse_contained is False
