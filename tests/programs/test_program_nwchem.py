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
def test_a_task_on_two_cores_runs_on_two_ranks_and_agrees(session, three_waters):
    fields = three_waters("nwchem", "hf", "cc-pvdz", max_nbody=2)
    narrow = session.components(fields)
    with autotune.Session(Options(tuning="none", journal="none", workers=1, threads=2)) as wide:
        broad = wide.components(fields)
        records = wide.record.task_records
    assert {record.width for record in records} == {2}
    for label, result in narrow.items():
        assert result.return_result == pytest.approx(broad[label].return_result, abs=1e-8)
    lines = [line.split() for result in broad.values() for line in result.stdout.splitlines()]
    ranks = {words[-1] for words in lines if words[:1] == ["nproc"]}
    assert ranks == {"2"}
    # Two ranks that are waited for count, whatever else the machine does meanwhile.
    assert sum(r.cpu_s for r in records) > 0.5 * sum(r.wall_s for r in records)


def test_a_basis_set_that_nwchem_does_not_have_fails_the_task_as_an_input(session, two_waters):
    with pytest.raises(TaskError) as failure:
        session.run(two_waters("nwchem", "hf", "cc-pvdzz"))
    assert {kind for kind, _ in failure.value.failed.values()} == {"input"}
    assert "\n" not in str(failure.value)


def test_a_method_that_nwchem_does_not_have_fails_the_task_as_an_input(session, two_waters):
    with pytest.raises(TaskError, match=r"Method not recognized: hff") as failure:
        session.run(two_waters("nwchem", "hff", "cc-pvdz"))
    assert {kind for kind, _ in failure.value.failed.values()} == {"input"}


def test_gradients_are_those_of_psi4s_and_pyscfs_convention(session, two_waters, first_component):
    try:
        gradient = first_component(session, two_waters("nwchem", "hf", "cc-pvdz", driver="gradient")).return_result
    except TaskError as error:
        if "python" in str(error).lower():
            pytest.skip("this NWChem has no Python, which QCEngine takes gradients with")
        raise
    assert gradient.shape == (3, 3)
    assert abs(gradient.sum(axis=0)).max() < 1e-6
