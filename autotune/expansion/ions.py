"""Charge and spin of each fragment: what is stated, what follows from it, and questions where neither is enough.

Rules: the user's options go before the file's comment, and a guess never goes against either. What is not stated is
guessed only where it is no choice: an ordinary neutral molecule, a lone noble gas atom, a lone atom of groups 1, 2 and
17 among molecules or with its counter-ions. Everything else is an `InputError` that asks, with the option to answer.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from autotune.base.errors import InputError
from autotune.base.text import count, signed
from autotune.costs.basis import atomic_number, electrons
from autotune.expansion.bonds import close_pairs, without_radius
from autotune.expansion.geometry import CATIONS, Bonds, Fragments, Geometry, Stated, covalent_bonds, refuse
from autotune.expansion.summary import formula, spin_words
from autotune.expansion.valence import suggested_charge

ION_CHARGES = CATIONS | dict.fromkeys(("F", "Cl", "Br", "I", "At"), -1)
LIKE_IONS_ANGSTROM = 5.0
MOST_NAMED = 12
_NOBLE = {"He", "Ne", "Ar", "Kr", "Xe", "Rn"}
# Even numbers of electrons, but an ion is as usual as the molecule (formulas in Hill's order).
_ION_OR_MOLECULE = {"C2", "O3S", "O3Se", "HO3P", "CS3"}
_MOLECULES = {"O3"}  # neutral, though no structure without charges is
# Molecules whose ground state is a triplet: Huber and Herzberg, Constants of Diatomic Molecules (1979); CH2.
_TRIPLETS = {"O2", "S2", "OS", "Se2", "OSe", "B2", "Si2", "HN", "HP", "FN", "ClN", "FP", "CH2"}
_PERIOD_ENDS = (2, 10, 18, 36, 54, 86)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is to be asked about a fragment.

    Attributes:
        why: Of what the fragment is, without its name.
        cure: Charge or multiplicity to propose.
    """

    why: str
    cure: str


def charges_and_multiplicities(
    geometry: Geometry,
    fragments: Fragments,
    *,
    charges: Mapping[int, int],
    multiplicities: Mapping[int, int],
    bonds: Bonds | None,
    name: str,
) -> tuple[list[int], list[int]]:
    """Return the charge and the multiplicity of each fragment.

    Args:
        geometry: With what the file's comment states.
        fragments: Atoms of each.
        charges: That the options state, by fragment.
        multiplicities: That the options state, by fragment.
        bonds: By which the fragments were found, so that their order is not the user's; None where they are stated.
        name: What messages call the file.

    Raises:
        InputError: A charge or multiplicity that is not stated and no matter of course, or a contradiction.
    """
    stated = geometry.stated
    by_file, spins_by_file = _of_the_comment(geometry, fragments, found=bonds is not None, name=name)
    known, spins = {**by_file, **charges}, {**spins_by_file, **multiplicities}
    known = {**_of_atoms(geometry, fragments, known.keys() | spins.keys(), bonds), **known}
    total = stated.charge
    whole = [charge for charge in stated.charges if charge is not None]
    if total is None and not charges and whole and len(whole) == len(stated.charges):
        total = sum(whole)
    if len(charges) == len(fragments):
        total = None  # the options state each, and go before the file
    settled = _charges(geometry, fragments, known, spins, total, bonds=bonds, name=name)
    multiplicity = None
    if len(multiplicities) < len(fragments):  # as with charges
        multiplicity = _total_multiplicity(stated, electrons(geometry.symbols, sum(settled)))
    settled_spins = _multiplicities(geometry, fragments, settled, spins, multiplicity, name)
    check_electrons(geometry, fragments, settled, settled_spins)
    return settled, settled_spins


def lowest_spin_notes(
    geometry: Geometry,
    fragments: Fragments,
    charges: Sequence[int],
    multiplicities: Sequence[int],
    *,
    stated: Collection[int],
) -> tuple[str, ...]:
    """Return what to say of ions with an unpaired electron whose multiplicity nobody stated.

    Args:
        geometry: All atoms, with what the file states of them together.
        fragments: Atoms of each.
        charges: Of each.
        multiplicities: Of each.
        stated: The fragments whose multiplicity the options state.
    """
    by_file = geometry.stated
    if by_file.multiplicity is not None or by_file.spin is not None or any(by_file.multiplicities):
        return ()
    open_shells = [
        number
        for number, (charge, multiplicity) in enumerate(zip(charges, multiplicities, strict=True))
        if charge and multiplicity > 1 and number not in stated
    ]
    if not open_shells:
        return ()
    first = open_shells[0]
    what = formula(geometry.symbols[atom] for atom in fragments[first])
    others = f" (and {count(len(open_shells) - 1, 'other fragment')})" if open_shells[1:] else ""
    return (
        (
            f"fragment {first + 1}, {what} with charge {signed(charges[first])}{others}, has an odd number of electrons"
            f" and is computed as a {spin_words(multiplicities[first])}, as no multiplicity is stated; correct the"
            f" charge, or say --multiplicities {first + 1}:{multiplicities[first]}"
        ),
    )


def _of_the_comment(
    geometry: Geometry, fragments: Fragments, *, found: bool, name: str
) -> tuple[dict[int, int], dict[int, int]]:
    """Return the charges and multiplicities that the comment states, by the fragments that are computed."""
    stated = geometry.stated
    if not stated.charges and not stated.multiplicities:
        return {}, {}
    if stated.fragments is not None:
        number_of = {frozenset(atoms): number for number, atoms in enumerate(fragments)}
        numbers = [number_of.get(frozenset(atoms)) for atoms in stated.fragments]
    else:
        count = max(len(stated.charges), len(stated.multiplicities))
        if count != len(fragments):
            fault = f"line 2 states charges or multiplicities of {count} fragments, but there are {len(fragments)}"
            raise InputError(f"{name}: {fault}; say which atoms they are, as in --fragments '1-3;4-6'")
        if found and (len(set(stated.charges)) > 1 or len(set(stated.multiplicities)) > 1):
            fault = "line 2 states charges or multiplicities of fragments, but not which atoms these are"
            raise InputError(f"{name}: {fault}; add --fragments '1-3;4-6', in that order")
        numbers = list(range(len(fragments)))
    charges, multiplicities = (
        {
            number: value
            for number, value in zip(numbers, values, strict=False)
            if number is not None and value is not None
        }
        for values in (stated.charges, stated.multiplicities)
    )
    return charges, multiplicities


def _of_atoms(
    geometry: Geometry, fragments: Fragments, settled: Collection[int], bonds: Bonds | None
) -> dict[int, int]:
    """Return the sums of the formal charges that a file states of atoms, of the fragments that have such atoms.

    Files state those of some atoms only. A sum that leaves an odd electron, or that bonds deny, is asked about, unless
    the user has `settled` the charge or the multiplicity of the fragment.
    """
    stated = [
        [charge for atom in atoms if (charge := geometry.atom_charges[atom]) is not None]
        if geometry.atom_charges
        else []
        for atoms in fragments
    ]
    sums = {number: sum(charges) for number, charges in enumerate(stated) if charges}
    inside = _bonds_inside(geometry, fragments, bonds) if sums else {}
    questions = {}
    for number, charge in sums.items():
        symbols = [geometry.symbols[atom] for atom in fragments[number]]
        if number in settled or len(symbols) == 1:
            continue
        suggested = suggested_charge(symbols, inside.get(number, ()))
        if suggested not in (None, charge) or (suggested is None and electrons(symbols, charge) % 2):
            sum_of_file = f"has formal charges in the file that add up to {signed(charge)}"
            why = f"{sum_of_file}, which its bonds deny: which charge is it?"
            questions[number] = Question(why=why, cure=signed(charge if suggested is None else suggested))
    if questions:
        raise InputError(_question(geometry, fragments, questions, "charges"))
    return sums


# --- charges ---------------------------------------------------------------------------------------------------------


def _charges(
    geometry: Geometry,
    fragments: Fragments,
    known: Mapping[int, int],
    spins: Mapping[int, int],
    total: int | None,
    *,
    bonds: Bonds | None,
    name: str,
) -> list[int]:
    """Return the charges: stated ones, those that follow from the total, and guesses that no total contradicts."""
    charges = list(usual_charges(geometry, fragments))
    for number, charge in known.items():
        charges[number] = charge
    open_numbers = [number for number in range(len(fragments)) if number not in known]
    questions = _charge_questions(geometry, fragments, open_numbers, spins, bonds)
    ions = [number for number in open_numbers if number not in questions and charges[number]]
    for number in ions:
        if number in spins and _is_neutral_by_spin(geometry.symbols[fragments[number][0]], spins[number]):
            charges[number] = 0
    doubted = questions or _doubted_ions(geometry, fragments, charges, [n for n in ions if charges[n]], total)
    if doubted and total is not None:
        shares = _shares(geometry, fragments, charges, doubted, total)
        for number, charge in shares.items():
            charges[number] = charge
        doubted = {} if shares or not questions else doubted  # without questions it is a contradiction, see below
    if doubted:
        raise InputError(_question(geometry, fragments, doubted, "charges"))
    if total is not None and sum(charges) != total:
        found = _summary(geometry, fragments, charges)
        cure = "say which fragment has it, as in --charges 1:-1, or correct it"
        fault = (
            f"{geometry.stated.where} states charge {signed(total)}, but {found} together have {signed(sum(charges))}"
        )
        raise InputError(f"{name}: {fault}; {cure}")
    return charges


def _doubted_ions(
    geometry: Geometry, fragments: Fragments, charges: Sequence[int], ions: Sequence[int], total: int | None
) -> dict[int, Question]:
    """Return questions about the lone atoms that were taken for ions, where the total or the surroundings deny it."""
    if sum(charges) == total or (total is None and _are_plausible(geometry, fragments, charges, ions)):
        return {}
    return {number: _ion_or_atom(geometry.symbols[fragments[number][0]]) for number in ions}


def _shares(
    geometry: Geometry, fragments: Fragments, charges: Sequence[int], doubted: Mapping[int, Question], total: int
) -> dict[int, int]:
    """Return the charges that the total leaves to the doubted fragments; nothing where it leaves a choice.

    Fragments of one kind share what the others leave equally.
    """
    rest = total - sum(charge for number, charge in enumerate(charges) if number not in doubted)
    kinds = {formula(geometry.symbols[atom] for atom in fragments[number]) for number in doubted}
    return dict.fromkeys(doubted, rest // len(doubted)) if len(kinds) == 1 and rest % len(doubted) == 0 else {}


def _charge_questions(
    geometry: Geometry,
    fragments: Fragments,
    numbers: Sequence[int],
    spins: Mapping[int, int],
    bonds: Bonds | None,
) -> dict[int, Question]:
    """Return what is to be asked about the charges of the fragments with these numbers."""
    lone = sum(len(atoms) == 1 for atoms in fragments)
    inside: dict[int, Bonds] | None = None
    questions: dict[int, Question] = {}
    for number in numbers:
        atoms = fragments[number]
        symbols = tuple(geometry.symbols[atom] for atom in atoms)
        if number in spins and _means_the_neutral(symbols, spins[number]):
            continue
        if len(atoms) == 1:
            question = _about_an_atom(symbols[0], lone=lone)
        else:
            if inside is None:
                inside = _bonds_inside(geometry, fragments, bonds)
            question = _about_a_molecule(symbols, tuple(inside.get(number, ())))
        if question:
            questions[number] = question
    return questions


def _means_the_neutral(symbols: Sequence[str], spin: int) -> bool:
    """Return whether the multiplicity that is stated of a fragment is that of a neutral radical or triplet."""
    if any(map(_is_transition_metal, symbols)):
        return False
    return spin % 2 == 0 if electrons(symbols, 0) % 2 else spin > 1


def _bonds_inside(geometry: Geometry, fragments: Fragments, bonds: Bonds | None) -> dict[int, Bonds]:
    """Return the bonds within each fragment, atoms counted within it."""
    if bonds is None:
        bonds = covalent_bonds(geometry, skip=without_radius(geometry.symbols))
    place = {atom: (number, at) for number, atoms in enumerate(fragments) for at, atom in enumerate(atoms)}
    found: dict[int, Bonds] = {}
    for i, j in bonds:
        (one, at), (other, to) = place[i], place[j]
        if one == other:
            found.setdefault(one, []).append((min(at, to), max(at, to)))
    return {number: sorted(pairs) for number, pairs in found.items()}


def _about_an_atom(symbol: str, *, lone: int) -> Question | None:
    if symbol in _NOBLE or symbol in ION_CHARGES or (symbol == "H" and lone == 1):
        return None
    if symbol == "H":
        return Question(why="is a lone atom beside others: an atom, a hydride, part of a molecule?", cure="0")
    if _is_transition_metal(symbol):
        return Question(why="is a lone metal atom: which ion?", cure="+2")
    return Question(why="is a lone atom: an atom, an ion, or part of a molecule?", cure="0")


@functools.lru_cache(maxsize=4096)
def _about_a_molecule(symbols: tuple[str, ...], bonds: tuple[tuple[int, int], ...]) -> Question | None:
    charge, what = suggested_charge(symbols, bonds), formula(symbols)
    why, cure = "", ""
    if electrons(symbols, 0) % 2:
        why = "has an odd number of electrons when neutral: an ion, or a radical?"
        cure = signed(charge) if charge is not None and charge % 2 else "-1 (or +1)"
    elif any(map(_is_transition_metal, symbols)):
        why, cure = "has a transition metal: which charge is it?", "+2"
    elif charge is None:
        why, cure = "has unusual bonds: is it neutral, or an ion?", "0"
    elif what in _ION_OR_MOLECULE:
        why, cure = "may be a molecule or an ion: which charge is it?", "0 (or -2)"
    elif charge and what not in _MOLECULES:
        why, cure = "has no neutral structure with ordinary bonds: which ion is it?", signed(charge)
    return Question(why=why, cure=cure) if why else None


def _ion_or_atom(symbol: str) -> Question:
    return Question(why="is an ion, or an atom?", cure=f"{signed(ION_CHARGES[symbol])} (or 0)")


def _is_neutral_by_spin(symbol: str, spin: int) -> bool:
    """Return whether a lone atom can have a multiplicity when neutral, but not as its usual ion."""
    return (electrons([symbol], 0) + spin) % 2 == 1 and (electrons([symbol], ION_CHARGES[symbol]) + spin) % 2 == 0


def _are_plausible(geometry: Geometry, fragments: Fragments, charges: Sequence[int], ions: Sequence[int]) -> bool:
    """Return whether lone atoms may be taken for ions: neutral together, or among molecules and apart from their like.

    Two metal atoms alone, or metal atoms side by side without anions, are a molecule or a cluster of atoms.
    """
    if sum(charges) == 0:
        return True
    if all(len(atoms) == 1 for atoms in fragments):
        return False
    for sign in (1, -1):
        positions = [
            geometry.coordinates_angstrom[fragments[number][0]] for number in ions if charges[number] * sign > 0
        ]
        if next(close_pairs(positions, LIKE_IONS_ANGSTROM), None):
            return False
    return True


# --- multiplicities --------------------------------------------------------------------------------------------------


def _total_multiplicity(stated: Stated, count: int) -> int | None:
    """Return the multiplicity that a comment states of all atoms, with `count` electrons."""
    if stated.multiplicity is not None or stated.spin is None:
        return stated.multiplicity
    # Some programs write 2S, others 2S + 1; an even number of electrons has an odd multiplicity.
    return stated.spin + (stated.spin + count + 1) % 2


def _multiplicities(
    geometry: Geometry,
    fragments: Fragments,
    charges: Sequence[int],
    known: Mapping[int, int],
    total: int | None,
    name: str,
) -> list[int]:
    """Return the multiplicities: stated ones, one that follows from the total, the lowest elsewhere."""
    spins = list(usual_multiplicities(geometry, fragments, charges))
    for number, spin in known.items():
        spins[number] = spin
    open_numbers = [number for number in range(len(fragments)) if number not in known]
    questions = {
        number: question
        for number in open_numbers
        if (question := _about_spin(tuple(geometry.symbols[atom] for atom in fragments[number]), charges[number]))
    }
    asked = list(questions) or (open_numbers if len(open_numbers) == 1 else [])
    if total is not None and len(asked) == 1:
        others = sum(spin - 1 for number, spin in enumerate(spins) if number != asked[0])
        if total > others:
            spins[asked[0]] = total - others
            questions = {}
    if questions:
        raise InputError(_question(geometry, fragments, questions, "multiplicities"))
    together = 1 + sum(spin - 1 for spin in spins)
    if total is not None and together != total:
        cure = "say which fragment has it, as in --multiplicities 1:3, or correct it"
        fault = f"{geometry.stated.where} states multiplicity {total}, but the fragments together have {together}"
        raise InputError(f"{name}: {fault}; {cure}")
    return spins


@functools.lru_cache(maxsize=4096)
def _about_spin(symbols: tuple[str, ...], charge: int) -> Question | None:
    """Return what is to be asked about the spin of a fragment whose lowest one may not be its ground state's."""
    if any(_has_open_d_shell(symbol) for symbol in symbols):
        return Question(why="has a transition metal: which spin has it?", cure=str(1 + electrons(symbols, charge) % 2))
    if len(symbols) == 1:
        spin = _hund(symbols[0], charge)
        lowest = 1 + electrons(symbols, charge) % 2
        return Question(why="has unpaired electrons in its ground state", cure=str(spin)) if spin > lowest else None
    if charge == 0 and formula(symbols) in _TRIPLETS:
        return Question(why="is a triplet in its ground state", cure="3 (or 1)")
    return None


def _hund(symbol: str, charge: int) -> int:
    """Return the multiplicity of the ground state of an atom or ion by Hund's rule, s and p electrons; else 1."""
    number = atomic_number(symbol)
    if _is_transition_metal(symbol) or not _PERIOD_ENDS[0] < number <= _PERIOD_ENDS[-1]:
        return 1
    core = max((end for end in (0, *_PERIOD_ENDS) if end < number), default=0)
    # Behind the d and f shells, which are full from group 13 on.
    full = next(end for end in _PERIOD_ENDS if end >= number)
    outer = number - charge - (core if full - number > 5 else full - 8)  # noqa: PLR2004 - five p elements before the end
    unpaired = {1: 1, 3: 1, 4: 2, 5: 3, 6: 2, 7: 1}
    return 1 + unpaired.get(outer, 0)


def _is_transition_metal(symbol: str) -> bool:
    """Return whether an element is of the d or f block, or a heavy one of which little is known."""
    number = atomic_number(symbol)
    return any(first <= number <= last for first, last in ((21, 30), (39, 48), (57, 80), (89, 200)))


def _has_open_d_shell(symbol: str) -> bool:
    """Return whether an element is of groups 3 to 10, a lanthanide, an actinide or beyond: spin is then a choice."""
    number = atomic_number(symbol)
    return _is_transition_metal(symbol) and not any(
        first <= number <= last for first, last in ((29, 30), (47, 48), (79, 80))
    )


def usual_charges(geometry: Geometry, fragments: Fragments) -> tuple[int, ...]:
    """Guess charges: that of its usual ion for a lone alkali, alkaline-earth or halogen atom, else 0."""
    return tuple(ION_CHARGES.get(geometry.symbols[atoms[0]], 0) * (len(atoms) == 1) for atoms in fragments)


def usual_multiplicities(geometry: Geometry, fragments: Fragments, charges: Sequence[int]) -> tuple[int, ...]:
    """Guess spin multiplicities 2S + 1: singlet for an even number of electrons, doublet for an odd one."""
    return tuple(
        1 + electrons((geometry.symbols[atom] for atom in atoms), charge) % 2
        for atoms, charge in zip(fragments, charges, strict=True)
    )


def check_electrons(
    geometry: Geometry, fragments: Fragments, charges: Sequence[int], multiplicities: Sequence[int]
) -> None:
    """Raise `InputError`, naming the fragments, unless each can have its charge and multiplicity together."""
    problems: list[str] = []
    for number, (atoms, charge, spin) in enumerate(zip(fragments, charges, multiplicities, strict=True), start=1):
        symbols = [geometry.symbols[atom] for atom in atoms]
        left = electrons(symbols, charge)
        what = f"fragment {number} ({formula(symbols)}, charge {signed(charge)})"
        if left < 1:
            problems.append(f"{what} has no electrons left; correct its charge, as in --charges {number}:0")
        elif not 1 <= spin <= left + 1 or (left + spin) % 2 == 0:
            cure = f"give --multiplicities {number}:{1 + left % 2} or another charge in --charges"
            problems.append(f"{what} has {left} electrons and cannot have multiplicity {spin}; {cure}")
    refuse("charges and multiplicities", problems)


# --- words -----------------------------------------------------------------------------------------------------------


def _question(geometry: Geometry, fragments: Fragments, questions: Mapping[int, Question], option: str) -> str:
    """Return the first question, asked of all fragments of that kind at once."""
    first = min(questions)
    symbols = [geometry.symbols[atom] for atom in fragments[first]]
    alike = [
        number
        for number in sorted(questions)
        if questions[number] == questions[first]
        and formula(geometry.symbols[atom] for atom in fragments[number]) == formula(symbols)
    ]
    cure, _, other = questions[first].cure.partition(" ")
    answer = _for_each(alike, cure) + (f" {other}" if other else "")
    if option == "charges" and electrons(symbols, 0) % 2:
        answer += f", or --multiplicities {_for_each(alike, '2')}"
    shown = " ".join(symbols[:MOST_NAMED]) + (" ..." if len(symbols) > MOST_NAMED else "")
    more = f"; {len(alike) - 1} more like it" if len(alike) > 1 else ""
    why = questions[first].why
    return f"fragment {first + 1} ({shown}{more}) {why}{'' if why.endswith('?') else ';'} say --{option} {answer}"


def _for_each(numbers: Sequence[int], value: str) -> str:
    """Return the text of an option that gives each of some fragments the same value."""
    return ",".join(f"{number + 1}:{value}" for number in numbers[:MOST_NAMED]) + (
        ",..." if len(numbers) > MOST_NAMED else ""
    )


def _summary(geometry: Geometry, fragments: Fragments, charges: Sequence[int], most: int = 4) -> str:
    """Return what the fragments are and which charges they have, as in `2 H2O (+0), 1 Na (+1)`."""
    kinds = Counter(
        (formula(geometry.symbols[atom] for atom in atoms), charge)
        for atoms, charge in zip(fragments, charges, strict=True)
    )
    shown = [f"{count} {name[:40]} ({signed(charge)})" for (name, charge), count in kinds.most_common(most)]
    return ", ".join(shown) + (" and others" if len(kinds) > most else "")
