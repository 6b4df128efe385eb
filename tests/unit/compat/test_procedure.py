"""QCEngine's procedure `autotune`: the same ManyBodyResult as `qcmanybody`, and what optimisers need."""

from __future__ import annotations

import copy
import json
import multiprocessing
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import qcengine
from processes import below
from qcelemental.models import v1 as schema_1
from qcelemental.models import v2 as schema_2
from qcengine.exceptions import ConvergenceError, InputError, ResourceError, UnknownError
from qcmanybody.models import v1, v2
from replay import assert_bit_equal, replayed

import autotune
from autotune.base.options import Options
from autotune.compat import procedure
from autotune.plugin.manager import Manager

pytestmark = pytest.mark.programs("pyscf")

TOLERANCE = 1e-9  # hartree, hartree/bohr, hartree/bohr²
HF = {"program": "pyscf", "driver": "energy", "model": {"method": "hf", "basis": "sto-3g"}}
MP2 = {**HF, "model": {"method": "mp2", "basis": "sto-3g"}}


@pytest.fixture(scope="module", autouse=True)
def _registered():
    Manager().register_programs()
    autotune.register(options=Options(journal="none"))
    yield
    procedure.close()
    procedure.register(options=Options())


@pytest.fixture(autouse=True)
def _chosen_options_return():
    yield
    procedure.register(options=Options(journal="none"))


def first_atoms(fields, atoms):
    """Return an input for the first fragments of a cluster only."""
    cut = copy.deepcopy(fields)
    molecule = cut["molecule"]
    fragments = [fragment for fragment in molecule["fragments"] if max(fragment) < atoms]
    molecule["symbols"], molecule["geometry"] = molecule["symbols"][:atoms], molecule["geometry"][: 3 * atoms]
    molecule["fragments"] = fragments
    for name in ("fragment_charges", "fragment_multiplicities"):
        molecule[name] = molecule[name][: len(fragments)]
    return cut


@pytest.fixture
def waters(cluster):
    """Return a function that makes an input for two or three waters with keywords of the expansion."""

    def make(count, driver="energy", specification=HF, **keywords):
        fields = first_atoms(cluster("water4"), 3 * count)
        fields["specification"] = {
            "driver": driver,
            "keywords": keywords,
            "specification": specification,
            "protocols": {"cluster_results": "all"},
        }
        return fields

    return make


def with_molecule(fields, **molecule):
    return {**fields, "molecule": molecule}


HYDROXYL_AND_WATER = {
    "symbols": ["O", "H", "O", "H", "H"],
    "geometry": [0.0, 0.0, 0.0, 0.0, 0.0, 1.85, 0.0, 0.0, 5.5, 1.43, 0.0, 6.6, -1.43, 0.0, 6.6],
    "fragments": [[0, 1], [2, 3, 4]],
}
IONS = {
    "symbols": ["Li", "F", "O", "H", "H"],
    "geometry": [0.0, 0.0, 0.0, 0.0, 0.0, 3.2, 0.0, 0.0, -3.6, 1.43, 0.0, -4.7, -1.43, 0.0, -4.7],
    "fragments": [[0], [1], [2, 3, 4]],
    "fragment_charges": [1.0, -1.0, 0.0],
    "fragment_multiplicities": [1, 1, 1],
}
CASES = {
    "nocp energy": lambda waters: waters(3, bsse_type=["nocp"], max_nbody=2),
    "cp gradient": lambda waters: waters(2, "gradient", bsse_type=["cp"]),
    "vmfc gradient": lambda waters: waters(3, "gradient", bsse_type=["vmfc"], max_nbody=2),
    "cp Hessian": lambda waters: waters(2, "hessian", bsse_type=["cp"]),
    "several at once": lambda waters: waters(3, bsse_type=["cp", "nocp", "vmfc"], max_nbody=2),
    "multi-level": lambda waters: waters(
        3, "gradient", {"high": MP2, "low": HF}, bsse_type=["cp", "nocp"], levels={1: "high", 2: "low"}
    ),
    "supersystem": lambda waters: waters(
        3, "gradient", {"high": MP2, "low": HF}, bsse_type=["nocp"], levels={2: "high", "supersystem": "low"}
    ),
    "supersystem_ie_only": lambda waters: waters(3, bsse_type=["cp"], supersystem_ie_only=True),
    "total data": lambda waters: waters(2, bsse_type=["cp"], return_total_data=True),
    "keywords for each program": lambda waters: waters(
        2,
        specification={
            "high": {**MP2, "keywords": {"frozen_core": True, "density_fit": True}},
            "low": {**HF, "keywords": {"conv_tol": 1e-9, "max_cycle": 50}},
        },
        bsse_type=["nocp"],
        levels={1: "high", 2: "low"},
    ),
    "open shells": lambda waters: with_molecule(
        waters(2, "gradient", bsse_type=["nocp", "cp"]), **HYDROXYL_AND_WATER, fragment_multiplicities=[2, 1]
    ),
    "ions": lambda waters: with_molecule(waters(3, bsse_type=["cp"], return_total_data=True), **IONS),
}


def bare(result):
    """Return a result as the procedure made it, without what QCEngine adds to the provenance of every result."""
    said = json.loads(result.model_dump_json() if isinstance(result, v2.ManyBodyResult) else result.json())
    provenance = {name: said["provenance"][name] for name in ("creator", "version", "routine")}
    if isinstance(result, v2.ManyBodyResult):
        return result.model_copy(update={"provenance": schema_2.Provenance(**provenance)})
    return result.copy(update={"provenance": schema_1.Provenance(**provenance)})


def near(ours, others):
    """Return whether two computations gave the same: tasks may have had other widths, so not to the last bit."""
    return np.max(np.abs(np.asarray(ours) - np.asarray(others))) < TOLERANCE


def as_json(result):
    return json.loads(result.model_dump_json() if isinstance(result, v2.ManyBodyResult) else result.json())


def assert_equal_but_for_round_off(ours, upstreams, path=""):
    """Compare field by field: the same fields, the same texts, numbers within the tolerance."""
    if isinstance(ours, dict):
        assert ours.keys() == upstreams.keys(), path
        for name in ours:
            if name not in ("wall_time", "stdout"):
                assert_equal_but_for_round_off(ours[name], upstreams[name], f"{path}.{name}")
    elif isinstance(ours, list):
        assert len(ours) == len(upstreams), path
        for index, (mine, theirs) in enumerate(zip(ours, upstreams, strict=True)):
            assert_equal_but_for_round_off(mine, theirs, f"{path}[{index}]")
    elif isinstance(ours, float):
        assert abs(ours - upstreams) < TOLERANCE, path
    else:
        assert ours == upstreams, path


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_the_result_equals_upstreams_replay_to_the_last_bit(waters, name, version):
    model = v2.ManyBodyInput(**CASES[name](waters))
    model = model.convert_v(1) if version == 1 else model
    ours = qcengine.compute(model, "autotune", raise_error=True)
    assert type(ours) is (v1.ManyBodyResult if version == 1 else v2.ManyBodyResult)
    assert_bit_equal(bare(ours), replayed(model, ours))


@pytest.mark.parametrize(
    ("name", "version"),  # upstream's other computer, too, is held by the replays; here one case of it is enough
    [("nocp energy", 1)]
    + [(name, 2) for name in ("nocp energy", "cp gradient", "several at once", "supersystem", "open shells")],
)
def test_without_component_results_each_field_is_that_of_upstreams_own_procedure(waters, name, version):
    fields = CASES[name](waters)
    fields["specification"]["protocols"] = {"cluster_results": "none"}
    model = v2.ManyBodyInput(**fields)
    model = model.convert_v(1) if version == 1 else model
    ours = qcengine.compute(model, "autotune", raise_error=True)
    upstreams = qcengine.compute(model, "qcmanybody", raise_error=True)
    assert type(ours) is type(upstreams)
    assert_equal_but_for_round_off(as_json(ours), as_json(upstreams))


@pytest.mark.parametrize(
    "asked", [{"return_dict": True}, {"return_version": 1}, {"return_dict": True, "return_version": 1}]
)
def test_the_answer_has_the_form_that_was_asked_for_as_upstreams_has(waters, asked):
    fields = waters(2, bsse_type=["nocp"])
    ours, upstreams = (
        qcengine.compute(copy.deepcopy(fields), name, raise_error=True, **asked) for name in ("autotune", "qcmanybody")
    )
    assert type(ours) is type(upstreams)
    mine, theirs = ((each if isinstance(each, dict) else as_json(each)) for each in (ours, upstreams))
    assert mine.keys() == theirs.keys()
    assert mine["properties"].keys() == theirs["properties"].keys()
    older = json.loads(v2.ManyBodyInput(**fields).convert_v(1).json())
    assert isinstance(qcengine.compute(older, "autotune", raise_error=True), v1.ManyBodyResult)


def test_many_fragments_without_charges_are_read_at_once(faulty):
    fields = faulty("water32", max_nbody=1)
    fields["molecule"] = {name: fields["molecule"][name] for name in ("symbols", "geometry", "fragments")}
    result = qcengine.compute(fields, "autotune", raise_error=True, task_config={"ncores": 1})
    assert result.properties.calcinfo_nfr == 32


def test_registering_again_changes_nothing_and_keeps_the_options():
    autotune.register()
    autotune.register()
    assert "autotune" in qcengine.list_available_procedures()
    assert procedure._warm.chosen == Options(journal="none")
    assert qcengine.get_procedure("autotune").get_version() == procedure.library_versions()["qc-autotune"]


def test_a_new_process_computes_after_two_lines_and_leaves_nothing_running(tmp_path, faulty):
    script = tmp_path / "script.py"
    script.write_text(
        "import json, sys, psutil, autotune, qcengine\n"
        "autotune.register()\n"
        "result = qcengine.compute(json.load(open(sys.argv[1])), 'autotune', raise_error=True)\n"
        "print(result.return_result, *[p.pid for p in psutil.Process().children(recursive=True)])\n"
    )
    (tmp_path / "input.json").write_text(json.dumps(faulty("water2")))
    command = [sys.executable, str(script), str(tmp_path / "input.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    energy, *pids = done.stdout.split()
    assert float(energy) == 0.0
    assert pids
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def energy_of(fields, queue):
    queue.put(qcengine.compute(fields, "autotune", raise_error=True).return_result)


def test_a_forked_process_starts_workers_of_its_own(faulty):
    fields = faulty("water2")
    qcengine.compute(copy.deepcopy(fields), "autotune", raise_error=True)
    before = {process.pid for process in below()}
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=energy_of, args=(fields, queue))
    child.start()
    assert queue.get(timeout=60) == 0.0
    child.join(timeout=60)
    assert child.exitcode == 0
    assert {process.pid for process in below()} == before
    assert qcengine.compute(fields, "autotune", raise_error=True).return_result == 0.0


def test_a_second_computation_finds_the_workers_of_the_first(faulty):
    qcengine.compute(faulty("water2"), "autotune", raise_error=True)
    before = {process.pid for process in below()}
    qcengine.compute(faulty("water2"), "autotune", raise_error=True)
    assert {process.pid for process in below()} == before


def test_what_qcengine_is_told_about_resources_counts(faulty, tmp_path):
    told = {"ncores": 1, "memory": 1.5, "scratch_directory": str(tmp_path)}
    qcengine.compute(faulty("water2"), "autotune", raise_error=True, task_config=told)
    assert procedure.last_run().machine.cores == 1
    assert procedure.last_run().memory_budget_gib == 1.5
    assert list(tmp_path.glob("autotune-*"))


def test_what_qcengine_fills_in_for_itself_is_not_taken_for_the_users_word():
    filled_in = qcengine.get_config()
    handed_on = qcengine.get_config(task_config={**filled_in.model_dump(), "retries": 2})
    for config in (filled_in, handed_on):
        assert procedure.options_of(config, Options(workers=3)) == Options(workers=3)


def test_options_of_register_count_and_the_task_config_goes_before_them(faulty):
    procedure.register(options=Options(workers=1, cores=1, memory_gib=2.0, journal="none"))
    qcengine.compute(faulty("water2"), "autotune", raise_error=True, task_config={"memory": 1.25})
    assert procedure.last_run().policy.workers == 1
    assert procedure.last_run().memory_budget_gib == 1.25


# --- failures --------------------------------------------------------------------------------------------------------


def changed(fields, **model):
    broken = copy.deepcopy(fields)
    broken["specification"]["specification"] = {**HF, "model": {**HF["model"], **model}}
    return broken


REFUSED = {
    "method 'hff'": lambda fields: changed(fields, method="hff"),
    "cc-pvdzz": lambda fields: changed(fields, basis="cc-pvdzz"),
    "no fragments": lambda fields: with_molecule(fields, symbols=["He"], geometry=[0.0, 0.0, 0.0]),
    "field specification.driver": lambda fields: {
        **fields,
        "specification": {**fields["specification"], "driver": "x"},
    },
    "field molecule": lambda fields: {name: fields[name] for name in ("specification",)},
    "overlap": lambda fields: with_molecule(fields, symbols=["He", "He"], geometry=[0.0] * 6, fragments=[[0], [1]]),
    "not list": lambda fields: [fields],
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_used_is_an_input_error_of_one_line(waters, message):
    broken = REFUSED[message](waters(2, bsse_type=["nocp"]))
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        qcengine.compute(broken, "autotune", raise_error=True)
    assert "\n" not in str(caught.value)


def test_without_raise_error_a_failed_operation_says_the_same(waters):
    fields = changed(waters(2, bsse_type=["nocp"]), method="hff")
    failed = qcengine.compute(v2.ManyBodyInput(**fields), "autotune")
    assert isinstance(failed, schema_2.FailedOperation)
    assert failed.error.error_type == "input_error"
    assert "method 'hff'" in failed.error.error_message
    assert failed.input_data.molecule == v2.ManyBodyInput(**fields).molecule
    older = qcengine.compute(v2.ManyBodyInput(**fields).convert_v(1), "autotune")
    assert isinstance(older, schema_1.FailedOperation)
    assert older.error.error_type == "input_error"


@pytest.mark.parametrize(
    ("method", "raised", "kind"),
    [
        ("diverge", ConvergenceError, "convergence"),
        ("crash", UnknownError, "crash"),
        ("raise", UnknownError, "program"),
    ],
)
def test_a_program_that_fails_is_reported_fragment_by_fragment_and_the_next_input_computes(
    faulty, method, raised, kind
):
    failed = qcengine.compute(faulty("water2", method, at=[3]), "autotune")
    assert not failed.success
    assert failed.error.error_type == raised.error_type
    assert "2 of 3 tasks failed" in failed.error.error_message
    assert sorted(failed.error.extras["failed"]) == ['["(auto)", [1], [1]]', '["(auto)", [2], [2]]']
    assert {fragment["kind"] for fragment in failed.error.extras["failed"].values()} == {kind}
    with pytest.raises(raised):
        qcengine.compute(faulty("water2", method, at=[3]), "autotune", raise_error=True)
    assert qcengine.compute(faulty("water2"), "autotune", raise_error=True).return_result == 0.0


def test_more_than_the_machine_has_is_a_resource_error(faulty):
    with pytest.raises(ResourceError, match="100000"):
        qcengine.compute(faulty("water2"), "autotune", raise_error=True, task_config={"ncores": 100_000})


# --- optimisers ------------------------------------------------------------------------------------------------------


def atomic(fields, driver="gradient", **keywords):
    """Return what an optimiser sends for a molecule: a schema 1 AtomicInput, as a mapping."""
    return {
        "molecule": fields["molecule"],
        "driver": driver,
        "model": HF["model"],
        "keywords": {"program": "pyscf", "many_body": {"bsse_type": ["nocp"], "max_nbody": 2}, **keywords},
    }


@pytest.mark.parametrize("driver", ["energy", "gradient", "hessian"])
def test_an_atomic_input_gets_the_total_energy_and_derivatives_of_its_expansion(waters, driver, monkeypatch):
    # From where the step before ended, gradients end 1e-7 Eh/a0 apart.
    monkeypatch.setattr(procedure._warm, "chosen", autotune.Options(reuse_densities=False))
    fields = waters(2, driver, bsse_type=["nocp"], max_nbody=2, return_total_data=True)
    expected = autotune.run(copy.deepcopy(fields))
    answer = qcengine.compute(atomic(fields, driver), "autotune", raise_error=True)
    assert isinstance(answer, schema_1.AtomicResult)
    assert near(answer.properties.return_energy, expected.properties.return_energy)
    assert near(answer.return_result, expected.return_result)
    if driver != "energy":
        assert near(answer.properties.return_gradient, expected.properties.return_gradient)
    contributions = answer.extras["many_body_properties"]
    assert contributions["nocp_corrected_2_body_contribution_to_energy"] != 0.0
    as_optking_sends_it = schema_1.AtomicInput(**atomic(fields, driver))
    assert near(qcengine.compute(as_optking_sends_it, "autotune").return_result, expected.return_result)
    newer = {
        "molecule": fields["molecule"],
        "specification": {name: atomic(fields, driver)[name] for name in ("driver", "model", "keywords")},
    }
    again = qcengine.compute(newer, "autotune", raise_error=True)
    assert isinstance(again, schema_2.AtomicResult)
    assert near(again.return_result, expected.return_result)


def test_an_atomic_input_may_name_several_model_chemistries_and_keywords(waters):
    levels = {"high": {**MP2, "keywords": {"frozen_core": True}}, "low": {**HF, "keywords": {"conv_tol": 1e-9}}}
    expansion = {"bsse_type": ["cp"], "levels": {"1": "high", "2": "low"}}
    fields = waters(2, "gradient", levels, bsse_type=["cp"], levels={1: "high", 2: "low"})
    answer = qcengine.compute(atomic(fields, specification=levels, many_body=expansion), "autotune", raise_error=True)
    assert near(answer.return_result, autotune.run(fields).return_result)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_tol": 1e-9}, "procedure autotune has no keyword conv_tol"),
        ({"program": ""}, "keyword 'program' is missing"),
        ({"many_body": {"bsse_type": ["ssf"]}}, "field specification.keywords.bsse_type"),
        ({"many_body": ["cp"]}, "the keywords make no many-body input"),
        ({"specification": {"high": {"program": "pyscf"}}}, "field specification.specification.high"),
    ],
)
def test_keywords_that_mean_no_expansion_are_refused_in_one_line(waters, change, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        qcengine.compute(atomic(waters(2), **change), "autotune", raise_error=True)
    assert "\n" not in str(caught.value)


def optimised_by(program, waters, **specification):
    """Return what an optimiser is asked for a water trimer, and made of it."""
    asked = {
        "initial_molecule": waters(3)["molecule"],
        "specification": {
            **specification,
            "specification": {
                "program": "autotune",
                **{name: value for name, value in atomic(waters(3)).items() if name != "molecule"},
            },
        },
    }
    return qcengine.compute(asked, program, raise_error=True)


def test_geometric_optimises_a_water_trimer_with_the_same_workers_from_the_first_step_to_the_last(
    waters, tmp_path, monkeypatch
):
    pytest.importorskip("geometric")
    monkeypatch.chdir(tmp_path)  # geomeTRIC writes its trajectory where it runs
    compute, workers = qcengine.compute, []

    def observed(*arguments, **named):
        answer = compute(*arguments, **named)
        workers.append({process.pid for process in below()})
        return answer

    monkeypatch.setattr(qcengine, "compute", observed)
    optimised = optimised_by("geometric", waters, keywords={"maxiter": 60}, protocols={"trajectory_results": "all"})
    workers.pop()  # of the optimiser itself
    assert isinstance(optimised, schema_2.OptimizationResult)
    energies = [step.properties.return_energy for step in optimised.trajectory_results]
    assert len(energies) == len(workers) > 3
    assert workers[0] == workers[-1] != set()
    assert energies[-1] < energies[0]
    assert np.max(np.abs(optimised.trajectory_results[-1].return_result)) < 1e-3
    with autotune.Session() as session:
        for step, energy in zip(optimised.trajectory_results, energies, strict=True):
            fields = waters(3, "gradient", bsse_type=["nocp"], max_nbody=2)
            fields["molecule"] = json.loads(step.molecule.model_dump_json())
            assert near(session.run(fields).properties.return_energy, energy)


def test_optking_optimises_a_water_trimer(waters, tmp_path, monkeypatch):
    pytest.importorskip("optking")
    monkeypatch.chdir(tmp_path)
    optimised = optimised_by("optking", waters)
    energies = [step.properties.return_energy for step in optimised.trajectory_results]
    assert len(energies) > 3
    assert energies[-1] < energies[0]
