"""tblite in the worker's own process: the bits of tblite's own QCSchema interface, and what it cannot do."""

from __future__ import annotations

import numpy as np
import pytest
import qcengine

from autotune.base.errors import InputError

pytestmark = pytest.mark.programs("tblite")

NAMES = {"gfn1-xtb": "GFN1-xTB", "gfn2-xtb": "GFN2-xTB", "ipea1-xtb": "IPEA1-xTB"}
# Hydroxide, a methyl radical and water.
MIXED = (
    *(("O", 0.0, 0.0, 0.0), ("H", 0.0, 0.0, 0.97)),
    *(("C", 0.0, 4.0, 0.0), ("H", 1.08, 4.0, 0.0), ("H", -0.54, 4.9353, 0.0), ("H", -0.54, 3.0647, 0.0)),
    *(("O", 4.0, 0.5, 0.2), ("H", 3.1, 0.3, 0.1), ("H", 4.1, 1.4, 0.4)),
)


def direct(component):
    """Return what `tblite.qcschema.run_schema` makes of a component's input on one thread."""
    import tblite.qcschema
    from threadpoolctl import threadpool_limits

    fields = component.input_data.model_dump()
    model = fields["specification"]["model"]
    model["method"], model["basis"] = NAMES[model["method"].lower()], None
    with threadpool_limits(1):
        result = tblite.qcschema.run_schema(type(component.input_data)(**fields))
    assert result.success, result.error.error_message
    return result


@pytest.mark.parametrize("driver", ["energy", "gradient"])
@pytest.mark.parametrize("method", ["GFN1-xTB", "GFN2-xTB", "gfn2-xtb", "ipea1-xtb"])
def test_each_component_equals_tblites_own_to_the_last_bit(session, three_waters, method, driver):
    components = session.components(three_waters("tblite", method, driver=driver))
    assert len(components) == 6
    for label, component in components.items():
        expected = direct(component)
        assert np.array_equal(component.return_result, expected.return_result), label
        assert component.properties.return_energy == expected.properties.return_energy
        assert component.input_data.specification.model.method == method


@pytest.mark.parametrize("driver", ["energy", "gradient"])
def test_charges_and_unpaired_electrons_reach_tblite(session, expansion, driver):
    chosen = {"charges": "1:-1", "multiplicities": "2:2", "max_nbody": 2, "driver": driver}
    components = session.components(expansion(MIXED, program="tblite", method="gfn2-xtb", **chosen))
    assert {r.molecule.molecular_charge for r in components.values()} == {-1.0, 0.0}
    assert {r.molecule.molecular_multiplicity for r in components.values()} == {1, 2}
    for label, component in components.items():
        assert np.array_equal(component.return_result, direct(component).return_result), label


def test_an_empty_basis_set_is_none(session, three_waters):
    fields = three_waters("tblite", "GFN2-xTB")
    left_out = session.run(fields).return_result
    fields["specification"]["specification"]["(auto)"]["model"]["basis"] = ""
    assert session.run(fields).return_result == left_out


GHOSTS = "tblite cannot compute fragments with ghost atoms, which bsse cp and vmfc need"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "gfn3-xtb"}, "tblite has no method 'gfn3-xtb'; it has GFN1-xTB, GFN2-xTB, IPEA1-xTB"),
        ({"basis": "sto-3g"}, "GFN2-xTB has no basis set; leave 'sto-3g' out"),
        ({"driver": "hessian"}, "tblite has no hessian; it has energy, gradient, properties"),
        ({"bsse": ("cp",)}, GHOSTS),
        ({"bsse": ("vmfc",)}, GHOSTS),
    ],
    ids=str,
)
def test_what_tblite_cannot_do_is_refused_in_one_line_before_anything_starts(session, three_waters, change, message):
    if session.record is None:
        session.run(three_waters("tblite", "GFN2-xTB"))
    record = session.record
    with pytest.raises(InputError) as refusal:
        session.run(three_waters("tblite", **{"method": "GFN2-xTB", **change}))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert session.record is record


def test_keywords_of_tblite_have_an_effect(session, three_waters, first_component):
    cold, hot = (
        first_component(session, three_waters("tblite", "GFN2-xTB", keywords=keywords)).return_result
        for keywords in ({}, {"temperature": 0.05})
    )
    assert abs(cold - hot) > 1e-4


@pytest.mark.usefixtures("registered")
def test_the_harness_refuses_ghost_atoms_itself(asked):
    helium = asked([("He", 0, 0, 0), ("He", 0, 0, 2.6)], "gfn2-xtb", real=[True, False])
    failed = qcengine.compute(helium, "tblite", task_config={"ncores": 1, "memory": 1.0})
    assert failed.error.error_type == "input_error"
    assert "tblite has no ghost atoms" in failed.error.error_message
