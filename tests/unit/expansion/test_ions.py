"""Claims about charges and spins of fragments: stated, following from what is stated, or asked for."""

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import CASES
from qcmanybody.models import v2

from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.expansion.bonds import bonded_pairs
from autotune.expansion.expansion import Expansion
from autotune.expansion.ions import _hund
from autotune.expansion.readers import many_body_fields, read_text
from autotune.expansion.valence import _matching, suggested_charge

WATER = ("O 0 0 9", "H 0 0.757 9.588", "H 0 -0.757 9.588")


def whole(text, name="m.xyz", **options):
    expansion = Expansion(program="pyscf", method="hf", basis="6-31g", **options)
    return many_body_fields(text, name=name, expansion=expansion)


def molecule(text, **options):
    return whole(text, **options)["molecule"]


def of(*atoms, comment="", **options):
    fields = molecule("\n".join([str(len(atoms)), comment, *atoms]), **options)
    return fields["fragment_charges"], fields["fragment_multiplicities"]


def case(name, comment=None, **options):
    text, _ = read_text(str(CASES / f"{name}.xyz"))
    if comment is not None:
        lines = text.split("\n")
        text = "\n".join([lines[0], comment, *lines[2:]])
    return molecule(text, name=f"{name}.xyz", **options)


def question(call, *args, **options):
    with pytest.raises(InputError) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


# The inputs that once went wrong


@pytest.mark.parametrize(
    ("name", "options", "charges", "multiplicities"),
    [
        *((name, {}, [0, 0], [1, 1]) for name in ("be2", "ch4_2", "ext_quoted", "hexe", "i2_he", "inter")),
        ("na_w", {}, [1, 0], [1, 1]),
        ("oxalate_w", {}, [0, -2], [1, 1]),
        ("so4_w1", {}, [-2, 0], [1, 1]),
        ("be2", {"charges": "0,0"}, [0, 0], [1, 1]),
        ("be2", {"charges": "2,2"}, [2, 2], [1, 1]),
        ("o2w", {"multiplicities": "1:3"}, [0, 0], [3, 1]),
        ("o2w", {"multiplicities": "1:1"}, [0, 0], [1, 1]),
        ("oh_w", {"multiplicities": "1:2"}, [0, 0], [2, 1]),
        ("oh_w", {"charges": "1:-1"}, [-1, 0], [1, 1]),
        ("cl_cl", {"charges": "0,0", "multiplicities": "2,2"}, [0, 0], [2, 2]),
        ("cl_cl", {"multiplicities": "2,2"}, [0, 0], [2, 2]),
    ],
)
def test_an_input_is_read_as_it_states_or_as_the_answer_to_its_question_says(name, options, charges, multiplicities):
    found = case(name, **options)
    assert (found["fragment_charges"], found["fragment_multiplicities"]) == (charges, multiplicities)


ASKED = {
    ("be2", ""): "fragment 1 (Be; 1 more like it) is an ion, or an atom? say --charges 1:+2,2:+2 (or 0)",
    ("o2w", None): "fragment 1 (O O) is a triplet in its ground state; say --multiplicities 1:3 (or 1)",
    ("so4_w1", ""): (
        "fragment 1 (S O O O O) has no neutral structure with ordinary bonds: which ion is it? say --charges 1:-2"
    ),
    ("oxalate_w", ""): (
        "fragment 2 (C O O C O O) has no neutral structure with ordinary bonds: which ion is it? say --charges 2:-2"
    ),
    ("cl_cl", None): (
        "fragment 1 (Cl; 1 more like it) is an ion, or an atom? say --charges 1:-1,2:-1 (or 0), or --multiplicities "
        "1:2,2:2"
    ),
    ("oh_w", None): (
        "fragment 1 (O H) has an odd number of electrons when neutral: an ion, or a radical? say --charges 1:-1, or "
        "--multiplicities 1:2"
    ),
}


@pytest.mark.parametrize(("name", "comment"), ASKED)
def test_an_input_that_says_too_little_is_asked_about_in_one_line(name, comment):
    assert question(case, name, comment) == ASKED[name, comment]


def test_atoms_keep_the_order_of_the_file_and_fragments_the_numbers_in_which_they_are_stated():
    found = case("inter")
    assert found["symbols"] == ["O", "O", "H", "H", "H", "H"]
    assert found["fragments"] == [[0, 2, 3], [1, 4, 5]]
    assert found["geometry"][3] == pytest.approx(0.3 / 0.529177210903)
    found = case("inter", fragments="2,5,6;1,3,4", charges="2:1", multiplicities="2:2")
    assert found["fragments"] == [[1, 4, 5], [0, 2, 3]]
    assert found["fragment_charges"] == [0, 1]


def test_what_was_understood_is_in_the_molecules_extras_and_a_geometry_in_bohr_goes_through_unchanged():
    assert case("inter")["extras"] == {"autotune": {"units": "angstrom", "source": "inter.xyz"}}
    assert case("ext_quoted")["extras"]["autotune"]["notes"] == ["the periodic cell is ignored: no images are computed"]
    found = molecule("2\nunits=bohr\nHe 0 0 0\nHe 0 0 9.1\n")
    assert found["extras"]["autotune"]["units"] == "bohr"
    assert found["geometry"] == pytest.approx([0, 0, 0, 0, 0, 9.1], abs=1e-14)


def test_what_was_understood_and_isotopes_leave_keys_of_components_as_they_were():
    text = "2\n\nHe 0 0 0\nNe 0 0 3\n"
    plain, heavy, bare = (whole(t) for t in (text, text.replace("Ne", "20Ne"), text))
    del bare["molecule"]["extras"]
    keys = [[task.key for task in workload.load(fields).tasks] for fields in (plain, heavy, bare)]
    assert keys[0] == keys[1] == keys[2]


@pytest.mark.parametrize("version", [1, 2])
def test_extras_and_mass_numbers_are_part_of_the_input_in_both_schema_versions(version):
    both = v2.ManyBodyInput(**whole("2\n\nHe 0 0 0\n3He 0 0 3\n"))
    found = (both if version == 2 else both.convert_v(1)).molecule
    assert list(found.mass_numbers) == [4, 3]
    assert found.masses[1] == pytest.approx(3.0160293)  # AME 2012
    assert found.extras["autotune"]["units"] == "angstrom"


# Totals that the file states


NA = ("Na 0 0 0", *WATER)


@pytest.mark.parametrize(
    ("atoms", "comment", "charges", "multiplicities"),
    [
        (NA, "1 1", [1, 0], [1, 1]),
        (NA, "0 2", [0, 0], [2, 1]),
        (("Na 0 0 0", "Cl 0 0 2.8"), "0 1", [1, -1], [1, 1]),
        (("Na 0 0 0", "Na 0 0 3.1"), "charge=0 multiplicity=3", [0, 0], [2, 2]),
        (("O 0 0 0", "H 0 0 0.97", *WATER), "-1 1", [-1, 0], [1, 1]),
        (("O 0 0 0", "H 0 0 0.97", *WATER), "0 2", [0, 0], [2, 1]),
        (("O 0 0 0", "O 0 0 1.21", *WATER), "0 3", [0, 0], [3, 1]),
        (("O 0 0 0", "O 0 0 1.21", *WATER), "charge=0 spin=2", [0, 0], [3, 1]),
        (("O 0 0 0", "O 0 0 1.21", *WATER), "charge=0 spin=3", [0, 0], [3, 1]),
        (("O 0 0 0", "H 0 0 0.97", *WATER), "charge=0 spin=1", [0, 0], [2, 1]),
        (("O 0 0 0", "H 0 0 0.97", *WATER), "charge=0 spin=2", [0, 0], [2, 1]),
        (("O 0 0 0", "O 0 0 1.21", *WATER), "0 1", [0, 0], [1, 1]),
        (("O 0 0 0", *WATER), "0 3", [0, 0], [3, 1]),
        (("O 0 0 0", *WATER), "-2 1", [-2, 0], [1, 1]),
        (("Zn 0 0 0", *WATER), "2 1", [2, 0], [1, 1]),
        (("He 0 0 0", *WATER), "0 1 0 1 0 1", [0, 0], [1, 1]),
        (("He 0 0 0", "N 0 0 4"), '{"fragments": [1, 1], "charges": [0, 0], "multiplicities": [1, 4]}', [0, 0], [1, 4]),
    ],
)  # fmt: skip
def test_a_stated_total_settles_what_would_be_asked(atoms, comment, charges, multiplicities):
    assert of(*atoms, comment=comment) == (charges, multiplicities)


@pytest.mark.parametrize(
    ("atoms", "comment", "options", "expected"),
    [
        (WATER, "1 1", {}, "line 2 states charge +1, but 1 H2O (0) together have 0"),
        ((*NA, "Cl 0 0 30"), "1 1", {}, "line 2 states charge +1, but"),
        (NA, "0 1", {}, "line 2 states multiplicity 1, but the fragments together have 2"),
        (("He 0 0 0", *WATER), "0 3", {}, "line 2 states multiplicity 3, but the fragments together have 1"),
        (("He 0 0 0", *WATER), "0 1", {"charges": "1:1"}, "line 2 states charge 0, but"),
        (("He 0 0 0", *WATER), "0 1", {"multiplicities": "1:3"}, "line 2 states multiplicity 1, but"),
        (("He 0 0 0", *WATER), "charge=-1 charge_a=0 charge_b=0", {}, "line 2 states charge -1, but"),
        (("He 0 0 0", *WATER), "charge_a=0 charge_b=1", {}, "of fragments, but not which atoms these are; add"),
        (("He 0 0 0", *WATER), "charge_a=0 charge_b=0 charge_c=0", {}, "of 3 fragments, but there are 2"),
        (("O 0 0 0", "H 0 0 0.97", "N 9 0 0", "O 9 0 1.15", *WATER), "0 1", {}, "fragment 1 (O H) has an odd number"),
    ],
)  # fmt: skip
def test_a_guess_against_the_file_is_refused(atoms, comment, options, expected):
    assert expected in question(of, *atoms, comment=comment, **options)


def test_options_that_state_each_fragment_go_before_the_file_and_leave_it_what_they_do_not_say():
    assert of("He 0 0 0", *WATER, comment="0 1", charges="0,1", multiplicities="1,2") == ([0, 1], [1, 2])
    assert of("O 0 0 0", "O 0 0 1.5", *WATER, charges="1:-2") == ([-2, 0], [1, 1])
    text = '{"fragments": [1, 3], "charges": [1, 0]}'
    assert of("Na 0 0 0", *WATER, comment=text, fragments="2-4;1") == ([0, 1], [1, 1])


@given(
    st.sampled_from(["Na", "Cl", "O", "He", "Be", "H"]),
    st.sampled_from(["Na", "Cl", "S", "Ne", "Li"]),
    st.integers(-3, 3),
    st.integers(1, 4),
)
def test_what_is_accepted_has_the_charge_and_the_multiplicity_of_the_comment(one, other, charge, multiplicity):
    try:
        charges, spins = of(f"{one} 0 0 0", f"{other} 0 0 5", *WATER, comment=f"{charge} {multiplicity}")
    except InputError:
        return
    assert sum(charges) == charge
    assert 1 + sum(spin - 1 for spin in spins) == multiplicity


# Lone atoms


@pytest.mark.parametrize(
    ("atoms", "charges"),
    [
        (("Na 0 0 0", *WATER), [1, 0]),
        (("Mg 0 0 0", *WATER), [2, 0]),
        (("Cl 0 0 0", *WATER), [-1, 0]),
        (("Na 0 0 0", "Cl 0 0 2.8"), [1, -1]),
        (("Mg 0 0 0", "F 0 0 3", "F 0 0 -3"), [2, -1, -1]),
        (("Na 0 0 0", "Na 0 0 20", *WATER), [1, 1, 0]),
        (("Ar 0 0 0", "Xe 0 0 4"), [0, 0]),
        (("H 0 0 0", *WATER), [0, 0]),
        (("Li 0 0 0", "Ca 0 0 20", "Br 0 0 30", "Cl 0 0 40", "H 0 0 41.3"), [1, 2, -1, 0]),
        (("O 0 1.1 0", "O 0 0 0.7", "O 0 2.2 0.7", "He 9 0 0"), [0, 0]),
    ],
)
def test_lone_atoms_and_ozone_that_are_a_matter_of_course_are_not_asked_about(atoms, charges):
    assert of(*atoms)[0] == charges


def sulphite_like(symbols):
    centre, end = symbols.split()
    return (f"{centre} 0 0 0", f"{end} 1.6 0 0", f"{end} -0.8 1.386 0", f"{end} -0.8 -1.386 0", *WATER)


HYDROXYLS = tuple(f"{symbol} {x} 0 {9 * n}" for n in range(3) for symbol, x in (("O", 5), ("H", 5.97)))


@pytest.mark.parametrize(
    ("atoms", "options", "expected"),
    [
        (("C 0 0 0", *WATER), {}, "fragment 1 (C) is a lone atom: an atom, an ion, or part of a molecule?"),
        (("O 0 0 4", "S 0 0 0"), {}, "fragment 1 (O) is a lone atom"),
        (("N 0 0 0", *WATER), {}, "fragment 1 (N) is a lone atom"),
        (("Li 0 0 0", "H 0 0 1.6"), {}, "fragment 2 (H) is a lone atom beside others"),
        (("H 0 0 0", "He 0 0 3"), {}, "fragment 1 (H) is a lone atom beside others"),
        (("Be 0 0 0", "He 0 0 3"), {}, "fragment 1 (Be) is an ion, or an atom?"),
        (("Na 0 0 0", "Na 0 0 3.1", *WATER), {}, "fragment 1 (Na; 1 more like it) is an ion, or an atom?"),
        (("Zn 0 0 0", *WATER), {}, "fragment 1 (Zn) is a lone metal atom: which ion?"),
        (("Fe 0 0 0", *WATER), {}, "fragment 1 (Fe) is a lone metal atom: which ion?"),
        # The spin of an atom, where it is not the lowest or not known
        (("O 0 0 0", *WATER), {"charges": "1:0"}, "; say --multiplicities 1:3."),
        (("N 0 0 0", *WATER), {"charges": "1:0"}, "; say --multiplicities 1:4."),
        (("Fe 0 0 0", *WATER), {"charges": "1:2"}, "transition metal: which spin has it? say --multiplicities 1:1."),
        # Formulas of a molecule and of an ion
        *((sulphite_like(symbols), {}, "say --charges 1:") for symbols in ("S O", "C S", "Se O")),
        # Fragments of one kind
        (HYDROXYLS, {}, "fragment 1 (O H; 2 more like it)"),
        (HYDROXYLS, {}, "--charges 1:-1,2:-1,3:-1, or --multiplicities 1:2,2:2,3:2"),
    ],
)  # fmt: skip
def test_what_may_be_several_things_is_asked_about(atoms, options, expected):
    assert expected in question(of, *atoms, **options) + "."


GROUND_STATES = {
    1: "H:0 Ne:0 Be:0 O:-2 C:2 Na:1 Cl:-1 Ca:2 Tl:1",
    2: "B:0 F:0 O:-1 Cs:0 I:0",
    3: "C:0 O:0 Si:0 S:0 Ge:0 Se:0 Sn:0 Te:0 Pb:0 N:1",
    4: "N:0 P:0 O:1 C:-1 Bi:0",
}  # NIST Atomic Spectra Database


@pytest.mark.parametrize("multiplicity", GROUND_STATES)
def test_the_ground_states_of_atoms_are_those_of_hunds_rule(multiplicity):
    for state in GROUND_STATES[multiplicity].split():
        symbol, charge = state.split(":")
        assert max(_hund(symbol, int(charge)), 1) == multiplicity, state


# Ions with an even number of electrons


def chain(text):
    """Return symbols and bonds of a molecule written as `C1-C2 C2-O3 ...`."""
    pairs = [tuple(bond.split("-")) for bond in text.split()]
    names = sorted({name for pair in pairs for name in pair}, key=lambda name: int("".join(filter(str.isdigit, name))))
    place = {name: number for number, name in enumerate(names)}
    return ["".join(filter(str.isalpha, name)) for name in names], [(place[a], place[b]) for a, b in pairs]


MOLECULES = {
    "sulphate": ("S1-O2 S1-O3 S1-O4 S1-O5", -2),
    "thiosulphate": ("S1-S2 S1-O3 S1-O4 S1-O5", -2),
    "sulphuric acid": ("S1-O2 S1-O3 S1-O4 S1-O5 O2-H6 O3-H7", 0),
    "hydrogen sulphate": ("S1-O2 S1-O3 S1-O4 S1-O5 O2-H6", -1),
    "sulphur dioxide": ("S1-O2 S1-O3", 0),
    "dimethyl sulphoxide, no H": ("S1-O2 S1-H3 S1-H4", 0),
    "oxalate": ("C1-C2 C1-O3 C1-O4 C2-O5 C2-O6", -2),
    "oxalic acid": ("C1-C2 C1-O3 C1-O4 C2-O5 C2-O6 O3-H7 O5-H8", 0),
    "carbonate": ("C1-O2 C1-O3 C1-O4", -2),
    "carbon dioxide": ("C1-O2 C1-O3", 0),
    "carbon monoxide": ("C1-O2", 0),
    "phosphate": ("P1-O2 P1-O3 P1-O4 P1-O5", -3),
    "hydrogen phosphate": ("P1-O2 P1-O3 P1-O4 P1-O5 O2-H6", -2),
    "phosphoric acid": ("P1-O2 P1-O3 P1-O4 P1-O5 O2-H6 O3-H7 O4-H8", 0),
    "nitrate": ("N1-O2 N1-O3 N1-O4", -1),
    "nitric acid": ("N1-O2 N1-O3 N1-O4 O2-H5", 0),
    "nitrous oxide": ("N1-N2 N2-O3", 0),
    "hydrazoic acid": ("H1-N2 N2-N3 N3-N4", 0),
    "isocyanide": ("H1-N2 N2-C3", 0),
    "ammonium": ("N1-H2 N1-H3 N1-H4 N1-H5", 1),
    "hydronium": ("O1-H2 O1-H3 O1-H4", 1),
    "hydroxide": ("O1-H2", -1),
    "acetate": ("C1-C2 C2-O3 C2-O4 C1-H5 C1-H6 C1-H7", -1),
    "glycine zwitterion": ("N1-C2 C2-C3 C3-O4 C3-O5 N1-H6 N1-H7 N1-H8 C2-H9 C2-H10", 0),
    "diammonium": ("N1-N2 N1-H3 N1-H4 N1-H5 N2-H6 N2-H7 N2-H8", 2),
    "guanidinium": ("C1-N2 C1-N3 C1-N4 N2-H5 N2-H6 N3-H7 N3-H8 N4-H9 N4-H10", 1),
    "guanidine": ("C1-N2 C1-N3 C1-N4 N2-H5 N3-H7 N3-H8 N4-H9 N4-H10", 0),
    "imidazolium": ("N1-C2 C2-N3 N3-C4 C4-C5 C5-N1 N1-H6 N3-H7 C2-H8 C4-H9 C5-H10", 1),
    "imidazole": ("N1-C2 C2-N3 N3-C4 C4-C5 C5-N1 N1-H6 C2-H8 C4-H9 C5-H10", 0),
    "pyridine oxide": ("N1-C2 C2-C3 C3-C4 C4-C5 C5-C6 C6-N1 N1-O7 C2-H8 C3-H9 C4-H10 C5-H11 C6-H12", 0),
    "azulene-diyl": (
        "C1-C2 C2-C3 C3-C4 C4-C5 C5-C1 C4-C6 C6-C7 C7-C8 C8-C9 C9-C10 C10-C5 C1-H11 C2-H12 C3-H13 C6-H14 C7-H15 C8-H16",
        0,
    ),
    "fulvene": ("C1-C2 C2-C3 C3-C4 C4-C5 C5-C1 C1-C6 C2-H7 C3-H8 C4-H9 C5-H10 C6-H11 C6-H12", 0),
    "acetylene": ("H1-C2 C2-C3 C3-H4", 0),
    "hydrogen cyanide": ("H1-C2 C2-N3", 0),
    "ammonia borane": ("B1-N2 B1-H3 B1-H4 B1-H5 N2-H6 N2-H7 N2-H8", 0),
    "diborane": ("B1-H2 B1-H3 B1-H4 B1-H5 H2-B6 H3-B6 B6-H7 B6-H8", 0),
    "tetrafluoroborate": ("B1-F2 B1-F3 B1-F4 B1-F5", -1),
    "hexafluorosilicate": ("Si1-F2 Si1-F3 Si1-F4 Si1-F5 Si1-F6 Si1-F7", -2),
    "hexafluorophosphate": ("P1-F2 P1-F3 P1-F4 P1-F5 P1-F6 P1-F7", -1),
    "sulphur hexafluoride": ("S1-F2 S1-F3 S1-F4 S1-F5 S1-F6 S1-F7", 0),
    "perchlorate": ("Cl1-O2 Cl1-O3 Cl1-O4 Cl1-O5", -1),
    "perchloric acid": ("Cl1-O2 Cl1-O3 Cl1-O4 Cl1-O5 O2-H6", 0),
    "bifluoride": ("F1-H2 H2-F3", -1),
    "xenon difluoride": ("Xe1-F2 Xe1-F3", 0),
    "a metal": ("Fe1-C2", None),
    "a cluster of boron": ("B1-B2 B1-B3 B1-B4 B1-B5 B1-B6 B1-B7", None),
    "methylene": ("C1-H2 C1-H3", 0),
    "hydrogen atoms that touch": ("C1-H2 C1-H3 C1-H4 C1-C5 C5-C6 C6-H7 C6-H8 C6-H9 C5-H10 C5-H11 H4-H9", 0),
}


@pytest.mark.parametrize("name", MOLECULES)
def test_bonds_suggest_the_charge_of_the_usual_closed_shell_species_if_any(name):
    text, charge = MOLECULES[name]
    assert suggested_charge(*chain(text)) == charge


@given(st.integers(2, 9), st.randoms(use_true_random=False))
def test_as_many_are_paired_as_any_pairing_can(count, random):
    edges = [pair for pair in itertools.combinations(range(count), 2) if random.random() < 0.4]
    beside = [[b if a == v else a for a, b in edges if v in (a, b)] for v in range(count)]
    partner = _matching(beside, count)
    assert all(partner[other] == v and other in beside[v] for v, other in enumerate(partner) if other >= 0)

    def most(left, free):
        if not left:
            return 0
        (a, b), *rest = left
        skipped = most(rest, free)
        return max(skipped, 1 + most(rest, free - {a, b})) if {a, b} <= free else skipped

    assert sum(other >= 0 for other in partner) == 2 * most(edges, frozenset(range(count)))


def test_a_sheet_of_hundreds_of_atoms_is_paired_in_time():
    row = 1.42 * math.sqrt(3)
    positions = [
        (1.42 * (1.5 * x + s), row * (y + 0.5 * (x % 2)), 0.0) for x in range(16) for y in range(16) for s in (0, 1)
    ]
    symbols = ["C"] * len(positions)
    assert suggested_charge(symbols, bonded_pairs(symbols, positions, alone=(), scale=1.2)) == 0


def test_what_json_states_of_charges_is_not_asked_about():
    comment = json.dumps({"fragments": [5, 3], "charges": [0, 0]})
    assert case("so4_w1", comment)["fragment_charges"] == [0, 0]
