"""What programs can do with cores and with ghost atoms, by QCEngine's flags and by name."""

from __future__ import annotations

import pytest
import qcengine

from autotune.base.errors import InputError
from autotune.expansion import workload
from autotune.programs import abilities
from autotune.programs.facts import known_facts

WITHOUT_GHOSTS = sorted(name for name, facts in known_facts().items() if not facts.ghosts)


@pytest.mark.parametrize(
    ("program", "width"),
    [
        ("nwchem", abilities.RANKS),
        ("psi4", abilities.THREADS),
        ("dftd4", abilities.THREADS),
        ("mopac", abilities.THREADS),
        ("rdkit", abilities.ONE_CORE),
    ],
)
def test_the_flags_of_a_harness_say_how_its_program_divides_a_task(program, width):
    harness = qcengine.get_program(program, check=False)
    assert abilities.width_of(harness) == width


def tasks(cluster, program, **chosen):
    return workload.load(cluster("water4", program=program, max_nbody=2, **chosen)).tasks


@pytest.mark.parametrize("program", WITHOUT_GHOSTS)
def test_ghost_atoms_are_refused_for_programs_that_would_take_them_for_real_ones_and_only_they(cluster, program):
    line = f"{program} cannot compute fragments with ghost atoms, which bsse cp and vmfc need;"
    line += " use nocp, or another program"
    for bsse in ("cp", "vmfc"):
        with pytest.raises(InputError, match=f"^{line}$"):
            abilities.check_ghosts(tasks(cluster, program, bsse=(bsse,)))
    abilities.check_ghosts(tasks(cluster, program))


@pytest.mark.parametrize("program", ["pyscf", "psi4", "nwchem"])
def test_programs_with_basis_sets_take_ghost_atoms(cluster, program):
    abilities.check_ghosts(tasks(cluster, program, bsse=("cp",)))


def test_all_programs_that_are_refused_are_named_in_one_line(cluster):
    together = [*tasks(cluster, "xtb", bsse=("cp",)), *tasks(cluster, "mopac", bsse=("cp",))]
    with pytest.raises(InputError, match=r"^mopac and xtb cannot compute"):
        abilities.check_ghosts(together)


def test_programs_of_one_core_are_told_from_the_others():
    widths = {"a": abilities.ONE_CORE, "b": abilities.THREADS, "c": abilities.RANKS}
    assert abilities.on_one_core(widths) == {"a"}
    assert abilities.on_one_core({}) == set()


@pytest.mark.parametrize(
    ("program", "words", "told"),
    [
        ("cfour", "Command 'xcfour' not found in envvar PATH. Please install via http://cfour.de/", ""),
        ("pyscf", "Python module 'pyscf' not found in envvar PYTHONPATH. Please install it.", ""),
        ("psi4", "Psi4 is not in PATH; install it", ""),
        ("nwchem", "its harness needs networkx:\n pip install it", "its harness needs networkx: pip install it"),
        ("openmm", "Python module 'rdkit' not found in envvar.", "Python module 'rdkit' not found in envvar."),
    ],
)
def test_what_keeps_a_program_from_being_used_is_told_unless_it_is_simply_not_installed(program, words, told):
    assert abilities.obstacle(program, ModuleNotFoundError(words)) == told
