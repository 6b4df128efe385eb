"""MOPAC through QCEngine's harness: the same bits as without autotune, and no ghosts."""

from __future__ import annotations

import numpy as np
import pytest
import qcengine

from autotune.errors import InputError

pytestmark = pytest.mark.programs("mopac")


@pytest.mark.parametrize("driver", ["energy", "gradient"])
@pytest.mark.parametrize("method", ["pm6", "pm7"])
def test_each_component_equals_qcengines_to_the_last_bit(session, cluster, monkeypatch, method, driver):
    fields = cluster("water4", program="mopac", method=method, basis="", max_nbody=2, driver=driver)
    components = session.components(fields)
    assert len(components) == 10
    if kernel := session.record.policy.blas_kernel:
        monkeypatch.setenv("OPENBLAS_CORETYPE", kernel)
    for label, component in components.items():
        alone = qcengine.compute(
            component.input_data, "mopac", raise_error=True, task_config={"ncores": 1, "memory": 1.0}
        )
        assert np.array_equal(component.return_result, alone.return_result), label


@pytest.mark.parametrize("driver", ["energy", "gradient"])
def test_the_many_body_sum_of_all_bodies_is_the_whole_cluster(session, cluster, driver):
    fields = cluster("water2", program="mopac", method="pm6", basis="", driver=driver)
    whole = next(r for r in session.components(fields).values() if len(r.molecule.fragments) == 2)
    fields["specification"]["keywords"]["return_total_data"] = True
    assert session.run(fields).return_result == pytest.approx(np.asarray(whole.return_result), abs=1e-12)


def test_ions_and_radicals_are_computed_with_their_charge_and_spin(session, expansion):
    atoms = [("O", 0, 0, 0), ("H", 0, 0, 0.97), ("O", 0, 3.0, 0), ("H", 0, 3.0, 0.97)]
    fields = expansion(
        atoms, program="mopac", method="pm6", charges="1:-1", multiplicities="2:2", max_nbody=1, bsse=("nocp",)
    )
    anion, radical = session.components(fields).values()
    assert anion.return_result != pytest.approx(radical.return_result, abs=1e-3)
    assert "CHARGE ON SYSTEM" in anion.stdout.upper()
    assert "MS" in radical.stdout.upper()


@pytest.mark.parametrize("bsse", ["cp", "vmfc"])
def test_ghost_atoms_are_refused_in_one_line_before_anything_starts(session, cluster, bsse):
    session.run(cluster("water2", program="mopac", method="pm6", basis=""))
    record = session.record
    with pytest.raises(InputError) as refusal:
        session.run(cluster("water2", program="mopac", method="pm6", basis="", bsse=(bsse,)))
    assert str(refusal.value) == (
        "mopac cannot compute fragments with ghost atoms, which bsse cp and vmfc need; use nocp, or another program"
    )
    assert session.record is record


def test_an_unknown_method_fails_its_tasks_as_an_input(session, cluster):
    from autotune.errors import TaskError

    with pytest.raises(TaskError, match=r"MOPAC does not have method: PM8") as failure:
        session.run(cluster("water2", program="mopac", method="pm8", basis=""))
    assert {kind for kind, _ in failure.value.failed.values()} == {"input"}
