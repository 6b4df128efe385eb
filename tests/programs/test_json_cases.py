"""Inputs in JSON whose numbers PySCF itself gives: atoms scattered over fragments, Molecules with options, isotopes."""

from __future__ import annotations

import json

import commands
import numpy as np
import pytest
import qcengine
from places import CASES
from qcmanybody.models import v2
from replay import assert_bit_equal, replayed

import autotune
from autotune.base.errors import InputError
from autotune.base.options import Options
from autotune.compat import procedure
from autotune.expansion import workload, xyz

BOHR = 0.529177210903
TOLERANCE = 1e-6  # hartree, hartree/bohr, hartree/bohr²

pytestmark = pytest.mark.programs("pyscf")


def solved(molecule, basis, atoms=None, ghosts=()):
    """Return PySCF's own converged RHF of some atoms of a molecule's fields, others as ghosts."""
    from pyscf import gto, scf

    named = [f"ghost-{s}" if i in ghosts else s for i, s in enumerate(molecule["symbols"])]
    listed = list(zip(named, np.reshape(molecule["geometry"], (-1, 3)), strict=True))
    mole = gto.M(atom=listed if atoms is None else [listed[i] for i in atoms], unit="Bohr", basis=basis, verbose=0)
    field = scf.RHF(mole)
    field.conv_tol, field.conv_tol_grad, field.chkfile = 1e-11, 1e-7, None
    field.kernel()
    assert field.converged
    return field


def an_input(molecule, driver, basis, **keywords):
    chemistry = {"program": "pyscf", "driver": driver, "model": {"method": "hf", "basis": basis}}
    chemistries = {"(auto)": {**chemistry, "keywords": {"conv_tol": 1e-11}}}
    keywords = {"bsse_type": ["nocp"], **keywords}
    return {
        "molecule": molecule,
        "specification": {"driver": driver, "keywords": keywords, "specification": chemistries},
    }


@pytest.fixture(scope="module")
def interleaved():
    """Return the fields of a water dimer whose file has both oxygens first."""
    found = xyz.read_xyz((CASES / "inter.xyz").read_text(), name="inter.xyz")
    return {
        "symbols": list(found.symbols),
        "geometry": [x / BOHR for position in found.coordinates_angstrom for x in position],
        "fragments": [[0, 2, 3], [1, 4, 5]],
    }


@pytest.fixture(scope="module")
def gradient_of_the_file(interleaved):
    return solved(interleaved, "sto-3g").nuc_grad_method().kernel()


def test_the_gradient_of_interleaved_molecules_is_that_of_the_file(session, interleaved, gradient_of_the_file):
    result = session.run(an_input(interleaved, "gradient", "sto-3g"))
    assert result.return_result == pytest.approx(gradient_of_the_file, abs=TOLERANCE)
    again = type(result)(**json.loads(result.model_dump_json()))
    assert np.reshape(again.return_result, (-1, 3)) == pytest.approx(gradient_of_the_file, abs=TOLERANCE)
    assert again.molecule.symbols.tolist() == interleaved["symbols"]


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize("version", [1, 2])
def test_so_it_is_in_qcengine(interleaved, gradient_of_the_file, version):
    autotune.register(options=Options(journal="none", threads=1))
    fields = an_input(interleaved, "gradient", "sto-3g")
    source = fields if version == 2 else workload.load(fields)._input.convert_v(1)
    try:
        result = qcengine.compute(source, "autotune", raise_error=True)
    finally:
        procedure.close()
        procedure.register(options=Options())
    assert result.schema_version == version
    assert np.reshape(result.return_result, (-1, 3)) == pytest.approx(gradient_of_the_file, abs=TOLERANCE)


def test_components_of_interleaved_molecules_have_their_own_atoms(session, interleaved):
    found = session.components(an_input(interleaved, "gradient", "sto-3g", max_nbody=1))
    geometry = np.reshape(interleaved["geometry"], (-1, 3))
    for number, fragment in enumerate(interleaved["fragments"], 1):
        one = found[f'["(auto)", [{number}], [{number}]]']
        assert one.molecule.geometry == pytest.approx(geometry[fragment], abs=1e-8)
        alone = solved(interleaved, "sto-3g", fragment).nuc_grad_method().kernel()
        assert np.asarray(one.return_result) == pytest.approx(alone, abs=TOLERANCE)


def test_the_hessian_of_interleaved_molecules_is_that_of_the_file(session):
    geometry = [0.0, 0.0, 0.0, 0.3, 0.2, 4.0, 0.1, 1.35, 0.2]
    molecule = {"symbols": ["H", "He", "H"], "geometry": geometry, "fragments": [[0, 2], [1]]}
    expected = solved(molecule, "6-31g").Hessian().kernel().transpose(0, 2, 1, 3).reshape(9, 9)
    result = session.run(an_input(molecule, "hessian", "6-31g"))
    assert np.reshape(result.return_result, (9, 9)) == pytest.approx(expected, abs=TOLERANCE)


def test_a_molecule_with_options_is_computed_like_an_xyz_file(tmp_path):
    molecule = json.loads((CASES / "q_mol.json").read_text())
    dimer, one, other = (solved(molecule, "sto-3g", atoms).e_tot for atoms in (None, [0, 1, 2], [3, 4, 5]))
    for text in (molecule, {name: value for name, value in molecule.items() if name != "fragments"}):
        path = tmp_path / "molecule.json"
        path.write_text(json.dumps(text))
        chosen = ["--program", "pyscf", "--method", "hf", "--basis", "sto-3g"]
        status, output, errors = commands.autotune("run", path, *chosen, "--quiet", "--journal", "none")
        assert (status, errors) == (0, "")
        assert json.loads(output)["return_result"] == pytest.approx(dimer - one - other, abs=TOLERANCE)


def test_the_ghost_of_a_molecule_is_refused_and_counterpoise_sets_the_same(session):
    fields = json.loads((CASES / "ghost_he.json").read_text())
    with pytest.raises(InputError, match="bsse_type cp or vmfc sets those"):
        session.run(fields)
    del fields["molecule"]["real"]
    fields["specification"]["keywords"] = {"bsse_type": ["cp"]}
    fields["specification"]["protocols"] = {"cluster_results": "all"}
    expected = solved(fields["molecule"], "6-31g", ghosts=[1]).e_tot
    result = session.run(fields)
    assert result.cluster_results['["(auto)", [1], [1, 2]]'].return_result == pytest.approx(expected, abs=TOLERANCE)


@pytest.mark.parametrize("driver", ["energy", "gradient"])
def test_isotopes_are_in_the_results_of_components_as_in_upstreams_replay(session, driver):
    fields = json.loads((CASES / "j07c.json").read_text())
    fields["specification"]["driver"] = driver
    ours = session.run(fields)
    assert_bit_equal(ours, replayed(v2.ManyBodyInput(**fields), ours))
    for of, isotopes in {"[1, 2]": [16, 2, 2, 18, 1, 1], "[1]": [16, 2, 2], "[2]": [18, 1, 1]}.items():
        assert ours.cluster_results[f'["(auto)", {of}, {of}]'].molecule.mass_numbers_.tolist() == isotopes
