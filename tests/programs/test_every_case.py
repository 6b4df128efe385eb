"""Every input that once went wrong, as its user would give it: the right value, or one line with the cure.

What each was: SOURCE.md in tests/cases. The values are of PySCF, Psi4 or hand-written inputs, never of autotune.
"""

from __future__ import annotations

import pytest
from places import CASES

from autotune.base.errors import InputError
from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields, read_text

pytestmark = pytest.mark.programs("pyscf")

HF = {"program": "pyscf", "method": "hf"}

# File, options, total and interaction energy (Eh; None where it is not of interest).
RIGHT = (
    ("be2.xyz", {**HF, "basis": "6-31g"}, -29.12108, 0.0124483),
    ("bom.json", {}, None, 0.0033310),
    ("cl_cl.xyz", {**HF, "basis": "6-31g", "charges": "0,0", "multiplicities": "2,2"}, None, -0.000278),
    ("ext_quoted.xyz", {**HF, "basis": "sto-3g"}, -149.9229006, 0.0029927),
    ("hexe.xyz", {"program": "nwchem", "method": "hf", "basis": "def2-svp"}, -331.15348, 0.0000709),
    ("i2_he.xyz", {**HF, "basis": "def2-svp", "keywords": {"newton": True}}, None, 0.0000357),
    ("na_w.xyz", {"program": "mopac", "method": "pm6"}, None, -0.018683),
    ("noncontiguous.json", {}, -149.9229006, 0.0029927),
    ("o2w.xyz", {**HF, "basis": "6-31g", "multiplicities": "1:3"}, -225.53021, -0.000915),
    ("oh_w.xyz", {"program": "nwchem", "method": "b3lyp", "basis": "6-31g", "multiplicities": "1:2"}, None, 0.005238),
    ("oxalate_w.xyz", {**HF, "basis": "6-31g"}, None, -0.0587969),
    ("q_mol.json", {**HF, "basis": "sto-3g"}, -149.9229006, 0.0029927),
    ("so4_w1.xyz", {**HF, "basis": "6-31g"}, -772.42238, -0.0475),
)
# File, options, a part of the one line.
REFUSED = (
    ("ch4_2.xyz", {"program": "pyscf", "method": "wb97xd", "basis": "6-31g"}, "D2 correction"),
    ("ch4_2.xyz", {"program": "pyscf", "method": "b97d", "basis": "6-31g"}, "D2 correction"),
    ("co2_pbc.xyz", {**HF, "basis": "6-31g", "max_nbody": 2}, "write whole molecules"),
    ("fragments_float.json", {}, "fragments"),
    ("freeze_code.xyz", {**HF, "basis": "sto-3g"}, "keep four columns"),
    ("ghost_he.json", {}, "ghost"),
    ("hbr_nwchem.json", {}, "NWChem's library has no basis set '6-31g' for Br (bas_tag_lib: no such"),
    ("levels_ssie.json", {}, "supersystem_ie_only"),
    ("o2w.xyz", {**HF, "basis": "6-31g"}, "--multiplicities 1:3"),
    ("q_mol.json", {}, "say at least --program"),
)
# Their gradients, in test_json_cases.py (order of atoms, isotopes) and test_program_nwchem.py (frames).
ELSEWHERE = ("inter.xyz", "j07c.json", "w2_cs.xyz")
# Where the value is known to fewer or more digits.
TOLERANCES = {"o2w.xyz": 1e-5, "so4_w1.xyz": 5e-5, "oh_w.xyz": 2e-6, "i2_he.xyz": 1e-7}


def marked(rows):
    """Return rows with the program that each needs."""
    return [
        pytest.param(
            *row, marks=pytest.mark.programs("nwchem" if "nwchem" in row[0] else row[1].get("program", "pyscf"))
        )
        for row in rows
    ]


def fields_of(name, options):
    text, source = read_text(str(CASES / name))
    expansion = Expansion(**options) if options else None
    return many_body_fields(text, name=source, expansion=expansion)


@pytest.mark.parametrize(("name", "options", "total", "interaction"), marked(RIGHT))
def test_a_case_gives_the_right_energy(session, name, options, total, interaction):
    fields = fields_of(name, options)
    given = session.run(fields).properties.model_dump()
    kind = fields["specification"]["keywords"]["bsse_type"][0]
    tolerance = TOLERANCES.get(name, 1e-6)
    if total is not None:
        assert given["nocp_corrected_total_energy"] == pytest.approx(total, abs=1e-5)
    if interaction is not None:
        assert given[f"{kind}_corrected_interaction_energy"] == pytest.approx(interaction, abs=tolerance)


@pytest.mark.parametrize(("name", "options", "words"), marked(REFUSED))
def test_a_case_is_refused_in_one_line_before_anything_is_computed(session, name, options, words):
    with pytest.raises(InputError) as refused:
        session.run(fields_of(name, options))
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_no_case_is_forgotten():
    listed = {name for name, *_ in (*RIGHT, *REFUSED)} | set(ELSEWHERE)
    assert listed == {path.name for path in CASES.iterdir() if path.suffix in (".xyz", ".json")}


@pytest.fixture
def by_hf(session):
    """Return a function that computes a text by HF."""

    def compute(text, **options):
        return session.run(many_body_fields(text, name="case", expansion=Expansion(**HF, **options)))

    return compute


def test_molecules_that_the_cell_cut_give_their_energy_once_they_are_whole(by_hf):
    whole = (CASES / "co2_pbc.xyz").read_text().replace("O 5.34", "O -0.66")
    total = by_hf(whole, basis="6-31g", max_nbody=2).properties.nocp_corrected_total_energy
    assert total == pytest.approx(-375.02967, abs=1e-5)  # PySCF, two whole molecules


def test_heavy_water_has_the_energy_of_water_and_the_masses_of_its_isotopes(by_hf):
    text = (CASES / "w2_cs.xyz").read_text()
    light, heavy = (by_hf(each, basis="sto-3g") for each in (text, text.replace("\nH ", "\nD ")))
    assert heavy.properties.nocp_corrected_total_energy == light.properties.nocp_corrected_total_energy
    assert heavy.molecule.masses[1] == pytest.approx(2.0141018)  # AME 2012
