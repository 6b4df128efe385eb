"""The older executor's interface: its scripts run unchanged, its results are upstream's, and nothing is made up."""

from __future__ import annotations

import copy
import gc
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from importlib.resources import files
from itertools import pairwise
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pretended
import psutil
import pytest
import qcengine
from processes import below
from qcmanybody import BsseEnum, ManyBodyCore, delabeler
from qcmanybody.models import v2

import autotune
from autotune.base.errors import InputError, ResourceError, TaskError
from autotune.base.records import Law
from autotune.compat import run_statistics
from autotune.compat.run_statistics import serial_time
from autotune.costs.cost_law import Costs
from autotune.expansion import workload
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields
from autotune.machine import detection
from autotune.parallel import (
    AdaptiveParallelConfig,
    DynamicLoadBalancer,
    HybridParallelConfig,
    MethodAwareConfig,
    ParallelConfig,
    ParallelManyBodyExecutor,
)
from autotune_plugins import program_pyscf

CORES = detection.detect().cores


def pyscf_config(**changes):
    return ParallelConfig(**{"qc_program": "pyscf", "max_workers": 2, **changes})


def molecule(cluster, name, version=2):
    return v2.ManyBodyInput(**cluster(name)).molecule.convert_v(version)


def core_of(of, *, levels=None, **changes):
    given = {
        "molecule": of,
        "bsse_type": [BsseEnum.nocp],
        "levels": levels or {1: "hf", 2: "hf"},
        "return_total_data": False,
        "supersystem_ie_only": False,
        "embedding_charges": {},
        **changes,
    }
    return ManyBodyCore(**given)


def faulty_executor(cluster, name="water4", *, method="nothing", config=None, keywords=None, levels=None, **core):
    """Return an executor for the program that computes nothing."""
    chemistries = {
        chemistry: {"program": "faulty", "specification": {"model": {"method": method}, "keywords": keywords or {}}}
        for chemistry in (levels or {0: "hf"}).values()
    }
    made = core_of(molecule(cluster, name), levels=levels, **core)
    return ParallelManyBodyExecutor(made, config or ParallelConfig(max_workers=2), specifications=chemistries)


@pytest.fixture(scope="module")
def both():
    """Return what there is of the same small expansion by schema version."""
    text = (files("autotune.studies") / "workloads" / "water4.xyz").read_text()
    fields = many_body_fields(text, name="water4", expansion=Expansion(program="pyscf", method="hf", basis="sto-3g"))
    with ExitStack() as stack:
        found = {}
        for version in (1, 2):
            core = core_of(v2.ManyBodyInput(**fields).molecule.convert_v(version))
            executor = stack.enter_context(ParallelManyBodyExecutor(core, pyscf_config(memory_limit_mb=1024)))
            results, record = executor.execute_full_calculation(), executor._session.record
            statistics = executor.get_execution_statistics()
            found[version] = SimpleNamespace(
                version=version, executor=executor, core=core, results=results, statistics=statistics, record=record
            )
        yield found


@pytest.fixture(params=[1, 2])
def computed(both, request):
    return both[request.param]


@pytest.fixture(scope="module")
def elsewhere(both):
    """Return a process in the environment of the workers that knows upstream's programs."""
    with pytest.MonkeyPatch.context() as patch:
        # OpenBLAS reads it when it is loaded, which it is here already.
        patch.setenv("OPENBLAS_CORETYPE", both[2].record.policy.blas_kernel)
        registered = program_pyscf.autotune_register_programs
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=registered) as process:
            yield process


# --- results ----------------------------------------------------------------------------------------------------------


def test_the_labels_are_those_that_upstreams_core_iterates_over(computed):
    executor, results = computed.executor, computed.results
    assert list(results) == [label for _, label, _ in computed.core.iterate_molecules()]
    assert [task.label for tasks in executor.tasks_by_level.values() for task in tasks] == list(results)


def test_results_are_in_the_schema_version_of_the_cores_molecule(computed):
    version, results = computed.version, computed.results
    assert {result.schema_version for result in results.values()} == {version}
    assert {type(result).__module__.split(".")[2] for result in results.values()} == {f"v{version}"}
    task = computed.executor.tasks_by_level[2][0]
    assert type(task.atomic_input).__module__.split(".")[2] == f"v{version}"
    assert (task.level, task.model_chemistry, task.program) == (2, "hf", "pyscf")


def test_every_energy_is_to_the_last_bit_the_one_of_upstreams_call_in_the_same_environment(computed, elsewhere):
    grants_gib = {task.label: task.grant_gib for task in computed.record.task_records}
    inputs = {task.label: task.atomic_input for tasks in computed.executor.tasks_by_level.values() for task in tasks}
    for _, label, of in computed.core.iterate_molecules():
        assert inputs[label].molecule.get_hash() == of.get_hash()
        theirs = elsewhere.submit(
            qcengine.compute,
            inputs[label].model_copy(update={"molecule": of}),
            "pyscf",
            raise_error=True,
            task_config={"ncores": 1, "memory": grants_gib[label]},
        ).result()
        assert computed.results[label].return_result == theirs.return_result


def test_every_energy_is_to_the_last_bit_that_of_autotune_run(both, cluster):
    fields = cluster("water4", max_nbody=2)
    fields["specification"]["specification"] = {"hf": fields["specification"]["specification"]["(auto)"]}
    fields["specification"]["keywords"] = {"bsse_type": ["nocp"], "levels": {2: "hf"}}
    fields["specification"]["protocols"] = {"cluster_results": "all"}
    run = autotune.run(fields, threads=1, program_tuning=False)
    assert {k: r.return_result for k, r in run.cluster_results.items()} == {
        k: r.return_result for k, r in both[2].results.items()
    }


def test_the_core_that_the_script_made_analyzes_the_results_as_the_older_one_did(computed):
    core, results = computed.core, computed.results
    assert computed.executor.core is core
    assert isinstance(core, ManyBodyCore)
    values = {label: {"energy": result.properties.return_energy} for label, result in results.items()}
    upstreams = core_of(core.molecule).analyze(values)
    for ours in (core.analyze(results), core.analyze(values)):
        assert ours["ret_energy"] == upstreams["ret_energy"] != 0.0
        assert ours["results"] == upstreams["results"]


def test_level_by_level_and_one_by_one_give_the_same_bits_with_the_same_workers(computed):
    executor, results = computed.executor, computed.results
    by_level = executor.execute_level_parallel(1, executor.tasks_by_level[1])
    before = {process.pid for process in below()}
    by_level |= executor.execute_level_parallel(2, executor.tasks_by_level[2])
    assert executor.validate_parallel_correctness(by_level, results, tolerance=0.0)
    task = executor.tasks_by_level[2][3]
    label, result = executor.execute_fragment(task)
    assert label == task.label
    assert result.return_result == results[label].return_result
    assert {process.pid for process in below()} == before != set()


def test_a_script_in_the_older_style_needs_no_more_than_another_import_line(cluster, tmp_path):
    path = tmp_path / "input.json"
    path.write_text(v2.ManyBodyInput(**cluster("water2")).convert_v(1).json())
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from qcmanybody.models import ManyBodyInput\n"
        "from autotune.parallel import ParallelConfig, ParallelManyBodyExecutor\n"
        "config = ParallelConfig(max_workers=4, execution_mode='multiprocessing', qc_program='pyscf',\n"
        "    basis_set='sto-3g', memory_limit_mb=1000, timeout_seconds=600,\n"
        "    qcengine_config={'keywords': {}, 'protocols': {'stdout': False}})\n"
        "executor = ParallelManyBodyExecutor.from_manybodyinput(ManyBodyInput.parse_file(sys.argv[1]), config)\n"
        "results = executor.execute_full_calculation()\n"
        "statistics = executor.get_execution_statistics()\n"
        "print(statistics['total_fragments'], statistics['levels_executed'], statistics['parallel_time'] > 0)\n"
        "print(f\"{executor.core.analyze(results)['ret_energy']:.10f}\")\n"
    )
    done = subprocess.run(
        [sys.executable, str(script), str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    counted, energy = done.stdout.splitlines()
    assert counted == "3 2 True"
    assert float(energy) == pytest.approx(autotune.run(cluster("water2")).return_result, abs=1e-9)


def test_a_gradient_is_a_gradient_in_both_versions(cluster):
    given = v2.ManyBodyInput(**cluster("water2", driver="gradient"))
    found = []
    for model in (given, given.convert_v(1)):
        with ParallelManyBodyExecutor.from_manybodyinput(model, pyscf_config()) as executor:
            assert executor.driver == "gradient"
            results = executor.execute_full_calculation()
            found.append(results)
            assert {result.return_result.shape for result in results.values()} == {(3, 3), (6, 3)}
            total = executor.core.analyze(results)["ret_gradient"]
            assert total.shape == (6, 3)
            assert executor.validate_parallel_correctness(results, results)
    assert executor.validate_parallel_correctness(*found, tolerance=0.0)


@pytest.mark.parametrize(
    ("changes", "tasks"),
    [
        ({"bsse_type": [BsseEnum.cp]}, 10),
        ({"bsse_type": [BsseEnum.vmfc], "levels": {1: "hf", 2: "hf", 3: "hf"}}, 50),
        ({"levels": {1: "hf", 2: "mp2", 3: "mp2"}, "return_total_data": True}, 14),
        ({"levels": {1: "hf", 2: "mp2", "supersystem": "third"}}, 11),
        ({"bsse_type": [BsseEnum.cp], "levels": dict.fromkeys(range(1, 5), "hf"), "supersystem_ie_only": True}, 5),
    ],
)
def test_every_kind_of_expansion_has_upstreams_labels_and_analysis_and_computes_equal_components_once(
    cluster, changes, tasks
):
    with faulty_executor(cluster, **changes) as executor:
        results = executor.execute_full_calculation()
        assert executor._session.record.tasks == tasks
    assert set(results) == {label for _, label, _ in executor.core.iterate_molecules()}
    total = changes.get("return_total_data", False)
    assert executor.core.analyze(results)["ret_energy"] == (-40.0 if total else 0.0)
    assert set(executor.tasks_by_level) == set(levels_of(results))


def levels_of(labels):
    return [len(delabeler(label)[1]) for label in labels]


def test_an_expansion_or_a_level_without_a_component_has_no_results_and_no_process(cluster):
    before = below()
    with faulty_executor(cluster, levels={1: "hf"}, bsse_type=[BsseEnum.cp]) as executor:
        assert executor.execute_full_calculation() == {}
    assert executor.get_execution_statistics()["total_fragments"] == 0
    with faulty_executor(cluster) as executor:
        assert executor.execute_level_parallel(1, []) == {}
        assert below() == before


# --- specifications ---------------------------------------------------------------------------------------------------


def test_a_model_chemistry_without_a_specification_is_made_from_the_configuration(cluster):
    config = ParallelConfig(
        qc_program="pyscf", basis_set="6-31g", qcengine_config={"keywords": {"max_cycle": 30}, "protocols": {}}
    )
    executor = ParallelManyBodyExecutor(core_of(molecule(cluster, "water2")), config)
    specification = executor.tasks_by_level[1][0].atomic_input.specification
    assert executor.tasks_by_level[1][0].program == "pyscf"
    assert (specification.model.method, specification.model.basis) == ("hf", "6-31g")
    assert (specification.driver, specification.keywords) == ("energy", {"max_cycle": 30})


def test_a_model_chemistry_that_nothing_is_known_of_is_a_key_error(cluster):
    with pytest.raises(KeyError, match="model chemistry 'hf' has no specification"):
        ParallelManyBodyExecutor(core_of(molecule(cluster, "water2")), ParallelConfig(qc_program=""))


@pytest.mark.parametrize(
    ("given", "named", "default", "expected"),
    [
        ("hessian", "gradient", "energy", "hessian"),
        (None, "gradient", "energy", "gradient"),
        (None, None, "energy", "energy"),
        (None, None, "hessian", "hessian"),
    ],
)
def test_the_driver_is_the_one_given_else_the_specifications_else_the_configurations(
    cluster, given, named, default, expected
):
    specification = {"model": {"method": "hf", "basis": "sto-3g"}, "keywords": {}, "protocols": {}, "extras": {}}
    specifications = {"hf": {"program": "pyscf", "specification": {**specification, "driver": named}}}
    executor = ParallelManyBodyExecutor(
        core_of(molecule(cluster, "water2", 1)),
        ParallelConfig(default_driver=default),
        driver=given,
        specifications=specifications,
    )
    assert executor.driver == executor.tasks_by_level[1][0].atomic_input.driver == expected
    assert specifications["hf"]["specification"].get("driver") == named


def test_fields_of_a_many_body_input_will_do(cluster):
    fields = cluster("water2")
    for given in (fields, v2.ManyBodyInput(**fields).convert_v(1).dict()):
        executor = ParallelManyBodyExecutor.from_manybodyinput(copy.deepcopy(given), pyscf_config())
        assert executor.workload.schema_version == given.get("schema_version", 2)
        assert len(executor.tasks_by_level[1]) == 2


def test_what_is_no_core_and_no_input_is_refused():
    with pytest.raises(InputError, match=r"core is a qcmanybody\.ManyBodyCore, not str"):
        ParallelManyBodyExecutor("water", ParallelConfig())
    with pytest.raises(InputError, match="a many-body input is a ManyBodyInput or a mapping, not str"):
        ParallelManyBodyExecutor.from_manybodyinput("water", ParallelConfig())


# --- configuration ----------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_older_configuration():
    config = ParallelConfig()
    assert (config.max_workers, config.execution_mode, config.memory_limit_mb) == (4, "multiprocessing", 1000)
    assert (config.timeout_seconds, config.qcengine_config, config.use_qcengine) == (3600, {}, True)
    assert (config.qc_program, config.basis_set, config.default_driver) == ("psi4", "sto-3g", "energy")
    config.max_workers = 8
    assert config.max_workers == 8


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (ParallelConfig, {"execution_mode": "gpu"}, "Invalid execution_mode 'gpu'"),
        (ParallelConfig, {"max_workers": 0}, "max_workers must be >= 1"),
        (ParallelConfig, {"histogram_bins": 0}, "histogram_bins must be >= 1"),
        (ParallelConfig, {"memory_limit_mb": 0}, "memory_limit_mb must be above 0"),
        (ParallelConfig, {"timeout_seconds": -1}, "timeout_seconds must be above 0"),
        (AdaptiveParallelConfig, {"qc_threads_per_fragment": 0}, "qc_threads_per_fragment must be >= 1"),
        (AdaptiveParallelConfig, {"max_workers": 2, "max_total_threads": 1}, "is 2, but max_total_threads 1"),
        (MethodAwareConfig, {"method_overrides": {"hf": {"wrokers": 1}}}, "method_overrides of 'hf' name wrokers"),
        (HybridParallelConfig, {"thread_allocation_strategy": "fair"}, "Invalid thread_allocation_strategy 'fair'"),
        (
            HybridParallelConfig,
            {"thread_allocation_strategy": "memory_aware", "without": ("memory_scheduling",)},
            "needs strategy 'memory_scheduling'",
        ),
    ],
)
def test_a_value_that_cannot_be_meant_is_a_value_error(kind, values, message):
    with pytest.raises(ValueError, match=message):
        kind(**values)


def test_without_qcengine_the_configuration_is_an_import_error_and_no_number_is_made_up(cluster, monkeypatch):
    monkeypatch.setattr("autotune.compat.configuration.find_spec", lambda _: None)
    with pytest.raises(ImportError, match="QCEngine is not installed"):
        ParallelConfig()
    with pytest.raises(InputError, match="placeholder numbers, which are no longer offered"):
        ParallelManyBodyExecutor(core_of(molecule(cluster, "water2")), ParallelConfig(use_qcengine=False))


def test_workers_threads_time_and_memory_are_those_that_were_asked_for(cluster):
    for mode, workers in (("threading", 3), ("multiprocessing", 3), ("serial", 1)):
        config = ParallelConfig(max_workers=3, execution_mode=mode, memory_limit_mb=512, timeout_seconds=77)
        executor = faulty_executor(cluster, config=config)
        resolved = executor.resolved
        assert (resolved.workers, resolved.memory_gib, resolved.timeout_s) == (workers, workers * 0.5, 77)
        assert resolved.notes == ()
    with executor:
        executor.execute_full_calculation()
        record = executor._session.record
    assert (record.policy.workers, record.policy.width, record.policy.widest) == (1, 1, 1)
    assert record.memory_budget_gib == 0.5


def test_settings_for_qcengine_are_kept_and_those_without_effect_or_beyond_the_machine_are_named(cluster, tmp_path):
    settings = {"ncores": 2, "memory": 0.75, "scratch_directory": str(tmp_path), "retries": 3}
    config = ParallelConfig(max_workers=1, qcengine_config={"task_config": settings})
    executor = faulty_executor(cluster, config=config)
    assert executor._decision.options.scratch == str(tmp_path)
    assert (executor.resolved.threads_per_fragment, executor.resolved.memory_gib) == (2, 0.75)
    assert executor.resolved.notes == (
        "task_config retries has no effect: only ncores, memory, scratch_directory are used",
    )
    beyond = faulty_executor(cluster, config=ParallelConfig(memory_limit_mb=2**30)).resolved
    assert beyond.memory_gib <= detection.detect().memory_gib
    (note,) = beyond.notes
    assert "what autotune takes by itself is taken" in note


def test_a_fragment_over_its_time_is_killed(cluster):
    config = ParallelConfig(max_workers=2, timeout_seconds=1)
    with (
        faulty_executor(cluster, "water2", method="hang", config=config) as executor,
        pytest.raises(RuntimeError, match=r"and 2 more alike: timeout: took longer than the limit of 1 s"),
    ):
        executor.execute_full_calculation()


# --- what the older executor was planned to grow ----------------------------------------------------------------------


def test_everything_is_automatic_and_shown(cluster):
    found = AdaptiveParallelConfig().resolve(cluster("water4", max_nbody=2))
    assert found.tuning_match in ("exact", "near", "model", "default")
    resolved = AdaptiveParallelConfig(tuning="none").resolve(cluster("water4", max_nbody=2))
    assert (resolved.workers, resolved.threads_per_fragment) == (CORES, 1)
    assert (resolved.widest, resolved.total_threads, resolved.order) == (CORES, CORES, "longest")
    assert 0 < resolved.memory_gib < detection.detect().memory_gib
    assert (resolved.tuning_match, resolved.timeout_s) == ("none", None)
    assert resolved.tuning_reason == "asked for no tuning; the defaults are used"
    assert "hybrid" in resolved.strategies


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        (AdaptiveParallelConfig(max_workers=3), {"workers": 3}),
        (AdaptiveParallelConfig(qc_threads_per_fragment=1), {"threads_per_fragment": 1, "widest": 1}),
        (AdaptiveParallelConfig(max_total_threads=1), {"workers": 1, "total_threads": 1}),
        (AdaptiveParallelConfig(memory_limit_mb=512, max_workers=2), {"memory_gib": 1.0}),
        (AdaptiveParallelConfig(memory_limit_mb=512), {"memory_gib": 0.5 * CORES}),
        (AdaptiveParallelConfig(timeout_seconds=5), {"timeout_s": 5}),
        (AdaptiveParallelConfig(tuning="none"), {"tuning_match": "none"}),
        (AdaptiveParallelConfig(strategies=()), {"strategies": (), "workers": 4, "order": "input"}),
        (AdaptiveParallelConfig(without=("dynamic_balancing",)), {"order": "input"}),
        (AdaptiveParallelConfig(execution_mode="serial"), {"workers": 1}),
    ],
    ids=lambda given: str(given) if isinstance(given, dict) else "",
)
def test_what_is_said_is_kept_to_the_letter(cluster, config, shown):
    resolved = config.resolve(cluster("water4", max_nbody=2))
    assert {name: getattr(resolved, name) for name in shown} == shown


def test_an_adaptive_run_does_what_was_resolved(cluster):
    config = AdaptiveParallelConfig(max_workers=2, qc_threads_per_fragment=1, without=("dynamic_balancing",))
    with faulty_executor(cluster, config=config) as executor:
        executor.execute_full_calculation()
        policy, resolved = executor._session.record.policy, executor.resolved
    assert (policy.workers, policy.width, policy.order) == (2, 1, "input")
    assert (resolved.workers, resolved.threads_per_fragment, resolved.order) == (2, 1, "input")


def test_more_cores_than_there_are_are_refused(cluster):
    with pytest.raises(ResourceError, match="cores asked for"):
        AdaptiveParallelConfig(max_total_threads=CORES + 1).resolve(cluster("water2"))


def two_methods(cluster):
    fields = cluster("water4", max_nbody=2)
    chemistry = fields["specification"]["specification"]["(auto)"]
    mp2 = {**chemistry, "model": {"method": "mp2", "basis": "cc-pvdz"}}
    fields["specification"]["specification"] = {"low": chemistry, "high": mp2}
    fields["specification"]["keywords"] = {"bsse_type": ["nocp"], "levels": {1: "low", 2: "high"}}
    return fields


def test_the_overrides_of_the_method_that_takes_most_of_the_time_count(cluster):
    overrides = {"MP2": {"workers": 1, "threads": 2, "tuning": "none"}, "hf": {"workers": 7}}
    config = MethodAwareConfig(max_workers=3, method_overrides=overrides)
    both = config.resolve(two_methods(cluster))
    assert (both.workers, both.threads_per_fragment, both.tuning_match) == (1, 2, "none")
    (note,) = both.notes
    assert note.startswith("method_overrides of hf have no effect: mp2 takes most of the time")
    only = config.resolve(cluster("water2"))
    assert (only.workers, only.notes) == (7, ())
    assert MethodAwareConfig(max_workers=3).resolve(cluster("water2")).workers == 3


@pytest.mark.parametrize(
    ("allocation", "threads", "widest"),
    [("balanced", None, 1), ("balanced", 2, 2), ("adaptive", None, CORES), ("memory_aware", None, CORES)],
)
def test_threads_are_allocated_as_the_strategy_says(cluster, allocation, threads, widest):
    config = HybridParallelConfig(thread_allocation_strategy=allocation, qc_threads_per_fragment=threads, tuning="none")
    resolved = config.resolve(cluster("water4", max_nbody=2))
    assert (resolved.threads_per_fragment, resolved.widest) == (threads or 1, widest)
    assert "memory_scheduling" in resolved.strategies
    assert resolved.notes == ()


def test_thread_affinity_and_widths_that_cannot_adapt_are_said_to_have_no_effect(cluster):
    config = HybridParallelConfig(
        enable_thread_affinity=True, thread_allocation_strategy="adaptive", qc_threads_per_fragment=1
    )
    affinity, allocation = config.resolve(cluster("water2")).notes
    assert affinity.startswith("enable_thread_affinity has no effect")
    assert allocation.endswith("leaves all fragments at the 1 threads that were asked for")


def test_the_load_balancer_shows_the_schedule_of_the_run(cluster):
    fields = cluster("water4", max_nbody=2)
    one, two = (
        DynamicLoadBalancer(fields, AdaptiveParallelConfig(max_workers=n, qc_threads_per_fragment=1)) for n in (1, 2)
    )
    labels = {label for task in workload.load(fields).tasks for label in task.labels}
    assert set(two.order) == labels
    assert len(two.order) == len(labels)
    assert levels_of(two.order) == [2] * 6 + [1] * 4
    assert {placement.worker for placement in one.placements} == {0}
    assert {placement.worker for placement in two.placements} == {0, 1}
    assert sum(two.loads_s) == pytest.approx(sum(one.loads_s))
    assert max(two.loads_s) <= two.predicted_wall_s < one.predicted_wall_s
    by_worker = sorted(two.placements, key=lambda placement: (placement.worker, placement.start_s))
    for first, second in pairwise(by_worker):
        assert first.worker < second.worker or first.start_s + first.wall_s <= second.start_s + 1e-9


def test_the_load_balancer_takes_an_executor_with_its_configuration(cluster):
    before = below()
    executor = faulty_executor(cluster, config=ParallelConfig(max_workers=1))
    assert {placement.worker for placement in DynamicLoadBalancer(executor).placements} == {0}
    assert below() == before


# --- statistics -------------------------------------------------------------------------------------------------------


def test_statistics_count_fragments_and_levels_and_name_where_the_serial_time_comes_from(computed):
    found, record = computed.statistics, computed.record
    assert (record.policy.workers, record.memory_budget_gib) == (2, 2.0)
    assert (found["total_fragments"], found["levels_executed"]) == (10, 2)
    assert found["parallel_time"] == record.wall_s
    assert found["serial_time"] == found["sequential_time_estimate"] > 0
    assert found["speedup_factor"] == found["serial_time"] / found["parallel_time"]
    assert found["serial_time_source"] == run_statistics.CORRECTED
    assert {level: each["count"] for level, each in found["levels"].items()} == {1: 4, 2: 6}
    walls_s = [task.wall_s for task in record.task_records]
    assert sum(each["seconds"] for each in found["levels"].values()) == pytest.approx(sum(walls_s))
    edges_s, counts = found["fragment_histogram"]["edges_s"], found["fragment_histogram"]["counts"]
    assert (len(edges_s), len(counts), sum(counts)) == (11, 10, len(walls_s))
    assert (edges_s[0], edges_s[-1]) == (min(walls_s), max(walls_s))


def test_statistics_are_empty_at_first_add_up_by_level_and_start_anew_with_a_full_calculation(cluster):
    config = ParallelConfig(max_workers=2, collect_fragment_timings=False)
    with faulty_executor(cluster, config=config) as executor:
        empty = executor.get_execution_statistics()
        assert (empty["total_fragments"], empty["parallel_time"]) == (0, 0.0)
        assert (empty["serial_time"], empty["speedup_factor"]) == (0.0, 0.0)
        for level, tasks in executor.tasks_by_level.items():
            executor.execute_level_parallel(level, tasks)
        assert executor.execution_stats["total_fragments"] == 10
        executor.execute_full_calculation()
        executor.execute_full_calculation()
        last = executor.get_execution_statistics()
    assert (last["total_fragments"], last["levels_executed"], last["fragment_histogram"]) == (10, 2, {})


def test_the_serial_time_does_not_count_what_tasks_waited_for_each_others_cores():
    tasks = {n: pretended.task(n) for n in range(4)}
    crowded = [replace(pretended.record(n, wall_s=4.0), cpu_s=1.0) for n in range(4)]
    assert serial_time(crowded, tasks, {}) == (pytest.approx(4.0, rel=1e-6), run_statistics.CORRECTED)


def test_the_serial_time_of_a_calibrated_method_is_that_of_tasks_alone():
    tasks = {n: pretended.task(n) for n in range(4)}
    crowded = [pretended.record(n, wall_s=9.0) for n in range(4)]
    alone_s = Costs().estimate(tasks[0]).alone_s
    law = Law(seconds={}, spread=0.1, parallel=0.9, half_s=0.1, contention=1.25)
    seconds, source = serial_time(crowded, tasks, {pretended.METHOD: law})
    assert seconds == pytest.approx(4 * alone_s / 1.25)
    assert source == run_statistics.CALIBRATED
    other = replace(pretended.METHOD, method="mp2")
    mixed = {**tasks, 4: pretended.task(4, method=other)}
    assert serial_time([*crowded, pretended.record(4)], mixed, {pretended.METHOD: law})[1] == run_statistics.PARTLY


# --- comparison -------------------------------------------------------------------------------------------------------


def test_results_that_are_not_the_same_are_told_apart_by_label_side_and_difference(computed):
    executor, results = computed.executor, computed.results
    first, second = '["hf", [1], [1]]', '["hf", [2], [2]]'
    fewer = {label: result for label, result in results.items() if label != first}
    with pytest.raises(ValueError, match=r"9 parallel and 10 sequential results; only sequential: \[\"hf\", \[1\]"):
        executor.validate_parallel_correctness(fewer, results)
    with pytest.raises(ValueError, match=r"only parallel: .*\[1\].*; only sequential: .*\[2\]"):
        executor.validate_parallel_correctness(fewer | {first: results[first]}, {**fewer, "x [2]": results[second]})
    changed = {
        value: {**results, second: results[second].model_copy(update={"return_result": value})}
        for value in (results[second].return_result + 1e-6, float("nan"))
    }
    moved, bad = changed.values()
    with pytest.raises(ValueError, match=r"Energy difference of .*\[2\].* is 1.000e-06, which exceeds tolerance 1e-12"):
        executor.validate_parallel_correctness(moved, results)
    assert executor.validate_parallel_correctness(moved, results, tolerance=1e-5)
    with pytest.raises(ValueError, match="exceeds tolerance"):
        executor.validate_parallel_correctness(bad, results)
    wide = results[second].model_copy(update={"return_result": np.zeros((3, 3))})
    with pytest.raises(ValueError, match="has shape"):
        executor.validate_parallel_correctness({**results, second: wide}, results)


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_fragment_that_does_not_converge_is_a_runtime_error_with_its_label(cluster):
    config = pyscf_config(qcengine_config={"keywords": {"max_cycle": 2}})
    with ParallelManyBodyExecutor(core_of(molecule(cluster, "water2", 1)), config) as executor:
        with pytest.raises(RuntimeError, match=r"tasks failed: \w+mer \d.* \(hf\).*convergence: ") as caught:
            executor.execute_full_calculation()
        assert isinstance(caught.value.__cause__, TaskError)
        assert len(caught.value.__cause__.failed) == 3
        with pytest.raises(RuntimeError, match=r"\[\"hf\", \[2\], \[2\]\]"):
            executor.execute_fragment(executor.tasks_by_level[1][1])
        assert executor.get_execution_statistics()["total_fragments"] == 0


def test_an_impossible_basis_set_is_a_runtime_error_before_anything_is_computed(cluster):
    config = pyscf_config(basis_set="sto-99g")
    with ParallelManyBodyExecutor(core_of(molecule(cluster, "water2")), config) as executor:
        with pytest.raises(RuntimeError, match=r"model chemistry 'hf', fragment \d: .*sto-99g"):
            executor.execute_full_calculation()
        with pytest.raises(RuntimeError, match=r"fragment \[\"hf\", \[1\], \[1\]\]: .*sto-99g"):
            executor.execute_fragment(executor.tasks_by_level[1][0])


def test_after_a_failure_the_others_are_still_computed(cluster):
    with faulty_executor(cluster, method="crash", keywords={"at": [6]}) as executor:
        with pytest.raises(RuntimeError, match=r"^6 of 10 tasks failed: .*crash"):
            executor.execute_full_calculation()
        assert len(executor.execute_level_parallel(1, executor.tasks_by_level[1])) == 4


def test_tasks_of_another_level_or_executor_are_refused(cluster):
    executor, other = faulty_executor(cluster), faulty_executor(cluster)
    with pytest.raises(InputError, match=r"is of level 2, not 1"):
        executor.execute_level_parallel(1, executor.tasks_by_level[2])
    with pytest.raises(InputError, match="is none of this executor's"):
        executor.execute_fragment(other.tasks_by_level[1][0])
    with pytest.raises(InputError, match="a task is a FragmentTask from tasks_by_level, not tuple"):
        executor.execute_level_parallel(1, [(1, "hf", "label", None)])
    with pytest.raises(InputError, match="label no label is none of this expansion's"):
        executor._session.components(executor.workload, labels=["no label"])


# --- processes --------------------------------------------------------------------------------------------------------


def test_an_executor_that_nobody_needs_any_more_leaves_no_process(cluster):
    before, executor = set(below()), faulty_executor(cluster)
    executor.execute_level_parallel(1, executor.tasks_by_level[1])
    started = set(below()) - before
    assert started
    executor.close()
    assert executor.execute_level_parallel(1, executor.tasks_by_level[1])
    started |= set(below()) - before
    del executor
    gc.collect()
    _, alive = psutil.wait_procs(list(started), timeout=5)
    assert alive == []


def test_a_session_computes_components_without_their_sum(faulty):
    fields = faulty("water4")
    with autotune.Session() as session:
        everything = session.components(fields)
        some = session.components(fields, labels=list(everything)[:2])
        assert session.record.tasks == 2
        assert session.components(fields, labels=[]) == {}
        version_1 = session.components(v2.ManyBodyInput(**fields).convert_v(1), labels=some)
    assert {result.schema_version for result in version_1.values()} == {1}
    assert len(everything) == 10
    assert {label: result.return_result for label, result in some.items()} == dict.fromkeys(some, -10.0)
    assert list(some) == list(everything)[:2]
