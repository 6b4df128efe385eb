"""Several tasks in one start of NWChem or MOPAC: all digits of single starts, and what is lost where one fails."""

from __future__ import annotations

import os
import sys
from unittest import mock

import numpy as np
import pytest
import qcengine
from qcengine.config import get_config
from qcengine.exceptions import ConvergenceError
from scipy.spatial.transform import Rotation

import autotune
from autotune.base.errors import TaskError
from autotune.base.options import Options
from autotune.programs import mpi
from autotune.programs.facts import facts_of
from autotune_plugins import nwchem_harness
from autotune_plugins.mopac_harness import CheckedMopacHarness

HARNESSES = {"nwchem": nwchem_harness.CheckedNWChemHarness, "mopac": CheckedMopacHarness}
# NWChem starts as in a worker, alone and without looking for networks.
ONE_RANK = {"OMPI_MCA_ess_singleton_isolated": "1", "OMPI_MCA_pml": "ob1", "OMPI_MCA_btl": "self"}
ONE_CORE = {"ncores": 1, "memory": 1.0}

WATER = [("O", 0, 0, 0), ("H", 0, -0.757, 0.587), ("H", 0, 0.757, 0.587)]
DIMER = [*WATER, ("O", 0, 0.1, 2.9), ("H", 0.76, 0.12, 3.49), ("H", -0.76, 0.12, 3.49)]
OH = [("O", 0, 0, 0), ("H", 0, 0, 0.97)]
O2 = [("O", 0, 0, 0), ("O", 0, 0, 1.21)]
H3O = [("O", 0, 0, 0), ("H", 0, 0.1, 0.96), ("H", 0.85, -0.48, 0.16), ("H", -0.85, -0.48, 0.05)]
HI = [("H", 0, 0, 0), ("I", 0.3, 0.2, 1.6)]


def turned(atoms, seed):
    """Return atoms in a random orientation."""
    turn = Rotation.random(random_state=seed)
    return [(symbol, *turn.apply(xyz)) for symbol, *xyz in atoms]


MIXED = (
    (turned(WATER, 1), {}),
    (O2, {"multiplicity": 3}),
    (OH, {"multiplicity": 2}),
    ([("O", 0, 0, 0), ("H", 0, 0.1, 1.05)], {"multiplicity": 2}),
    (turned(DIMER, 2), {}),
    (OH, {"charge": -1}),
    (turned(WATER, 3), {}),
    (H3O, {"charge": 1}),
    ([("H", 0, 0, 0)], {"multiplicity": 2}),
)
GHOSTS = (DIMER, {"real": [True] * 3 + [False] * 3})
NWCHEM = (*MIXED[:2], GHOSTS, *MIXED[2:])
MOPAC = (*MIXED, ([("N", 0, 0, 0)], {"multiplicity": 4}), ([("Na", 0, 0, 0)], {"charge": 1}), MIXED[0])
CORES = ((HI, {}), (WATER, {}), ([*HI, ("I", 0.9, 0.4, 5.3)], {"real": [True, True, False]}), ([("Xe", 0, 0, 0)], {}))


def alone(program, asked):
    with mock.patch.dict(os.environ, ONE_RANK):
        return HARNESSES[program]().compute(asked, get_config(task_config=ONE_CORE))


def together(program, inputs, **limit):
    with mock.patch.dict(os.environ, ONE_RANK):
        return HARNESSES[program]().compute_together(inputs, get_config(task_config=ONE_CORE), **limit)


def told(result):
    """Return all that is said of a task but what the program printed, in which there are times."""
    return result and result.model_dump(exclude={"stdout", "stderr"}, mode="json")


@pytest.fixture
def edited(monkeypatch):
    """Return a function that lets a harness change the jobs that it makes of tasks."""

    def edit(program, change):
        build = HARNESSES[program].build_input
        monkeypatch.setattr(HARNESSES[program], "build_input", lambda self, *of: change(of[0], build(self, *of)))

    return edit


def deck_of(asked):
    """Return where the atoms are in the input of NWChem."""
    job = HARNESSES["nwchem"]().build_input(asked, get_config(task_config=ONE_CORE))
    return job["infiles"]["nwchem.nw"].partition("geometry")[2].partition("end")[0]


@pytest.mark.parametrize(
    ("program", "tasks", "chosen", "once"),
    [
        pytest.param(program, *others, marks=pytest.mark.programs(program))
        for program, *others in (
            ("nwchem", NWCHEM, {"method": "hf", "basis": "6-31g*", "driver": "gradient"}, "Total SCF energy"),
            ("nwchem", NWCHEM, {"method": "b3lyp", "basis": "sto-3g", "driver": "gradient"}, "Total DFT energy"),
            ("nwchem", NWCHEM, {"method": "mp2", "basis": "sto-3g"}, "Total SCF energy"),
            ("nwchem", CORES, {"method": "hf", "basis": "def2-svp", "driver": "gradient"}, "Total SCF energy"),
            *(("mopac", MOPAC, {"method": m, "driver": "gradient"}, "FINAL HEAT OF") for m in ("pm6", "pm7", "am1")),
        )
    ],
)
def test_tasks_of_one_start_have_all_digits_and_the_output_of_single_starts_in_both_orders(
    asked, program, tasks, chosen, once
):
    inputs = [asked(atoms, **chosen, **of) for atoms, of in tasks]
    # Without electrons MOPAC would give the dipole of the job before.
    left_out = [program == "mopac" and each.molecule.symbols.tolist() == ["Na"] for each in inputs]
    expected = [None if out else told(alone(program, each)) for each, out in zip(inputs, left_out, strict=True)]
    for order in (slice(None), slice(None, None, -1)):
        results = together(program, inputs[order])
        assert [told(result) for result in results] == expected[order]
        assert all(result.stdout.count(once) == 1 for result in results if result is not None)
        if program == "nwchem":
            assert all("autotune" not in result.stdout for result in results)
            assert all(deck_of(each) in result.stdout for each, result in zip(inputs[order], results, strict=True))


@pytest.mark.programs("nwchem")
@pytest.mark.parametrize("hard", [WATER, [("H", 0, 0, 0), ("Br", 0, 0, 1.41)]], ids=["diverges", "aborts"])
def test_a_start_of_nwchem_ends_with_the_task_that_fails_and_what_was_before_it_counts(asked, hard):
    chosen = {"method": "hf", "basis": "6-31g", "scf__maxiter": 4}  # enough for the radicals, not for water
    radicals = [[("O", 0, 0, 0), ("H", 0, 0, 0.97 + 0.01 * each)] for each in range(4)]
    easy = [asked(atoms, **chosen, multiplicity=2) for atoms in radicals]
    expected = [told(alone("nwchem", each)) for each in easy]
    for place in (0, 2, 4):
        results = together("nwchem", [*easy[:place], asked(hard, **chosen), *easy[place:]])
        assert [told(result) for result in results] == [*expected[:place], None]


@pytest.mark.programs("mopac")
def test_a_job_of_mopac_that_fails_among_others_has_no_result_and_the_others_have_theirs(asked):
    easy = [asked(atoms, "pm7", driver="gradient", **of) for atoms, of in MIXED[:3]]
    too_close = asked([("O", 0, 0, 0), ("H", 0, 0, 0.1)], "pm7", driver="gradient", multiplicity=2)
    with pytest.raises(qcengine.exceptions.InputError, match="GEOMETRY IN ERROR"):
        alone("mopac", too_close)
    expected = [told(alone("mopac", each)) for each in easy]
    for place in (0, 1, 3):
        results = together("mopac", [*easy[:place], too_close, *easy[place:]])
        assert [told(result) for result in results] == [*expected[:place], None, *expected[place:]]


@pytest.fixture
def four(asked):
    """Return the inputs of water, two radicals and another."""
    return [asked(atoms, "pm7", driver="gradient", **of) for atoms, of in MIXED[:4]]


def replaced(old, new, job):
    job["infiles"]["dispatch.mop"] = job["infiles"]["dispatch.mop"].replace(old, new)
    return job


@pytest.mark.programs("mopac")
def test_a_job_of_mopac_that_does_not_converge_among_others_has_no_result(four, edited):
    edited("mopac", lambda of, job: replaced(" A0", " ITRY=1 A0", job) if len(of.molecule.symbols) == 3 else job)
    for order in (four, [*four[1:], four[0]]):
        assert [result is None for result in together("mopac", order)] == [each is four[0] for each in order]
    with pytest.raises(ConvergenceError, match=r"MOPAC: THE SCF CALCULATION FAILED\.; UNABLE TO ACHIEVE SELF-"):
        alone("mopac", four[0])


@pytest.mark.programs("mopac")
def test_jobs_behind_one_that_ends_mopac_were_not_taken_up(four, edited):
    edited("mopac", lambda of, job: replaced("\nO ", "\nQq ", job) if of is four[2] else job)
    results = together("mopac", four)
    assert len(results) < 4
    assert [result is not None for result in results[:2]] == [True, True]


PROGRAMS = [pytest.param(name, marks=pytest.mark.programs(name)) for name in HARNESSES]
LATE = "import os, sys, time; time.sleep(20); os.execvp(sys.argv[1], sys.argv[1:])"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_start_that_is_ended_at_once_brings_nothing(asked, edited, program):
    edited(program, lambda _, job: {**job, "command": [sys.executable, "-c", LATE, *job["command"]]})
    chosen = {"nwchem": {"method": "hf", "basis": "sto-3g"}, "mopac": {"method": "pm7"}}[program]
    assert not any(together(program, [asked(WATER, **chosen)] * 2, limit_s=0.1))


@pytest.mark.programs("nwchem")
@pytest.mark.parametrize(("method", "driver"), [("ccsd", "energy"), ("hf", "hessian")])
def test_what_leaves_files_that_nwchem_reads_again_has_a_start_of_its_own(asked, method, driver):
    assert together("nwchem", [asked(WATER, method, "sto-3g", driver)] * 2) == [None, None]


@pytest.mark.programs("nwchem")
def test_output_that_cannot_be_divided_is_nobodys(asked):
    output = alone("nwchem", asked(WATER, "hf", "sto-3g")).stdout
    decks = ["one", "two"]
    assert nwchem_harness._outputs(output, decks) == [None]  # of the first nobody knows whether it ends there
    assert nwchem_harness._outputs("", decks) == []
    (whole,) = nwchem_harness._outputs(output, ["one"])
    assert whole.count("Total SCF energy") == 1
    marked = output + "  unset: scf:nopen\n  unset: autotune:7\n"
    assert nwchem_harness._outputs(marked, decks) == []


@pytest.mark.programs("nwchem")
@pytest.mark.skipif(not mpi.launcher(), reason="there is no mpirun")
def test_tasks_of_one_start_may_run_on_two_ranks(asked):
    inputs = [asked(turned(DIMER, seed), "hf", "sto-3g", "gradient", scf__thresh=1e-8) for seed in range(2)]
    ranks = {"use_mpiexec": True, "mpiexec_command": mpi.launcher(), "cores_per_rank": 1, "nnodes": 1}
    config = get_config(task_config={"ncores": 2, "memory": 1.0, **ranks})
    results = HARNESSES["nwchem"]().compute_together(inputs, config)
    for each, result in zip(inputs, results, strict=True):
        assert ["nproc", "=", "2"] in [line.split() for line in result.stdout.splitlines()]
        expected = np.asarray(alone("nwchem", each).return_result)
        assert np.asarray(result.return_result) == pytest.approx(expected, abs=1e-8)


# --- whole runs ------------------------------------------------------------------------------------------------------


def sharing_starts(program):
    """Return a session of one worker in which up to 16 tasks of a program share a start."""
    (tunable,) = facts_of(program).tunables
    assert (tunable.name, tunable.default) == ("tasks_per_start", 16)
    return autotune.Session(Options(tuning="none", journal="none", threads=1, workers=1))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_run_in_shared_starts_equals_one_in_single_starts_to_the_last_bit(session, cluster, three_waters, program):
    if program == "nwchem":
        fields = three_waters(program, "hf", "sto-3g", bsse=("cp", "nocp"), driver="gradient")
    else:
        fields = cluster("water6", program=program, method="pm7", basis="", max_nbody=3, driver="gradient")
    alone = session.run(fields)
    with sharing_starts(program) as shared:
        together = shared.run(fields)
        assert max(record.sharers for record in shared.record.task_records) > (1 if program == "nwchem" else 10)
    assert together.properties.model_dump_json() == alone.properties.model_dump_json()
    assert np.array_equal(together.return_result, alone.return_result)


@pytest.mark.programs("nwchem")
def test_a_task_that_does_not_converge_in_a_shared_start_is_told_as_in_one_of_its_own(session, three_waters):
    fields = three_waters("nwchem", "hf", "6-31g", max_nbody=1, keywords={"scf__maxiter": 1})
    said = []
    with sharing_starts("nwchem") as shared:
        for each in (session, shared):
            with pytest.raises(TaskError, match=r"convergence: .*NWChem did not converge: scf energy failed"):
                each.run(fields)
            said.append({(record.label, record.error) for record in each.record.task_records})
    assert said[0] == said[1]
