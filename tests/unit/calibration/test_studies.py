"""A study says what is calibrated; what it may not say is refused in one line."""

from __future__ import annotations

from importlib.resources import files
from itertools import groupby, pairwise

import pytest

from autotune.base.errors import InputError
from autotune.calibration.studies import LEAST_REPEATS, MethodChoice, Rung, fields_of, load, with_method
from autotune.costs.cost_law import Costs
from autotune.expansion import workload
from autotune.plugin import composition
from autotune.plugin.manager import Manager

PACKAGED = ("quick", "standard", "thorough")
OWN = """schema = "autotune.study/1"
method = {program = "pyscf", method = "hf", basis = "sto-3g"}
search = [{geometry = "water2"}]
confirm = [{geometry = "water4", max_nbody = 3, bsse = ["cp"], kind = "counterpoise"}]
"""
WATER = "3\n\nO 0 0 0\nH 0 0 1\nH 0 1 0\n"


@pytest.fixture
def own(tmp_path):
    """Return a function that writes a study, with replaced or further text, and loads it."""

    def make(*further, text=OWN, **replaced):
        for name, value in replaced.items():
            text = "\n".join(f"{name} = {value}" if line.startswith(f"{name} ") else line for line in text.splitlines())
        (tmp_path / "mine.toml").write_text("\n".join([*text.splitlines(), *further]))
        return load(str(tmp_path / "mine.toml"))

    return make


# --- packaged studies ------------------------------------------------------------------------------------------------


def test_these_studies_are_packaged_and_no_others():
    assert sorted(path.name for path in files("autotune.studies").iterdir() if path.name.endswith(".toml")) == [
        f"{name}.toml" for name in PACKAGED
    ]


@pytest.mark.parametrize("name", PACKAGED)
def test_a_packaged_study_names_geometries_that_are_packaged_each_on_one_side_and_known_strategies(name):
    chosen = load(name)
    assert (chosen.name, chosen.folder) == (name, None)
    for rung in (*chosen.search, *chosen.confirm):
        assert (files("autotune.studies") / "workloads" / f"{rung.geometry}.xyz").is_file()
        assert fields_of(chosen, rung, chosen.methods[0])["molecule"]
    assert {rung.geometry for rung in chosen.search}.isdisjoint(rung.geometry for rung in chosen.confirm)
    assert composition.choose(Manager().strategies, chosen.strategies or None)


@pytest.mark.parametrize("name", PACKAGED)
def test_workloads_of_a_packaged_study_are_cheapest_first_within_a_kind(name):
    chosen = load(name)
    costs, method = Costs(), MethodChoice(program="pyscf", method="hf", basis="sto-3g")
    for side in (chosen.search, chosen.confirm):
        for _, of_kind in groupby(sorted(side, key=lambda rung: rung.kind), key=lambda rung: rung.kind):
            spent_s = []
            for rung in of_kind:
                tasks = workload.load(fields_of(chosen, rung, method)).tasks
                spent_s.append(sum(costs.estimate(task).alone_s for task in tasks))
            assert all(cheaper < dearer for cheaper, dearer in pairwise(spent_s))


def test_longer_studies_try_more():
    found = [load(name) for name in PACKAGED]
    for shorter, longer in pairwise(found):
        assert shorter.budget_s < longer.budget_s
        assert shorter.trials < longer.trials
        assert {rung.kind for rung in shorter.search} <= {rung.kind for rung in longer.search}
        assert shorter.repeats <= longer.repeats


def test_what_is_not_packaged_is_refused_with_what_is():
    with pytest.raises(InputError, match=r"^there is no study 'slow'; packaged are quick, standard, thorough, or give"):
        load("slow")


# --- own studies -----------------------------------------------------------------------------------------------------


def test_what_a_study_does_not_say_has_a_default(own):
    chosen = own()
    assert chosen.methods == (MethodChoice(program="pyscf", method="hf", basis="sto-3g"),)
    assert chosen.search == (Rung(geometry="water2", bsse=("nocp",), max_nbody=2, kind="even"),)
    assert chosen.confirm == (Rung(geometry="water4", bsse=("cp",), max_nbody=3, kind="counterpoise"),)
    assert (chosen.name, chosen.budget_s, chosen.trials, chosen.repeats) == ("mine", 120.0, 40, 5)
    assert (chosen.strategies, chosen.seed) == ((), 0)


def test_everything_can_be_said_and_of_several_methods(own):
    two = '[{program = "pyscf", method = "hf"}, {program = "psi4", method = "mp2", basis = "x", driver = "gradient"}]'
    further = 'budget = "90s"', "trials = 7", "repeats = 3", 'strategies = ["hybrid"]', "seed = 5"
    chosen = own(*further, method=two)
    assert (chosen.budget_s, chosen.trials, chosen.repeats) == (90.0, 7, 3)
    assert (chosen.strategies, chosen.seed) == (("hybrid",), 5)
    assert list(map(str, chosen.methods)) == ["pyscf hf energy", "psi4 mp2/x gradient"]


def test_a_workload_is_named_after_what_is_run():
    assert Rung(geometry="water4", bsse=("cp", "nocp"), max_nbody=3).name == "water4 cp+nocp 3-body"


def test_a_changed_method_stands_alone_and_without_a_change_all_stay(own):
    two = own(method='[{program = "pyscf", method = "hf", basis = "sto-3g"}, {program = "pyscf", method = "mp2"}]')
    assert with_method(two, program=None, basis=None) is two
    assert with_method(two, basis="cc-pvdz", driver=None).methods == (
        MethodChoice(program="pyscf", method="hf", basis="cc-pvdz"),
    )
    assert with_method(two, keywords={"a": 1}).methods[0].keywords == {"a": 1}


def test_the_input_of_a_workload_is_of_its_geometry_expansion_and_method(own):
    chosen = own(method='{program = "pyscf", method = "hf", basis = "sto-3g", keywords = {conv_tol = 1e-9}}')
    loaded = workload.load(fields_of(chosen, chosen.confirm[0], chosen.methods[0]))
    assert {str(method) for method in loaded.methods} == {'pyscf hf/sto-3g energy {"conv_tol":1e-09}'}
    assert {task.nbody for task in loaded.tasks} == {1, 2, 3}
    assert {len(task.basis) for task in loaded.tasks} == {4}


def test_a_geometry_beside_the_study_is_found(own, tmp_path):
    water = (files("autotune.studies") / "workloads" / "water4.xyz").read_text()
    (tmp_path / "four.xyz").write_text(water)
    chosen = own(confirm='[{geometry = "four.xyz", max_nbody = 1}]')
    assert len(workload.load(fields_of(chosen, chosen.confirm[0], chosen.methods[0])).tasks) == 4


@pytest.mark.parametrize(
    "geometry", ["../one.xyz", "link.xyz", "/etc/passwd", "water5", "..", "", "a\\u0000b", "x" * 5000]
)
def test_a_geometry_elsewhere_or_behind_a_link_out_of_the_folder_is_refused(own, tmp_path, geometry):
    (tmp_path.parent / "one.xyz").write_text(WATER)
    (tmp_path / "link.xyz").symlink_to(tmp_path.parent / "one.xyz")
    chosen = own(confirm=f'[{{geometry = "{geometry}"}}]')
    with pytest.raises(InputError, match="which is neither a packaged cluster nor a file beside it"):
        fields_of(chosen, chosen.confirm[0], chosen.methods[0])


NO_WORKLOAD = "needs at least one [[search]] and one [[confirm]] workload"
SEEN = "confirms with 'water2 nocp 2-body', which its search has seen; take another"


@pytest.mark.parametrize(
    ("lines", "replaced", "message"),
    [
        ([], {"schema": '"autotune.study/2"'}, "field schema: "),
        ([], {"method": "[]"}, "needs at least one [[method]]"),
        ([], {"method": '{program = "pyscf"}'}, "field method"),
        ([], {"method": '{program = "pyscf", method = "hf", driver = "properties"}'}, "driver: "),
        ([], {"search": "[]"}, NO_WORKLOAD),
        ([], {"confirm": "[]"}, NO_WORKLOAD),
        ([], {"confirm": '[{geometry = "water4"}, {geometry = "water2", kind = "even"}]'}, SEEN),
        ([], {"confirm": '[{geometry = "water4"}, {geometry = "water2", kind = "other"}]'}, SEEN),
        ([], {"search": '[{kind = "even"}]'}, "field search.0.geometry: Field required"),
        ([], {"search": '[{geometry = "water2", max_nbody = "two"}]'}, "field search.0.max_nbody: "),
        (["trials = 0"], {}, "field trials: Input should be greater than or equal to 1"),
        (["repeats = 2"], {}, f"field repeats: Input should be greater than or equal to {LEAST_REPEATS}"),
        (['budget = "soon"'], {}, "'soon' is not a duration"),
        (["budget = 90"], {}, "field budget: Input should be a valid string"),
        (["seed = "], {}, "is not valid TOML"),
        (["[search]"], {}, "is not valid TOML"),
        ([f"# {'x' * 2**15}"], {}, "is larger than 32 KiB"),
    ],
)
def test_what_a_study_may_not_say_is_refused_by_name_in_one_line(own, lines, replaced, message):
    with pytest.raises(InputError) as caught:
        own(*lines, **replaced)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_study_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.toml"):
        load(str(tmp_path / "nothing.toml"))
