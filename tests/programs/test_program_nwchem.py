"""NWChem through QCEngine's harness: its numbers, its basis set convention, ranks of MPI, what it says of faults."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import qcengine
from qcmanybody.models import v2

import autotune
from autotune import mpi
from autotune.errors import TaskError
from autotune.options import Options

sys.path.insert(0, str(Path(__file__).parents[1]))
from replay import assert_bit_equal, replayed

pytestmark = pytest.mark.programs("nwchem")


@pytest.mark.parametrize(("basis", "energy"), [("6-31g*", -76.0104965), ("cc-pvdz", -76.0267657)])
def test_hartree_fock_gives_the_published_energies_in_the_basis_sets_own_convention(
    session, two_waters, first_component, basis, energy
):
    result = first_component(session, two_waters("nwchem", "hf", basis))
    assert result.properties.return_energy == pytest.approx(energy, abs=1e-6)


def test_an_input_in_json_is_computed_as_it_is(session, two_waters, first_component):
    fields = two_waters("nwchem", "hf", "cc-pvdz")
    chemistry = fields["specification"]["specification"]["(auto)"]
    assert chemistry["keywords"] == {"basis__spherical": True}
    chemistry["keywords"] = {}
    cartesian = first_component(session, fields).properties.return_energy
    assert cartesian == pytest.approx(-76.0271072, abs=1e-6)


@pytest.mark.parametrize("bsse", ["nocp", "cp"])
def test_the_result_equals_upstreams_replay_to_the_last_bit(session, three_waters, kept, bsse):
    model = v2.ManyBodyInput(**kept(three_waters("nwchem", "hf", "6-31g*", bsse=(bsse,))))
    ours = session.run(model)
    assert_bit_equal(ours, replayed(model, ours))


def test_ghost_atoms_bring_functions_and_no_electrons(session, three_waters):
    components = session.components(three_waters("nwchem", "hf", "6-31g*", bsse=("cp",)))
    pair = next(r for r in components.values() if r.molecule.real.sum() == 6)
    alone = next(r for r in components.values() if r.molecule.real.sum() == 3)
    assert len(alone.input_data.molecule.symbols) == len(pair.input_data.molecule.symbols)
    again = qcengine.compute(
        alone.input_data, "nwchem", raise_error=True, task_config={"ncores": 1, "memory": 1.0, "retries": 0}
    )
    assert alone.return_result == pytest.approx(again.return_result, abs=1e-9)


@pytest.mark.skipif(not mpi.launcher(), reason="there is no mpirun")
def test_a_task_on_two_cores_runs_on_two_ranks_and_agrees(session, two_waters, first_component):
    fields = two_waters("nwchem", "hf", "cc-pvdz")
    narrow = first_component(session, fields)
    with autotune.Session(Options(tuning="none", journal="none", workers=1, threads=2)) as wide:
        broad = first_component(wide, fields)
        (record,) = wide.record.task_records
    assert record.width == 2
    assert [ranks(result) for result in (narrow, broad)] == ["1", "2"]
    assert narrow.return_result == pytest.approx(broad.return_result, abs=1e-8)


def ranks(result):
    """Return the number of processes that NWChem says it runs on."""
    lines = (line.split() for line in result.stdout.splitlines())
    return next(words[-1] for words in lines if words[:2] == ["nproc", "="])


def test_a_basis_set_that_nwchem_does_not_have_fails_the_task_at_once_and_is_named(session, two_waters):
    with pytest.raises(TaskError) as failure:
        session.run(two_waters("nwchem", "hf", "cc-pvdzz"))
    assert session.record.attempts == session.record.tasks
    for kind, message in failure.value.failed.values():
        assert kind in ("input", "program")
        assert "libraries/cc-pvdzz" in message


def test_a_method_that_nwchem_does_not_have_fails_the_task_as_an_input(session, two_waters):
    with pytest.raises(TaskError, match=r"Method not recognized: hff") as failure:
        session.run(two_waters("nwchem", "hff", "cc-pvdz"))
    assert {kind for kind, _ in failure.value.failed.values()} == {"input"}


def test_a_gradient_is_that_of_pyscf(session, two_waters, first_component):
    chosen = {"method": "hf", "basis": "cc-pvdz", "driver": "gradient"}
    try:
        gradient = first_component(session, two_waters("nwchem", **chosen)).return_result
    except TaskError as error:
        if "python" in str(error).lower():
            pytest.skip("this NWChem has no Python, which QCEngine takes gradients with")
        raise
    expected = first_component(session, two_waters("pyscf", **chosen)).return_result
    assert gradient == pytest.approx(expected, abs=1e-5)
