"""Psi4, resident beside its worker: the bits of a Psi4 started again for each task, and nothing lost where it dies."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from places import CASES
from processes import below
from qcmanybody.models import v2
from replay import assert_bit_equal, replayed
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
    ("O", 0.0, 0.0, 0.0),
    ("H", 0.0, -0.757, 0.587),
    ("H", 0.0, 0.757, 0.587),
    ("O", 0.1, 0.2, -2.9),
    ("H", 0.05, 0.1, -1.94),
    ("H", 0.9, 0.6, -3.2),
)
SALT = (("Na", 0.0, 0.0, 0.0), ("Cl", 2.6, 0.0, 0.3), *(((s, x - 2.4, y, z)) for s, x, y, z in DIMER[:3]))
SALT_FRAGMENTS = json.dumps({"fragments": [1, 1, 3], "charges": [1, -1, 0]})
SQUARE = (*(("H", 0.37, y, 2.0) for y in (0.1, 2.1)), *(("H", -0.37, y, 2.0) for y in (0.1, 2.1)))
IODIDE = (("I", 0.2, 0.5, 3.4), *DIMER[:3])
RADICAL = (("O", 0.0, 0.3, 2.6), ("H", 0.2, 0.1, 3.55), *DIMER[3:])
OXYGEN = (("O", 0.1, 0.2, 0.3), ("O", 0.8, 0.9, 1.0))
FAR = ("He", 0.0, 0.0, 40.0)
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


def fresh(component, grant_gib, folder, environment):
    """Return what the same Psi4 answers to a component's input in a process of its own, by `psi4 --json`."""
    folder.mkdir()
    fields = json.loads(component.input_data.convert_v(1).json())
    if component.input_data.molecule.molecular_multiplicity != 1:
        fields["keywords"]["reference"] = "uhf"
    memory = max(int(grant_gib * 0.95 * 1024**3), LEAST_MEMORY_BYTES)
    fields |= {"schema_name": "qcschema_input", "nthreads": 1, "memory": memory, "scratch_location": str(folder)}
    path = folder / "task.json"
    path.write_text(json.dumps(fields))
    command = ["psi4", "--json", "--nthread", "1", "-i", str(path), "-o", str(folder / "output")]
    subprocess.run(command, check=True, env=environment, cwd=folder, capture_output=True, timeout=120)
    answer = json.loads(path.read_text())
    assert answer["success"], answer["error"]["error_message"]
    return np.asarray(answer["return_result"]).ravel().tolist()


def freshly(session, components, tmp_path):
    """Return the numbers of all components, each by a process of its own with the memory that the session granted."""
    grants = {record.label: record.grant_gib for record in session.record.task_records}
    environment = {**os.environ, **ONE_THREAD}
    if session.record.policy.blas_kernel:
        environment["OPENBLAS_CORETYPE"] = session.record.policy.blas_kernel
    return {
        label: fresh(component, grants[label], tmp_path / f"task-{number}", environment)
        for number, (label, component) in enumerate(components.items())
    }


# --- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("basis", "energy"), [("6-31G*", -76.0104965), ("cc-pVDZ", -76.0267657)])
def test_hartree_fock_without_density_fitting_gives_the_published_energies(
    session, two_waters, first_component, basis, energy
):
    fields = two_waters("psi4", "hf", basis, keywords={"scf_type": "pk"})
    assert first_component(session, fields).properties.return_energy == pytest.approx(energy, abs=1e-6)


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


def test_what_ran_before_in_the_resident_process_changes_no_bit(opened, dimer, scratch):
    session = opened()
    fields = dimer()
    first = numbers(session.components(fields))
    pids = {server.pid for server in servers(scratch)}
    session.components(dimer("mp2", "cc-pvdz", keywords={"freeze_core": True, "scf_type": "pk"}))
    for label in reversed(first):
        assert numbers(session.components(fields, labels=[label])) == {label: first[label]}
    assert {server.pid for server in servers(scratch)} == pids
    assert len(pids) == 1


def test_a_task_that_failed_leaves_nothing_behind_in_the_resident_process(opened, dimer):
    session = opened()
    first = numbers(session.components(dimer()))
    with pytest.raises(TaskError):
        session.run(dimer("mp2", "6-31g", keywords={"maxiter": 1, "scf_type": "pk", "freeze_core": True}))
    assert numbers(session.components(dimer())) == first


def test_an_open_shell_is_unrestricted_unless_a_keyword_says_otherwise(session, expansion, first_component):
    chosen = {"program": "psi4", "method": "hf", "basis": "6-31g", "multiplicities": "1:2", "max_nbody": 1}
    usual, restricted, unrestricted = (
        first_component(session, expansion(RADICAL, keywords=keywords, **chosen))
        for keywords in ({}, {"reference": "rohf"}, {"Reference": "UHF"})
    )
    assert (usual.properties.calcinfo_nalpha, usual.properties.calcinfo_nbeta) == (5, 4)
    assert usual.return_result == unrestricted.return_result < restricted.return_result - 1e-4


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("chosen", [{"bsse": ("cp",)}, {"bsse": ("vmfc",)}, {"driver": "gradient"}], ids=str)
def test_the_result_equals_upstreams_replay_to_the_last_bit(session, dimer, kept, version, chosen):
    model = v2.ManyBodyInput(**kept(dimer("hf", "6-31g", **chosen)))
    model = model.convert_v(1) if version == 1 else model
    ours = session.run(model)
    assert_bit_equal(ours, replayed(model, ours))


def test_two_threads_change_only_the_last_digits(opened, dimer):
    one, two = (opened(threads=threads) for threads in (1, 2))
    energies = [session.run(dimer("mp2", "cc-pvdz")).return_result for session in (one, two)]
    assert {record.width for record in two.record.task_records} == {2}
    assert energies[0] == pytest.approx(energies[1], abs=1e-9)


def test_a_new_process_for_each_task_gives_the_same_bits(opened, dimer, scratch, tmp_path):
    resident = opened()
    expected = numbers(resident.components(dimer()))
    path = library.save(
        make_tuning("psi4", "hf", "6-31g*", parameters={"method_tuning.resident": False}), tmp_path / "tuning.json"
    )
    session = opened(tuning=str(path))
    resident.close()
    components = session.components(dimer())
    assert numbers(components) == expected
    assert not session.record.policy.resident_programs
    assert servers(scratch) == []


def test_two_sessions_one_after_another_give_the_same_bits(opened, dimer):
    energies = []
    for _ in range(2):
        session = opened()
        energies.append(session.run(dimer()).return_result)
        session.close()
    assert energies[0] == energies[1]


# --- core potentials, dispersion, orientation, open shells -----------------------------------------------------------


def case(name):
    """Return the atoms of a case."""
    lines = (CASES / name).read_text().splitlines()[2:]
    return [(symbol, *map(float, xyz)) for symbol, *xyz in map(str.split, filter(None, lines))]


def together(session, fields):
    """Return the component of all fragments."""
    work = workload.load(fields)
    (label,) = [task.labels[0] for task in work.tasks if len(task.real) == len(work.recipe.molecule.fragments)]
    return session.components(work, labels=[label])[label]


def test_helium_and_xenon_interact_as_in_pyscf_with_and_without_counterpoise(session, expansion):
    chosen = {"program": "psi4", "method": "hf", "basis": "def2-svp", "fragments": "1,1", "bsse": ("cp", "nocp")}
    properties = session.run(expansion(case("hexe.xyz"), keywords=TIGHT, **chosen)).properties
    assert properties.cp_corrected_total_energy == pytest.approx(-331.153381, abs=1e-6)
    assert properties.cp_corrected_interaction_energy == pytest.approx(0.0001734, abs=1e-7)
    assert properties.nocp_corrected_interaction_energy == pytest.approx(0.0000709, abs=1e-7)


@pytest.mark.parametrize("chosen", [{"method": "mp2", "driver": "gradient"}, {"method": "hf", "driver": "hessian"}])
def test_a_derivative_that_would_lack_the_core_potentials_is_refused(session, expansion, chosen):
    fields = expansion(IODINE, program="psi4", basis="def2-svp", fragments="1,2", **chosen)
    with pytest.raises(InputError, match=f"leaves the core potentials of def2-svp out of the {chosen['driver']}"):
        session.run(fields)


def test_dispersion_beside_a_core_potential_is_that_of_the_element(session, expansion):
    cored, whole = (
        together(session, expansion(IODINE, program="psi4", method="b97-d", basis=basis, fragments="1,2"))
        for basis in ("def2-svp", "sto-3g")
    )
    name = "DISPERSION CORRECTION ENERGY"
    assert cored.extras["qcvars"][name] == pytest.approx(whole.extras["qcvars"][name], abs=1e-12)
    assert cored.extras["qcvars"][name] < -3e-4


@pytest.mark.skipif(shutil.which("dftd3") is not None, reason="here dftd3 is installed")
@pytest.mark.parametrize("method", ["b3lyp-d3bj", "hf-3c"])
def test_a_dispersion_correction_of_a_missing_program_is_refused_in_one_line(session, dimer, method):
    with pytest.raises(InputError, match=r"leaves the dispersion of .* to dftd3") as refusal:
        session.run(dimer(method))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(("ion", "charge"), [("Na", 1), ("K", 1), ("Mg", 2), ("Rb", 1)])
def test_an_ion_whose_frozen_core_is_another_alone_than_in_a_cluster_is_refused(session, expansion, ion, charge):
    atoms = [(ion, 0.0, 0.0, -2.4), *DIMER[:3]]
    chosen = {"program": "psi4", "method": "mp2", "basis": "def2-svp", "fragments": "1,3", "charges": f"1:{charge}"}
    with pytest.raises(InputError, match=r"fragment 1: freeze_core true freezes -?\d orbitals in this ion alone and"):
        session.run(expansion(atoms, keywords={"freeze_core": True}, **chosen))


@pytest.mark.programs("pyscf")
@pytest.mark.parametrize("charge", [-1, 0])
def test_a_frozen_core_that_is_the_same_everywhere_gives_the_interaction_of_pyscf(session, expansion, charge):
    atoms = [("F" if charge else "Ne", 0.0, 0.0, -2.6), *DIMER[:3]]
    chosen = {"method": "mp2", "basis": "6-31g", "fragments": "1,3", "charges": f"1:{charge}"}
    ours, theirs = (
        session.run(expansion(atoms, program=program, keywords=keywords, **chosen)).return_result
        for program, keywords in (
            ("psi4", {**TIGHT, "mp2_type": "conv", "freeze_core": True}),
            ("pyscf", {"frozen_core": True}),
        )
    )
    assert ours == pytest.approx(theirs, abs=1e-7)


@pytest.mark.programs("pyscf")
@pytest.mark.parametrize("seed", [1, 2])
def test_the_gradient_is_in_the_frame_of_the_input_whatever_the_symmetry(session, expansion, seed):
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    atoms = [(symbol, *(turn @ xyz)) for symbol, *xyz in case("w2_cs.xyz")]
    ours, theirs = (
        together(
            session, expansion(atoms, method="hf", basis="6-31g", driver="gradient", program=program, keywords=keywords)
        )
        for program, keywords in (("psi4", TIGHT), ("pyscf", {}))
    )
    assert np.abs(np.asarray(ours.return_result) - np.asarray(theirs.return_result)).max() < 1e-6


@pytest.mark.programs("pyscf")
@pytest.mark.parametrize(("atoms", "multiplicity"), [(RADICAL[:2], 2), (OXYGEN, 3)], ids=["OH", "O2"])
def test_one_radical_has_the_energy_of_pyscf(session, expansion, first_component, atoms, multiplicity):
    chosen = {"method": "hf", "basis": "6-31g", "fragments": "2,1", "multiplicities": f"1:{multiplicity}"}
    ours, theirs = (
        first_component(session, expansion([*atoms, FAR], program=program, keywords=keywords, max_nbody=1, **chosen))
        for program, keywords in (("psi4", TIGHT), ("pyscf", {}))
    )
    assert ours.return_result == pytest.approx(theirs.return_result, abs=1e-6)


def test_where_radicals_meet_and_nowhere_else_there_is_a_caution(expansion):
    work = workload.load(
        expansion(case("cl_cl.xyz"), program="psi4", method="hf", basis="6-31g", charges="0,0", multiplicities="2,2")
    )
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


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"method": "mp22"}, "mp22"),
        ({"basis": "cc-pvdzz"}, "CC-PVDZZ"),
        ({"keywords": {"scf_tipe": "pk"}}, "SCF_TIPE"),
        ({"keywords": {"scf_type": "pkk"}}, "SCF_TYPE"),
    ],
    ids=str,
)
def test_an_unknown_method_basis_set_or_option_is_refused_in_one_line_before_any_task(session, dimer, change, named):
    session.run(dimer())
    record = session.record
    with pytest.raises(InputError) as refusal:
        session.run(dimer(**change))
    assert named.lower() in str(refusal.value).lower()
    assert "\n" not in str(refusal.value)
    assert session.record is record


def test_a_psi4_that_is_not_in_path_is_one_clear_line(dimer, monkeypatch):
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    with pytest.raises(InputError) as refusal:
        autotune.run(dimer(), tuning="none", journal="none")
    assert str(refusal.value) == ("program 'psi4' is not installed on this machine; install it or name another program")


def test_an_scf_that_does_not_converge_is_of_that_kind(session, dimer):
    with pytest.raises(TaskError, match=r"^3 of 3 tasks failed: .*convergence") as failure:
        session.run(dimer(keywords={"maxiter": 1}))
    assert {kind for kind, _ in failure.value.failed.values()} == {"convergence"}
    assert {record.error_type for record in session.record.task_records} == {"convergence"}


# --- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV], ids=lambda how: how.name)
def test_a_psi4_that_dies_in_the_middle_of_a_task_loses_nothing(opened, dimer, scratch, how):
    own = opened()
    expected = own.run(dimer("mp2", "cc-pvdz")).return_result
    with struck(scratch, how, times=1) as hit:
        result = own.run(dimer("mp2", "cc-pvdz"))
    assert len(hit) == 1
    assert result.return_result == pytest.approx(expected, abs=1e-9)
    assert own.record.attempts == own.record.tasks + 1
    assert sorted(record.attempts for record in own.record.task_records) == [1, 1, 2]


@pytest.mark.parametrize(("how", "kind"), [(signal.SIGSEGV, "crash"), (signal.SIGKILL, "memory")], ids=str)
def test_a_psi4_that_dies_at_each_attempt_fails_its_task_with_the_kind_and_no_other(opened, dimer, scratch, how, kind):
    own = opened()
    work = workload.load(dimer("mp2", "cc-pvdz"))
    label = next(task.labels[0] for task in work.tasks if task.nbody == 2)
    with struck(scratch, how, times=3) as hit, pytest.raises(TaskError, match=how.name) as failure:
        own.components(work, labels=[label])
    assert len(hit) == own.record.attempts == 3
    assert {name: found for name, (found, _) in failure.value.failed.items()} == {label: kind}
    assert own.run(dimer()).success


def test_a_task_over_its_time_limit_is_killed_with_its_psi4(opened, dimer, scratch):
    own = opened(task_limit_s=2.0)
    own.run(dimer())
    (before,) = servers(scratch)
    work = workload.load(dimer("ccsd(t)", "cc-pvtz"))
    label = next(task.labels[0] for task in work.tasks if task.nbody == 2)
    with pytest.raises(TaskError, match=r"longer than the limit of 2 s"):
        own.components(work, labels=[label])
    psutil.wait_procs([before], timeout=5.0)
    assert not before.is_running()
    assert own.run(dimer()).success


def test_a_basis_set_in_the_methods_name_beside_another_is_refused(session, two_waters):
    with pytest.raises(InputError, match="keep one of them"):
        session.run(two_waters("psi4", "hf/sto-3g", "6-31g"))
