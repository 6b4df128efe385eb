"""PySCF's tunables: results stay what they are, depend on the input alone, and less is computed."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest

pytest.importorskip("pyscf")

import qcengine
from pyscf import dft, gto, scf
from qcelemental.models.v2 import AtomicInput, Molecule

from autotune.base.types import Method, TaskSize
from autotune.costs.memory import need
from autotune_plugins import pyscf_grid, pyscf_guess, pyscf_integrals
from autotune_plugins.program_pyscf import autotune_program_facts
from autotune_plugins.pyscf_settings import UNTOUCHED, Settings

pytestmark = [pytest.mark.programs("pyscf"), pytest.mark.usefixtures("registered")]

WATER = np.array([[0.0, 0.0, 0.2], [0.0, -1.43, 1.31], [0.1, 1.43, 1.31]])
# Symbols, positions (bohr), charge, unpaired electrons of each fragment.
PLACES = ([0, 0, 0], [5.4, 0.3, 0.8], [0.4, 5.6, -0.5])
WATERS = [(["O", "H", "H"], (WATER + np.array(place)).tolist(), 0, 0) for place in PLACES]
SALT = [(["Na"], [[0.0, 0.0, 0.0]], 1, 0), (["F"], [[0.2, 0.1, 4.2]], -1, 0), WATERS[1]]
AMMONIA = (["N", "H", "H", "H"], [[0, 0, 0], [1.8, 0, 1], [-0.9, 1.5, 1], [-0.9, -1.5, 1]], 0, 0)
PROTON = [(["H"], [[0.0, 0.3, 4.1]], 1, 0), AMMONIA]
RADICAL = [(["O", "H"], [[0.0, 0.0, 0.0], [0.0, 0.1, 1.83]], 0, 1), WATERS[1]]
FITTED = {"density_fit": True, "auxbasis": "def2-universal-jkfit"}
GUESS = {"guess": "monomers"}
DEFAULTS = {each.name: each.default for facts in autotune_program_facts() for each in facts.tunables}


@pytest.fixture(autouse=True)
def untouched():
    pyscf_guess.forget()
    yield
    pyscf_guess.forget()
    qcengine.get_program("pyscf").tune({}, None)


def task(parts, method="hf", basis="6-31g", driver="energy", ghosts=(), **keywords):
    real = [number not in ghosts for number in range(len(parts))]
    ends = np.cumsum([len(symbols) for symbols, *_ in parts]).tolist()
    charges, spins = ([part[of] * there for part, there in zip(parts, real, strict=True)] for of in (2, 3))
    molecule = Molecule(
        symbols=[symbol for symbols, *_ in parts for symbol in symbols],
        geometry=np.concatenate([positions for _, positions, *_ in parts]).ravel(),
        real=[there for part, there in zip(parts, real, strict=True) for _ in part[0]],
        fragments=[list(range(end - len(part[0]), end)) for part, end in zip(parts, ends, strict=True)],
        fragment_charges=charges,
        fragment_multiplicities=[spin + 1 for spin in spins],
        molecular_charge=sum(charges),
        molecular_multiplicity=sum(spins) + 1,
        fix_com=True,
        fix_orientation=True,
    )
    specification = {"driver": driver, "model": {"method": method, "basis": basis}, "keywords": keywords}
    return AtomicInput(molecule=molecule, specification=specification)


def attempt(asked, settings, shared=None, memory=2.0):
    qcengine.get_program("pyscf").tune(settings, shared)
    return qcengine.compute(asked, "pyscf", task_config={"ncores": 1, "memory": memory})


def compute(asked, settings, shared=None, memory=2.0):
    result = attempt(asked, settings, shared, memory)
    assert result.success, result.error.error_message
    return result


def bits(result):
    return np.asarray(result.return_result).tobytes()


@pytest.fixture
def counted(monkeypatch):
    """Return how often integrals of each name, fitted three-index tensors and values on a grid were computed."""
    from pyscf.df import incore

    counts = Counter()

    def count(place, name, what=None):
        original = getattr(place, name)

        def counting(*args, **kwargs):
            counts[what or args[1]] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(place, name, counting)

    count(gto.Mole, "intor")
    count(gto.Mole, "eval_gto", "values")
    count(incore, "cholesky_eri", "fitted")
    return counts


# --- what is declared ------------------------------------------------------------------------------------------------


OF_THE_RUN = {"shared", "remember", "most_fragments"}


def test_each_tunable_is_a_setting_of_which_the_untouched_value_is_that_without_settings():
    (facts,) = autotune_program_facts()
    assert {each.name for each in facts.tunables} == {each.name for each in fields(Settings)} - OF_THE_RUN
    for tunable in facts.tunables:
        assert tunable.untouched == getattr(UNTOUCHED, tunable.name)
        assert len({type(value) for value in tunable.distribution().choices}) == 1


@pytest.mark.parametrize(
    ("method", "driver", "names"),
    [
        ("hf", "energy", {"guess", "conv_check", "shared_integrals"}),
        ("b3lyp", "energy", set(DEFAULTS)),
        ("b3lyp", "gradient", {"kept_grid_values", "shared_integrals"}),
        ("mp2", "energy", {"shared_integrals"}),
    ],
)
def test_tunables_matter_where_they_act(method, driver, names):
    (facts,) = autotune_program_facts()
    asked = Method(program="pyscf", method=method, basis="6-31g", driver=driver)
    assert {each.name for each in facts.tunables if each.matters(asked)} == names


# --- results ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "ghosts", "method", "keywords"),
    [
        (WATERS, (), "hf", {}),
        (WATERS[:2], (), "b3lyp", {}),
        (WATERS[:2], (0,), "pbe", {}),
        (WATERS[:2], (), "wb97x", {}),
        (WATERS, (1,), "hf", {}),
        (WATERS, (0, 2), "hf", FITTED),
        (WATERS[:2], (), "pbe", FITTED),
        (SALT, (), "hf", {}),
        (SALT, (1,), "b3lyp", {}),
        (SALT, (0, 2), "hf", {}),
        (PROTON, (), "hf", {}),
        (RADICAL, (0,), "hf", {}),
        (WATERS[:2], (), "hf", {"newton": True}),
        (WATERS[:2], (), "hf", {"level_shift": 0.2}),
    ],
)
def test_energies_are_those_of_the_untouched_program(tmp_path, parts, ghosts, method, keywords):
    asked = task(parts, method, ghosts=ghosts, **keywords)
    expected = compute(asked, {}).return_result
    assert compute(asked, DEFAULTS, tmp_path).return_result == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("asked", "settings"),
    [
        (task(WATERS[:2], "mp2"), DEFAULTS),
        (task(WATERS[:2], "mp2", ghosts=(0,)), DEFAULTS),
        (task(WATERS[:1] + WATERS[1:2], "ccsd", "sto-3g"), DEFAULTS),
        (task(WATERS[:2], driver="gradient"), DEFAULTS),
        (task(WATERS[:2], "pbe", "sto-3g", driver="gradient"), DEFAULTS),
        (task(RADICAL), DEFAULTS),
        (task(RADICAL, ghosts=(1,)), DEFAULTS),
        (task(RADICAL, "b3lyp", "sto-3g"), DEFAULTS),
        (task(WATERS[:2], "b3lyp", conv_tol=1e-6), DEFAULTS),
        (task(WATERS[:2], "b3lyp", conv_tol_grad=1e-3), DEFAULTS),
        (task(WATERS[:2], init_guess="hcore"), GUESS),
        (task(WATERS[:1], "b3lyp", grid_level=1), {"first_grid": 1}),
    ],
    ids=range(12),
)
def test_what_depends_on_the_way_an_scf_converges_or_says_its_own_keeps_its_last_bit(tmp_path, asked, settings):
    assert bits(compute(asked, settings, tmp_path)) == bits(compute(asked, {}))


# --- the input alone -------------------------------------------------------------------------------------------------

ORDERED = [
    task(WATERS[:1], "pbe", "sto-3g"),
    task(WATERS[:2], "pbe", "sto-3g"),
    task(WATERS, "pbe", "sto-3g", ghosts=(0,)),
]


def test_results_have_the_same_bits_in_every_order(tmp_path):
    found = set()
    for number, order in enumerate(itertools.permutations(range(3))):
        pyscf_guess.forget()
        shared = tmp_path / str(number) if number % 2 else None
        of = {index: bits(compute(ORDERED[index], DEFAULTS, shared)) for index in order}
        found.add(tuple(of[index] for index in range(3)))
    assert len(found) == 1


def in_a_fresh_process(asked, folder, line):
    """Compute tasks at the defaults in a new process; return the lines that it prints, one after each `result`."""
    code = (
        "import sys, json, pathlib, qcengine\n"
        "from autotune_plugins.program_pyscf import autotune_register_programs as register\n"
        "register()\n"
        f"qcengine.get_program('pyscf').tune({DEFAULTS!r}, pathlib.Path(sys.argv[1]))\n"
        "for each in json.load(sys.stdin):\n"
        "    task_config = {'ncores': 1, 'memory': 2.0}\n"
        "    result = qcengine.compute(each, 'pyscf', raise_error=True, task_config=task_config)\n"
        f"    print({line})"
    )
    text = json.dumps([json.loads(each.model_dump_json()) for each in asked])
    done = subprocess.run([sys.executable, "-c", code, folder], check=False, input=text, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return done.stdout.splitlines()


def test_a_fresh_process_finds_what_another_stored_and_computes_the_same_bits(tmp_path):
    ours = [bits(compute(each, DEFAULTS, tmp_path)) for each in ORDERED]
    stored = sorted(path.name for path in (tmp_path / "pyscf-orbitals").iterdir())
    for folder in (tmp_path, tmp_path / "empty"):
        found = in_a_fresh_process(ORDERED[::-1], folder, "result.return_result.hex()")
        theirs = [np.asarray(float.fromhex(line)).tobytes() for line in found]
        assert theirs[::-1] == ours
        assert sorted(path.name for path in (folder / "pyscf-orbitals").iterdir()) == stored


def test_no_task_makes_a_worker_import_all_of_pyscf(tmp_path):
    asked = [
        *ORDERED,
        task(RADICAL),
        task(RADICAL, "b3lyp", basis="sto-3g"),
        task(WATERS[:2], "b3lyp", basis="sto-3g", driver="gradient"),
        task(WATERS[:2], "hf", basis="sto-3g", driver="hessian"),
        task(WATERS[:2], "mp2", driver="gradient"),
        task(WATERS[:2], "mp2", basis="cc-pvdz", density_fit=True),
        task(WATERS[:1], "ccsd(t)", driver="gradient"),
        task(WATERS[:1], newton=True),
    ]
    found = in_a_fresh_process(asked, tmp_path, "sorted({'pyscf.__all__', 'pyscf.pbc'} & set(sys.modules))")
    assert found == ["[]"] * len(asked)


@pytest.fixture
def stubborn(monkeypatch):
    """Return a function that lets SCFs fail where it is told so, and gives the sizes of all that are tried."""
    kernel, tried = scf.hf.kernel, []

    def let(fail):
        def solve(mean_field, *args, **kwargs):
            converged, *others = kernel(mean_field, *args, **kwargs)
            tried.append(mean_field.mol.natm)
            return (converged and not fail(tried), *others)

        monkeypatch.setattr(scf.hf, "kernel", solve)
        return tried

    return let


def test_a_fragment_is_computed_once_for_all_tasks_that_start_from_it_with_fewer_cycles(stubborn):
    usual = compute(task(WATERS), {})
    solved = stubborn(lambda _: False)
    three, _ = (compute(task(WATERS[:number]), GUESS) for number in (3, 2))
    assert solved == [3, 3, 3, 9, 6]
    assert three.properties.scf_iterations < usual.properties.scf_iterations


def test_a_fragment_that_does_not_converge_leaves_the_programs_own_guess(stubborn):
    asked = task(WATERS[:2])
    expected = bits(compute(asked, {}))
    tried = stubborn(lambda tried: tried[-1] == 3)
    for _ in range(2):
        result = compute(asked, GUESS)
        assert bits(result) == expected
        assert result.extras["autotune_fallback"] == "the SCF of a fragment does not converge"
    assert tried == [3, 6, 6]  # what failed is not tried again


def test_a_guess_from_which_nothing_converges_leaves_the_programs_own(stubborn, monkeypatch):
    asked = task(WATERS[:2])
    expected = bits(compute(asked, {}))
    monkeypatch.setattr(pyscf_guess, "from_fragments", lambda *_: np.full((26, 26), 1e3))
    stubborn(lambda tried: len(tried) == 1)
    result = compute(asked, GUESS)
    assert bits(result) == expected
    assert result.extras["autotune_fallback"] == "the SCF from the densities of the fragments does not converge"


# --- values on the grid ----------------------------------------------------------------------------------------------

KEPT = {"kept_grid_values": True}


@pytest.mark.parametrize(
    "asked",
    [
        task(WATERS[:2], "pbe", "sto-3g"),
        task(WATERS[:2], "lda,vwn", "sto-3g", ghosts=(1,)),
        task(WATERS[:1], "tpss", "sto-3g"),
        task(RADICAL, "b3lyp", "sto-3g", stability=False),
        task(WATERS[:1], "pbe", "sto-3g", "gradient"),
    ],
    ids=range(5),
)
def test_kept_values_change_no_bit_and_are_computed_once(counted, asked):
    plain = bits(compute(asked, {}))
    without, counted["values"] = counted["values"], 0
    assert bits(compute(asked, KEPT)) == plain
    assert counted["values"] < without / 2


def test_values_are_kept_at_the_grant_of_a_task_and_not_below(counted):
    asked = task(WATERS, "b3lyp", "6-31g*")
    size = TaskSize(atoms=9, ghost_atoms=0, electrons=30, functions=57, unpaired=0)
    grant_gib = need(Method(program="pyscf", method="b3lyp", basis="6-31g*", driver="energy"), size).grant_gib
    kept = compute(asked, KEPT, memory=grant_gib).return_result
    first, counted["values"] = counted["values"], 0
    evaluated = compute(asked, KEPT, memory=0.25).return_result
    assert counted["values"] > 4 * first
    assert evaluated == pytest.approx(kept, abs=1e-10)


@pytest.fixture
def looks(monkeypatch):
    """Return how often exchange and correlation were integrated on the grid of each level."""
    counts, integrate = Counter(), dft.numint.NumInt.nr_rks

    def nr_rks(self, molecule, grids, *args, **kwargs):
        counts[grids.level] += 1
        return integrate(self, molecule, grids, *args, **kwargs)

    monkeypatch.setattr(dft.numint.NumInt, "nr_rks", nr_rks)
    return counts


def test_a_coarse_first_grid_leads_to_the_energy_of_the_final_one(looks):
    asked = task(WATERS[:1], "b3lyp", "6-31g")
    energies = []
    for level, expected in ((-1, [3]), (0, [0, 3]), (1, [1, 3])):
        looks.clear()
        energies.append(compute(asked, {"first_grid": level}).return_result)
        assert list(looks) == expected
    assert np.ptp(energies) < 1e-9


@pytest.mark.parametrize(
    ("asked", "coarse"),
    [
        (task(WATERS[:2], "b3lyp", "6-31g"), 0),
        (task(WATERS[:2], "pbe", "6-31g", ghosts=(1,)), 0),
        (task(SALT, "pbe0", "6-31g"), 0),
        (task(WATERS[:1], "b3lyp", "def2-svp", **FITTED), 0),
        (task(WATERS[:1], "m06-2x", "6-31g"), 1),
    ],
    ids=range(5),
)
def test_a_corrected_coarse_grid_leaves_three_looks_at_the_final_one(looks, asked, coarse):
    alone = compute(asked, {"conv_check": False}).return_result
    most = looks.pop(3)
    assert most >= 7
    assert compute(asked, {"conv_check": False, "first_grid": 0}).return_result == pytest.approx(alone, abs=1e-10)
    assert set(looks) == {coarse, 3}
    assert looks[3] <= 4


def test_the_check_after_convergence_is_one_more_look_at_the_final_grid(looks):
    asked, seen = task(WATERS[:2], "b3lyp", "6-31g"), []
    for check in (False, True):
        looks.clear()
        energy = compute(asked, {"conv_check": check, "first_grid": 0}).return_result
        seen.append((energy, looks[3]))
    (energy, without), (checked, with_check) = seen
    assert checked == pytest.approx(energy, abs=1e-10)
    assert without <= with_check <= without + 1


@pytest.mark.parametrize(("method", "fits"), [("cam-b3lyp", True), ("b3lyp", False)])
def test_where_each_cycle_is_expensive_there_are_no_more_of_them(looks, monkeypatch, method, fits):
    """Exchange of long range is computed again in each cycle, and so are integrals that do not fit in memory."""
    monkeypatch.setattr(scf.hf.SCF, "_is_mem_enough", lambda _: fits)
    asked = task(WATERS[:2], method, "6-31g")
    alone = compute(asked, {"conv_check": False}).return_result
    cycles = looks.total()
    looks.clear()
    settings = {"conv_check": False, "first_grid": 0}
    assert compute(asked, settings).return_result == pytest.approx(alone, abs=1e-9)
    assert set(looks) == {1, 3}
    assert looks.total() <= cycles + 2


def test_a_gradient_that_continues_the_run_before_looks_at_the_final_grid_only_near_its_end(looks, tmp_path):
    (first, (symbols, positions, *rest)), seen = WATERS[:2], []
    for shift in (0.0, 0.03):
        moved = (symbols, [[x + shift, y, z] for x, y, z in positions], *rest)
        asked = task([first, moved], "b3lyp", "6-31g", driver="gradient")
        forgetful = compute(asked, {})
        looks.clear()
        remembering = compute(asked, {"remember": True}, tmp_path)
        seen.append(dict(looks))
        assert remembering.properties.return_energy == pytest.approx(forgetful.properties.return_energy, abs=1e-10)
        assert np.asarray(remembering.return_result) == pytest.approx(np.asarray(forgetful.return_result), abs=1e-6)
    first, second = seen
    assert set(first) == {3}
    assert set(second) == {0, 3}
    assert second[3] <= 4
    assert first[3] >= 8


def test_values_on_a_grid_take_no_memory_that_integrals_need(counted):
    """With so little memory the values of three waters fit beside nothing."""
    asked, energies = task(WATERS, "b3lyp", "6-31g*"), []
    for settings in ({}, {**KEPT, "first_grid": -1}, {**KEPT, "first_grid": 0}):
        counted.clear()
        energies.append(compute(asked, settings, memory=0.35).return_result)
        assert counted["int2e"] == 1
    assert np.ptp(energies) < 1e-10


def test_a_grid_that_comes_to_lie_where_another_was_is_another(monkeypatch):
    """A coarse grid that is left is gone before the final one is built, and that may get its address."""
    buffer, build = np.zeros((200_000, 3)), dft.gen_grid.Grids.build

    def build_there(self, *args, **kwargs):
        build(self, *args, **kwargs)
        if sys.getrefcount(buffer) == free:
            buffer[: len(self.coords)] = self.coords
            self.coords = buffer[: len(self.coords)]
        return self

    free = sys.getrefcount(buffer)
    asked = task(WATERS[:2], "cam-b3lyp", "sto-3g")
    usual = compute(asked, DEFAULTS)
    monkeypatch.setattr(dft.gen_grid.Grids, "build", build_there)
    assert bits(compute(asked, DEFAULTS)) == bits(usual)


def test_values_are_freed_where_an_scf_ends_by_an_exception(monkeypatch):
    forgotten, forget = [], pyscf_grid.forget
    monkeypatch.setattr(pyscf_grid, "forget", lambda mean_field: forgotten.append(forget(mean_field)))
    monkeypatch.setattr(dft.rks.RKS, "kernel", lambda *_, **__: (_ for _ in ()).throw(MemoryError("here")))
    assert not attempt(task(WATERS[:1], "b3lyp", "6-31g"), KEPT).success
    assert len(forgotten) == 1


def test_an_scf_that_does_not_converge_on_the_coarse_grid_goes_on_with_the_final_one(looks, monkeypatch):
    monkeypatch.setattr(pyscf_grid, "_MOST_CYCLES_BY_ITSELF", 2)
    asked = task(WATERS[:2], "b3lyp", "6-31g")
    alone = compute(asked, {}).return_result
    looks.clear()
    assert compute(asked, {"first_grid": 0}).return_result == pytest.approx(alone, abs=1e-10)
    assert looks[0] == 3
    assert looks[3] > 4


def test_an_scf_that_fails_with_the_coarse_grid_is_done_without_and_the_record_says_so(monkeypatch):
    monkeypatch.setattr(pyscf_grid._CoarseStart, "converged", lambda *_: False)
    asked = task(WATERS[:2], "b3lyp", "6-31g", max_cycle=26)
    result = compute(asked, {"first_grid": 0})
    assert bits(result) == bits(compute(asked, {}))
    assert result.extras["autotune_fallback"] == "the SCF that begins on a coarse grid does not converge"


# --- shared integrals ------------------------------------------------------------------------------------------------

SHARED = {"shared_integrals": True}


MOVED = [(symbols, (np.array(positions) + 1e-6).tolist(), *rest) for symbols, positions, *rest in WATERS[:2]]
TOLD_APART = [
    task(WATERS[:2], ghosts=(0,)),
    task(WATERS[:2], "hf", "sto-3g", ghosts=(0,)),
    task(MOVED, ghosts=(0,)),
    task(WATERS[:2][::-1], ghosts=(0,)),
]


@pytest.mark.parametrize(
    ("asked", "what", "times"),
    [
        ([task(SALT, ghosts=ghosts) for ghosts in ((0,), (1,), (0, 1), (1, 2))], "int2e", 1),
        ([task(WATERS[:2], "hf", "def2-svp", ghosts=(number,), **FITTED) for number in range(2)], "fitted", 1),
        ([task(WATERS[:2], "mp2", "def2-svp", ghosts=(number,), **FITTED) for number in range(2)], "fitted", 2),
        (TOLD_APART, "int2e", 4),
    ],
    ids=["four indices", "fitted", "fitted MP2", "other bases and positions"],
)
def test_tasks_of_one_basis_compute_their_integrals_once_and_keep_every_bit(tmp_path, counted, asked, what, times):
    plain = [bits(compute(each, {})) for each in asked]
    counted.clear()
    assert [bits(compute(each, SHARED, tmp_path)) for each in asked] == plain
    assert counted[what] == times


def test_without_ghosts_and_larger_fragments_to_come_nothing_is_written(tmp_path):
    for asked in (task(WATERS[:1]), task(WATERS[:2]), task(WATERS[:2], "mp2")):
        compute(asked, {**SHARED, "most_fragments": 2}, tmp_path)
    assert list(tmp_path.rglob("*")) == []


def test_three_fragments_take_their_pairs_integrals_and_have_the_same_bits_whatever_is_there(tmp_path, counted):
    whole, pairs = task(WATERS), [task([WATERS[i], WATERS[j]]) for i, j in ((0, 1), (0, 2), (1, 2))]
    settings = {**SHARED, "most_fragments": 3}
    alone = compute(whole, settings, tmp_path / "nothing is there")
    of_pairs = [bits(compute(each, {})) for each in pairs]
    assert [bits(compute(each, settings, tmp_path / "pairs")) for each in pairs] == of_pairs
    assert len([path for path in (tmp_path / "pairs").rglob("*") if path.is_file()]) == 3
    counted["int2e"] = 0
    after_pairs = compute(whole, settings, tmp_path / "pairs")
    # Six blocks in which all three take part, and no pair again.
    assert counted["int2e"] == 6
    compute(task(WATERS, ghosts=(0,)), settings, tmp_path / "integrals of the whole")
    after_ghosts = compute(whole, settings, tmp_path / "integrals of the whole")
    assert bits(alone) == bits(after_pairs) == bits(after_ghosts)
    assert abs(alone.return_result - compute(whole, {}).return_result) < 1e-10


def test_where_integrals_do_not_fit_in_memory_they_are_not_shared(tmp_path, counted):
    asked = task(WATERS, "hf", "cc-pvdz", ghosts=(0,))
    compute(asked, SHARED, tmp_path, memory=0.16)
    assert counted["int2e"] == 0
    assert list(tmp_path.rglob("*")) == []


# --- the folder ------------------------------------------------------------------------------------------------------


def rewritten(change):
    """Return a function that changes the content of all files of a folder."""

    def harm(shared):
        for path in [each for each in shared.rglob("*") if each.is_file()]:
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(change(content))

    return harm


HARMS = {
    "gone": shutil.rmtree,
    "a file": lambda shared: (shutil.rmtree(shared), shared.write_text("")),
    "garbled": rewritten(lambda content: content[:-9] + bytes(9)),
    "cut": rewritten(lambda content: content[: len(content) // 2]),
}


def test_a_folder_that_is_harmed_or_full_changes_no_bit(tmp_path, monkeypatch):
    asked = [task(WATERS, ghosts=ghosts) for ghosts in ((0,), (1,), (0, 1))]
    plain = [bits(compute(each, DEFAULTS, tmp_path / "whole")) for each in asked]
    for name, harm in HARMS.items():
        harm(shutil.copytree(tmp_path / "whole", tmp_path / name))
        pyscf_guess.forget()
        assert [bits(compute(each, DEFAULTS, tmp_path / name)) for each in asked] == plain, name
    monkeypatch.setattr(pyscf_integrals, "_MOST_BYTES", 1000)
    monkeypatch.setattr(pyscf_guess, "_MOST_SHARED_BYTES", 1000)
    pyscf_guess.forget()
    assert [bits(compute(each, DEFAULTS, tmp_path / "full")) for each in asked] == plain
    assert [path for path in (tmp_path / "full").rglob("*") if path.is_file()] == []
