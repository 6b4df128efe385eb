"""Several programs in one input: the tuning of the one that takes the time, and the times of each."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tuning_factory import make_tuning

from autotune.base.options import Options
from autotune.expansion import workload
from autotune.machine import detection
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.tunings import library

pytestmark = pytest.mark.programs("psi4", "mopac", "pyscf", "tblite")

LEVELS = {
    "high": {"program": "psi4", "model": {"method": "hf", "basis": "cc-pvdz"}, "keywords": {"scf_type": "df"}},
    "middle": {"program": "pyscf", "model": {"method": "hf", "basis": "sto-3g"}},
    "low": {"program": "tblite", "model": {"method": "GFN2-xTB"}},
}


@pytest.fixture
def mixed(three_waters, kept):
    """Monomers with Psi4, dimers with PySCF, the trimer with tblite."""
    fields = kept(three_waters("psi4", "hf", "cc-pvdz", max_nbody=3))
    usual = {"driver": "energy", "keywords": {}}
    fields["specification"] |= {
        "specification": {name: {**usual, **chemistry} for name, chemistry in LEVELS.items()},
        "keywords": {"bsse_type": ["nocp"], "levels": {1: "high", 2: "middle", 3: "low"}},
    }
    return fields


def test_a_multi_level_input_of_three_programs_is_the_sum_of_its_components(session, mixed):
    # tblite gives gradients with its energies, over which upstream's own loop stumbles: no oracle for this one.
    result = session.run(mixed)
    energy = {label: component.properties.return_energy for label, component in result.cluster_results.items()}

    def level(name, bodies):
        told = {label: json.loads(label) for label in energy}
        return sum(energy[label] for label, (of, real, _) in told.items() if (of, len(real)) == (name, bodies))

    # Interaction energy: of one body with itself there is none.
    expected = level("middle", 2) - 2 * level("middle", 1)
    expected += level("low", 3) - level("low", 2) + level("low", 1)
    assert result.return_result == pytest.approx(expected, abs=1e-9)
    assert len(session.record.task_records) == 3 + 6 + 7
    assert {"psi4", "pyscf", "tblite"} <= session.record.versions.keys()


def test_the_tuning_of_the_program_that_takes_the_time_is_used_and_the_times_of_all(mixed, monkeypatch, tmp_path):
    monkeypatch.setenv("AUTOTUNE_HOME", str(tmp_path))
    work = workload.load(mixed)
    slow = {m.program: m for m in work.methods}["psi4"]
    for method in work.methods:
        known = make_tuning(method.program, method.method, method.basis)
        seconds = dict.fromkeys(known.law.seconds, 0.0) | {"start": 3.0 if method == slow else 0.001}
        law = replace(known.law, seconds=seconds)
        per_core = 2.0 if method == slow else 0.5
        library.save(replace(known, method=method, law=law, parameters={"adaptive_workers.per_core": per_core}))
    plan = planning.make(work, machine=detection.detect(), manager=Manager(), options=Options())
    assert plan.chosen.match == "exact"
    assert plan.tuning.method == slow
    assert plan.chosen.parameters["adaptive_workers.per_core"] == 2.0
    predicted = {task.method.program: plan.costs.estimate(task).alone_s for task in work.tasks}
    assert predicted == pytest.approx({"psi4": 3.0, "pyscf": 0.001, "tblite": 0.001})
