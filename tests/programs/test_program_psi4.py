"""Psi4, resident beside its worker: the bits of a Psi4 started again for each task, and nothing lost where it dies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from processes import below
from tuning_factory import make_tuning

import autotune
from autotune.base.errors import InputError, TaskError
from autotune.base.options import Options
from autotune.expansion import workload
from autotune.expansion.component import atomic_input
from autotune.tunings import library
from autotune_plugins.psi4_harness import ResidentPsi4Harness

pytestmark = pytest.mark.programs("psi4")

DIMER = (
    *(("O", 0.0, 0.0, 0.0), ("H", 0.0, -0.757, 0.587), ("H", 0.0, 0.757, 0.587)),
    *(("O", 0.1, 0.2, -2.9), ("H", 0.05, 0.1, -1.94), ("H", 0.9, 0.6, -3.2)),
)
SALT = (("Na", 0.0, 0.0, 0.0), ("Cl", 2.6, 0.0, 0.3), *(((s, x - 2.4, y, z)) for s, x, y, z in DIMER[:3]))
SALT_FRAGMENTS = json.dumps({"fragments": [1, 1, 3], "charges": [1, -1, 0]})
SQUARE = (*(("H", 0.37, y, 2.0) for y in (0.1, 2.1)), *(("H", -0.37, y, 2.0) for y in (0.1, 2.1)))
IODIDE = (("I", 0.2, 0.5, 3.4), *DIMER[:3])
RADICAL = (("O", 0.0, 0.3, 2.6), ("H", 0.2, 0.1, 3.55), *DIMER[3:])
CHLORINE = (("Cl", 0.0, 0.0, 0.0), ("Cl", 2.2, -1.9, 2.4))
TIGHT = {"scf_type": "pk", "e_convergence": 1e-10, "d_convergence": 1e-8}
IODINE = (("He", 0.0, 0.0, 0.0), ("I", 0.1, 0.0, 3.6), ("H", 0.0, 0.0, 5.2))

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
LEAST_MEMORY_BYTES = 262144000


@pytest.fixture(scope="module")
def dimer(expansion):
    def make(method="hf", basis="6-31g*", **others):
        return expansion(DIMER, program="psi4", method=method, basis=basis, **others)

    return make


def servers(scratch):
    """Return the living Psi4 processes whose worker has its files below a folder."""
    found = []
    for process in below():
        with contextlib.suppress(psutil.Error):
            if any("psi4_server.py" in part for part in process.cmdline()):
                found += [process] if Path(process.cwd()).is_relative_to(scratch) else []
    return found


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@pytest.fixture
def opened(scratch):
    """Return a function that opens a session of its own; afterwards no process and no scratch file may be left."""
    before, sessions = {p.pid for p in below()}, []

    def opened(**options):
        given = {"tuning": "none", "journal": "none", "workers": 1, "threads": 1, "scratch": str(scratch), **options}
        sessions.append(autotune.Session(Options(**given)))
        return sessions[-1]

    yield opened
    for session in sessions:
        session.close()
    deadline = time.monotonic() + 3.0
    while {p.pid for p in below()} - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert {p.pid for p in below()} - before == set()
    assert list(scratch.iterdir()) == []


@contextlib.contextmanager
def struck(scratch, how, times):
    """Send a signal to Psi4 as soon as it computes, so many times; yields the list of processes that were struck."""
    hit, over = [], threading.Event()

    def strike():
        seen = set()
        while not over.wait(0.01) and len(hit) < times:
            # Psi4 writes its output there from the first step of a task on, and does not while it checks an input.
            for output in set(scratch.glob("*/worker-*/files/*.json_out")) - seen:
                seen.add(output)
                for server in servers(scratch)[: times - len(hit)]:
                    server.send_signal(how)
                    hit.append(server.pid)

    striker = threading.Thread(target=strike)
    striker.start()
    try:
        yield hit
    finally:
        over.set()
        striker.join()


def numbers(components):
    return {label: np.asarray(result.return_result).ravel().tolist() for label, result in components.items()}


def freshly(session, components, tmp_path):
    """Return the numbers of all components, each by a `psi4 --json` of its own with the memory the session granted."""
    grants = {record.label: record.grant_gib for record in session.record.task_records}
    kernel, found = session.record.policy.blas_kernel, {}
    environment = {**os.environ, **ONE_THREAD, **({"OPENBLAS_CORETYPE": kernel} if kernel else {})}
    for label, component in components.items():
        path = Path(tempfile.mkdtemp(dir=tmp_path)) / "task.json"
        fields = json.loads(component.input_data.convert_v(1).json())
        if component.input_data.molecule.molecular_multiplicity != 1:
            fields["keywords"]["reference"] = "uhf"
        memory = max(int(grants[label] * 0.95 * 1024**3), LEAST_MEMORY_BYTES)
        fields |= {"schema_name": "qcschema_input", "nthreads": 1, "memory": memory}
        path.write_text(json.dumps({**fields, "scratch_location": str(path.parent)}))
        command = ["psi4", "--json", "--nthread", "1", "-i", str(path), "-o", str(path.with_name("output"))]
        subprocess.run(command, check=True, env=environment, cwd=path.parent, capture_output=True, timeout=120)
        answer = json.loads(path.read_text())
        assert answer["success"], answer["error"]["error_message"]
        found[label] = np.asarray(answer["return_result"]).ravel().tolist()
    return found


# --- numbers ---------------------------------------------------------------------------------------------------------


EXPANSIONS = {
    "two molecules": (DIMER, {"method": "hf", "basis": "6-31g*"}),
    "MP2": (DIMER, {"method": "mp2", "basis": "6-31g"}),
    "ghosts": (DIMER, {"method": "hf", "basis": "6-31g", "bsse": ("cp",)}),
    "gradients": (DIMER, {"method": "hf", "basis": "sto-3g", "driver": "gradient"}),
    "a Hessian": (DIMER, {"method": "hf", "basis": "sto-3g", "driver": "hessian", "max_nbody": 1}),
    "ions": (SALT, {"method": "hf", "basis": "6-31g", "comment": SALT_FRAGMENTS, "max_nbody": 2}),
    "symmetry": (SQUARE, {"method": "hf", "basis": "cc-pvdz", "fragments": "1,3;2,4"}),
    "core potentials": (IODIDE, {"method": "hf", "basis": "def2-svp", "charges": "1:-1", "fragments": "1;2-4"}),
    "a radical": (RADICAL, {"method": "hf", "basis": "6-31g", "multiplicities": "1:2"}),
}


@pytest.mark.parametrize("name", EXPANSIONS)
def test_each_component_equals_that_of_a_fresh_process_to_the_last_bit(session, expansion, tmp_path, name):
    atoms, chosen = EXPANSIONS[name]
    components = session.components(expansion(atoms, program="psi4", **chosen))
    assert numbers(components) == freshly(session, components, tmp_path)


def test_what_ran_or_failed_before_in_the_resident_process_changes_no_bit(opened, dimer, scratch):
    session = opened()
    fields = dimer()
    first = numbers(session.components(fields))
    (process,) = servers(scratch)
    others = {"freeze_core": True, "scf_type": "pk"}
    session.components(dimer("mp2", "cc-pvdz", keywords=others))
    with pytest.raises(TaskError):
        session.run(dimer("mp2", "6-31g", keywords={"maxiter": 1, **others}))
    for label in reversed(first):
        assert numbers(session.components(fields, labels=[label])) == {label: first[label]}
    assert servers(scratch) == [process]


def test_an_open_shell_is_unrestricted_unless_a_keyword_says_otherwise(session, expansion, first_component):
    chosen = {"program": "psi4", "method": "hf", "basis": "6-31g", "multiplicities": "1:2", "max_nbody": 1}
    usual, restricted, unrestricted = (
        first_component(session, expansion(RADICAL, keywords=keywords, **chosen))
        for keywords in ({}, {"reference": "rohf"}, {"Reference": "UHF"})
    )
    assert (usual.properties.calcinfo_nalpha, usual.properties.calcinfo_nbeta) == (5, 4)
    assert usual.return_result == unrestricted.return_result < restricted.return_result - 1e-4


def test_two_threads_change_only_the_last_digits(opened, dimer):
    one, two = (opened(threads=threads) for threads in (1, 2))
    narrow, broad = (session.run(dimer("mp2", "cc-pvdz")).return_result for session in (one, two))
    assert {record.width for record in two.record.task_records} == {2}
    assert narrow == pytest.approx(broad, abs=1e-9)


def test_a_new_process_for_each_task_gives_the_same_bits(opened, dimer, scratch, tmp_path):
    resident = opened()
    expected = numbers(resident.components(dimer()))
    tuning = make_tuning("psi4", "hf", "6-31g*", parameters={"method_tuning.resident": False})
    session = opened(tuning=str(library.save(tuning, tmp_path / "tuning.json")))
    resident.close()
    components = session.components(dimer())
    assert numbers(components) == expected
    assert not session.record.policy.resident_programs
    assert servers(scratch) == []


# --- core potentials, dispersion, orientation, open shells -----------------------------------------------------------


def test_dispersion_beside_a_core_potential_is_that_of_the_element(session, expansion):
    found, label = [], '["(auto)", [1, 2], [1, 2]]'
    for basis in ("def2-svp", "sto-3g"):
        fields = expansion(IODINE, program="psi4", method="b97-d", basis=basis, fragments="1,2")
        both = session.components(fields, labels=[label])[label]
        found.append(both.extras["qcvars"]["DISPERSION CORRECTION ENERGY"])
    assert found[0] == pytest.approx(found[1], abs=1e-12)
    assert found[0] < -3e-4


@pytest.mark.programs("pyscf")
@pytest.mark.parametrize("charge", [-1, 0])
def test_a_frozen_core_that_is_the_same_everywhere_gives_the_interaction_of_pyscf(session, expansion, charge):
    atoms = [("F" if charge else "Ne", 0.0, 0.0, -2.6), *DIMER[:3]]
    chosen = {"method": "mp2", "basis": "6-31g", "fragments": "1,3", "charges": f"1:{charge}"}
    keywords = {"psi4": {**TIGHT, "mp2_type": "conv", "freeze_core": True}, "pyscf": {"frozen_core": True}}
    ours, theirs = (
        session.run(expansion(atoms, program=program, keywords=of, **chosen)).return_result
        for program, of in keywords.items()
    )
    assert ours == pytest.approx(theirs, abs=1e-7)


def test_where_radicals_meet_and_nowhere_else_there_is_a_caution(expansion):
    chosen = {"method": "hf", "basis": "6-31g", "charges": "0,0", "multiplicities": "2,2"}
    work = workload.load(expansion(CHLORINE, program="psi4", **chosen))
    (level,) = work.recipe.programs
    harness = ResidentPsi4Harness()
    pair, alone, ghostly = (
        harness.cautions(atomic_input(work.recipe, level, *fragments))
        for fragments in (((1, 2), (1, 2)), ((1,), (1,)), ((1,), (1, 2)))
    )
    assert len(pair) == 1
    assert "\n" not in pair[0]
    assert alone == ghostly == ()


def test_the_version_is_what_the_program_says():
    said = subprocess.run(["psi4", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    assert ResidentPsi4Harness().get_version() == said


# --- resources -------------------------------------------------------------------------------------------------------


def test_the_memory_of_the_resident_process_is_part_of_each_tasks_peak(session, dimer):
    session.run(dimer())
    peaks = [record.peak_gib for record in session.record.task_records]
    assert min(peaks) > 0.1
    assert max(peaks) < 2.0


@pytest.mark.parametrize("wanted", [True, False])
def test_the_output_is_in_the_result_where_the_protocol_asks_for_it(session, two_waters, first_component, wanted):
    fields = two_waters("psi4", "hf", "sto-3g")
    fields["specification"]["specification"]["(auto)"]["protocols"] = {"stdout": wanted}
    output = first_component(session, fields).stdout
    assert ("Final Energy" in output) if wanted else output is None


# --- refusals --------------------------------------------------------------------------------------------------------


CORED = {"basis": "def2-svp", "fragments": "1,2"}
LACKS = "leaves the core potentials of def2-svp out of the"
OTHER_CORE = r"fragment 1: freeze_core true freezes -?\d orbitals in this ion alone and"
without_dftd3 = pytest.mark.skipif(shutil.which("dftd3") is not None, reason="here dftd3 is installed")


def ion(symbol, charge):
    chosen = {"method": "mp2", "basis": "def2-svp", "fragments": "1,3", "charges": f"1:{charge}"}
    atoms = [(symbol, 0.0, 0.0, -2.4), *DIMER[:3]]
    return pytest.param(atoms, {**chosen, "keywords": {"freeze_core": True}}, OTHER_CORE, id=symbol)


@pytest.mark.parametrize(
    ("atoms", "chosen", "words"),
    [
        (DIMER, {"method": "mp22"}, "mp22"),
        (DIMER, {"method": "hf/sto-3g"}, "keep one of them"),
        (DIMER, {"basis": "cc-pvdzz"}, "Psi4 has no basis set 'cc-pvdzz' for O; check the name$"),
        (DIMER, {"keywords": {"scf_tipe": "pk"}}, "Psi4 has no option 'scf_tipe'; check the names of --keywords$"),
        (DIMER, {"keywords": {"scf_type": "pkk"}}, "Psi4's option 'scf_type' has no choice 'pkk'; "),
        (IODINE, {**CORED, "method": "mp2", "driver": "gradient"}, f"{LACKS} gradient"),
        (IODINE, {**CORED, "method": "hf", "driver": "hessian"}, f"{LACKS} hessian"),
        pytest.param(DIMER, {"method": "b3lyp-d3bj"}, "leaves the dispersion of .* to dftd3", marks=without_dftd3),
        pytest.param(DIMER, {"method": "hf-3c"}, "leaves the dispersion of .* to dftd3", marks=without_dftd3),
        *(ion(*of) for of in (("Na", 1), ("K", 1), ("Mg", 2), ("Rb", 1))),
    ],
)
def test_what_psi4_cannot_do_or_does_wrongly_is_refused_in_one_line_before_any_task(
    session, expansion, dimer, atoms, chosen, words
):
    if session.record is None:
        session.run(dimer())
    record = session.record
    with pytest.raises(InputError, match=f"(?i){words}") as refusal:
        session.run(expansion(atoms, program="psi4", **{"method": "hf", "basis": "6-31g*", **chosen}))
    assert "\n" not in str(refusal.value)
    assert session.record is record


def test_an_scf_that_does_not_converge_is_of_that_kind(session, dimer):
    with pytest.raises(TaskError, match=r"^3 of 3 tasks failed: .*convergence") as failure:
        session.run(dimer(keywords={"maxiter": 1}))
    assert {kind for kind, _ in failure.value.failed.values()} == {"convergence"}
    assert {record.error_type for record in session.record.task_records} == {"convergence"}


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(dimer):
    """Return a function that loads an input, and the label of its pair."""

    def load(*chosen):
        work = workload.load(dimer(*chosen))
        return work, next(task.labels[0] for task in work.tasks if task.nbody == 2)

    return load


@pytest.mark.parametrize(("how", "kind"), [(signal.SIGSEGV, "crash"), (signal.SIGKILL, "memory")], ids=str)
def test_a_psi4_that_dies_once_loses_nothing_and_at_each_attempt_its_task_alone_with_the_kind(
    opened, dimer, pair, scratch, how, kind
):
    own = opened()
    work, label = pair("mp2", "cc-pvdz")
    expected = own.run(dimer("mp2", "cc-pvdz")).return_result
    with struck(scratch, how, times=1) as hit:
        result = own.run(dimer("mp2", "cc-pvdz"))
    assert len(hit) == 1
    assert result.return_result == pytest.approx(expected, abs=1e-9)
    assert own.record.attempts == own.record.tasks + 1
    assert sorted(record.attempts for record in own.record.task_records) == [1, 1, 2]
    with struck(scratch, how, times=3) as hit, pytest.raises(TaskError, match=how.name) as failure:
        own.components(work, labels=[label])
    assert len(hit) == own.record.attempts == 3
    assert {name: found for name, (found, _) in failure.value.failed.items()} == {label: kind}
    assert own.run(dimer()).success


def test_a_task_over_its_time_limit_is_killed_with_its_psi4(opened, dimer, pair, scratch):
    own = opened(task_limit_s=4.0)
    own.run(dimer("hf", "sto-3g"))
    (before,) = servers(scratch)
    work, label = pair("ccsd(t)", "cc-pvtz")
    with pytest.raises(TaskError, match=r"longer than the limit of 4 s"):
        own.components(work, labels=[label])
    psutil.wait_procs([before], timeout=5.0)
    assert not before.is_running()
    assert own.run(dimer("hf", "sto-3g")).success
