"""The library of tunings: nothing that was stored is lost, what is found fits, and no file can do harm."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from places import SUPPORT
from tuning_factory import WINNER, make_tuning

from autotune.base import json_files
from autotune.base.errors import InputError, ResourceError
from autotune.expansion import workload
from autotune.machine import detection as machines
from autotune.plugin.composition import STANDARD
from autotune.plugin.manager import Manager
from autotune.runtime import planning
from autotune.runtime.planning import Options
from autotune.tunings import folders, library

HERE = machines.detect()
OTHER = dataclasses.replace(HERE, key="another-processor-64c-256g")
HF = make_tuning().method


def found(method=HF, *, smallest=0, largest=0, machine=HERE):
    return library.find(machine, [method], smallest_functions=smallest, largest_functions=largest)


def user_file(name="pyscf-hf.json", machine=HERE):
    return folders.home() / machine.key / name


def methods_in(path):
    return [str(tuning.method) for tuning in library.load(path)]


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "pyscf-hf.json"),
        ({"method": "UHF"}, "pyscf-hf.json"),
        ({"method": "mp2", "keywords": {"density_fit": True}}, "pyscf-mp2-df.json"),
        ({"method": "ccsd(t)"}, "pyscf-ccsd-t.json"),
        ({"program": "xtb", "method": "gfn2-xtb", "basis": ""}, "xtb-semiempirical.json"),
        ({"program": "psi4", "method": "b3lyp"}, "psi4-dft-df.json"),
    ],
)
def test_a_tuning_is_stored_by_machine_program_and_family(changes, name):
    assert library.save(make_tuning(**changes)) == user_file(name)


@pytest.mark.parametrize(
    "program", ["../../evil", "..", "/etc/x", "a/b", "a\\b", "con:", "", "x" * 500, "é", ".hidden"]
)
def test_whatever_a_program_is_called_its_file_is_in_the_folder_of_the_machine(program):
    tuning = make_tuning(program)
    path = folders.path_of(HERE, tuning.method)
    assert path.resolve().parent == (folders.home() / HERE.key).resolve()
    assert len(path.name) < 120
    assert path != folders.path_of(HERE, make_tuning(f"{program}-").method)


def test_a_file_holds_the_tunings_of_a_family_in_the_order_of_their_methods_one_of_each(tmp_path):
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    bases = ["sto-3g", "6-31g*", "cc-pvdz"]
    for basis in bases:
        library.save(make_tuning(basis=basis), one)
    for basis in reversed(bases):
        library.save(make_tuning(basis=basis), other)
    assert one.read_bytes() == other.read_bytes()
    assert methods_in(one) == [f"pyscf hf/{basis} energy" for basis in ("6-31g*", "cc-pvdz", "sto-3g")]
    assert json.loads(one.read_text()).keys() == {"schema", "machine", "family", "tunings"}
    library.save(make_tuning(parameters={}), one)  # in place of the one before, and nothing else
    assert [dict(tuning.parameters) for tuning in library.load(one)] == [{}, WINNER, WINNER]


def test_tunings_of_several_families_in_a_file_make_it_a_bundle_and_are_read_as_they_were(tmp_path):
    path = tmp_path / "both.json"
    written = {"keywords": {"conv_tol": 1e-9}, "verified": "2026-11-26T00:00:00+00:00"}
    stored = [make_tuning(method="mp2"), make_tuning(**written), make_tuning(machine=OTHER)]
    for tuning in stored:
        library.save(tuning, path)
    assert json.loads(path.read_text())["schema"] == "autotune.tunings-bundle/1"
    assert sorted(map(repr, library.load(path))) == sorted(map(repr, stored))


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tuning_factory import make_tuning
from autotune.tunings import folders, library
make_tuning()
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    library.save(make_tuning(basis=f"{{sys.argv[1]}}-{{number}}"))
"""


def test_two_processes_that_store_twenty_methods_in_one_file_at_once_lose_none():
    code = WRITER.format(tests=str(SUPPORT))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [subprocess.Popen([sys.executable, "-c", code, name], **pipes) for name in ("a", "b")]
    for writer in writers:
        writer.stdout.readline()
    for writer in writers:
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    expected = {f"pyscf hf/{name}-{number} energy" for name in "ab" for number in range(10)}
    assert set(methods_in(user_file())) == expected
    assert [entry.name for entry in user_file().parent.iterdir()] == ["pyscf-hf.json"]


def test_a_damaged_file_is_set_aside_whole_and_said():
    path = library.save(make_tuning())
    damaged = [path.read_bytes()[:100], b"\xff\xfe"]
    said = []
    for content in damaged:
        path.write_bytes(content)
        library.save(make_tuning(), say=said.append)
        assert methods_in(path) == ["pyscf hf/6-31g* energy"]
    names = [f"{path.name}.damaged", f"{path.name}.damaged-2"]
    assert [path.with_name(name).read_bytes() for name in names] == damaged
    assert [line.rpartition("; ")[2] for line in said] == [f"it is set aside as {name}" for name in names]


def export(path):
    library.export([make_tuning()], path)


def store(path):
    library.save(make_tuning(), path)


NEWER, OTHERS = '{"schema": "autotune.tunings/2", "more": 1}', '{"energy": -1.0}'


@pytest.mark.parametrize(
    ("text", "change", "words"),
    [
        *(
            (NEWER, change, "has schema .* newer autotune: update autotune")
            for change in (store, export, library.remove)
        ),
        *((OTHERS, change, "has schema None") for change in (export, library.remove)),
    ],
)
def test_a_file_of_a_newer_autotune_or_of_something_else_is_neither_replaced_nor_removed(tmp_path, text, change, words):
    path = tmp_path / "tuning.json"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"tuning\.json {words}"):
        change(path)
    assert path.read_text() == text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match=r"tuning\.json cannot be written: Permission denied"):
        library.save(make_tuning(), tmp_path / "tuning.json")


def test_what_no_reader_would_take_is_not_written_and_the_file_stays_as_it_was():
    path = library.save(make_tuning())
    before = path.read_bytes()
    with pytest.raises(InputError, match=r"field tunings\.1\.evidence\.noise: .* not a finite number"):
        library.save(make_tuning(basis="sto-3g", noise=math.nan))
    assert path.read_bytes() == before


# --- files of somebody else's -----------------------------------------------------------------------------------------


def damaged(*path, value):
    """Return the text of a file with one value replaced."""
    stored = library.save(make_tuning())
    tree = json.loads(stored.read_text())
    *outer, last = path
    inner = tree
    for key in outer:
        inner = inner[key]
    inner[last] = value
    stored.unlink()
    return json.dumps(tree)


OF = ("tunings", 0)
HOSTILE = {
    "truncated": (lambda: damaged(*OF, "created", value="x")[:700], "is not valid JSON"),
    "empty": (lambda: "", "is not valid JSON"),
    "a list": (lambda: "[1, 2]", "has schema None"),
    "nested": (lambda: "[" * 100_000, "is not valid JSON"),
    "nested parameters": (
        *(lambda: damaged(*OF, "parameters", value=json.loads("[" * 300 + "]" * 300)), "is nested too deeply"),
    ),
    "future": (lambda: damaged("schema", value="autotune.tunings/7"), "is of a newer autotune: update autotune"),
    "an old form": (
        *(lambda: '{"schema": "autotune.tuning/2"}', "of an older autotune: run `autotune calibrate` again"),
    ),
    "another kind": (lambda: damaged("schema", value="autotune.run/5"), "is of another kind"),
    "NaN": (lambda: damaged(*OF, "law", "half_s", value=math.nan), "law.half_s: is too large or not a finite"),
    "infinity": (lambda: damaged(*OF, "law", "seconds", "start", value=math.inf), "start: is too large or not a fin"),
    "a wrong type": (lambda: damaged(*OF, "evidence", "trials", value="many"), "field tunings.0.evidence.trials"),
    "a parameter that is a list": (lambda: damaged(*OF, "parameters", "a.b", value=[1]), "tunings.0.parameters.a.b"),
    "a strategy that is a number": (lambda: damaged(*OF, "strategies", value=[1]), "tunings.0.strategies.0"),
    "a missing field": (lambda: damaged(*OF, value={}), "field tunings.0.method: Field required"),
    "a term of another family": (
        *(lambda: damaged(*OF, "law", "seconds", "triples", value=1.0), "triples: is no term of this method"),
    ),
    "negative times": (lambda: damaged(*OF, "law", "seconds", "start", value=-1.0), "should be greater than or equal"),
    "another family": (lambda: damaged("family", value="mp2"), "field family: is 'mp2', but pyscf hf/6-31g* energy"),
    "keywords that are no JSON": (lambda: damaged(*OF, "method", "keywords", value="{"), "is not the text of a JSON"),
    "a key that leads elsewhere": (lambda: damaged("machine", "key", value="../../x"), "machine.key: is not the key"),
    "a method with a line break": (lambda: damaged(*OF, "method", "method", value="hf\n\x1b[2J"), "not printable"),
    "a day": (lambda: damaged(*OF, "created", value="yesterday"), "created: is not a time"),
    "a crowd of tunings": (lambda: damaged("tunings", value=[1] * 20_000), "has more than 10000 entries"),
    "sizes upside down": (lambda: damaged(*OF, "evidence", "largest_functions", value=3), "above largest_functions"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_file_that_may_do_harm_is_refused_in_one_line_and_passed_over_in_look_up(case):
    text, message = HOSTILE[case][0](), HOSTILE[case][1]
    path = user_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    with pytest.raises(InputError, match=r"pyscf-hf\.json") as caught:
        library.load(path)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()
    library.save(make_tuning(method="mp2"))
    assert found(make_tuning(method="mp2").method).match == "exact"
    assert message[:40] in found().reason
    assert [found for _, found in folders.everything() if isinstance(found, str)] == [str(caught.value)]


def test_a_tuning_in_the_folder_of_another_machine_is_not_used():
    path = user_file(machine=OTHER)
    library.save(make_tuning(), path)
    assert "is of machine" in found(machine=OTHER).reason
    assert found(machine=OTHER).match == "default"


def test_what_is_no_file_is_not_waited_for():
    user_file().parent.mkdir(parents=True)
    os.mkfifo(user_file())
    assert found().match == "default"


def test_a_file_without_an_end_is_refused():
    with pytest.raises(InputError, match="/dev/zero is larger than 64 MiB"):
        library.load(Path("/dev/zero"))


# --- the ladder -------------------------------------------------------------------------------------------------------


def test_exact_is_this_machine_this_method_and_sizes_that_were_measured():
    path = library.save(make_tuning(largest_functions=75))
    library.save(make_tuning(basis="sto-3g"))
    for largest in (19, 75, 150):
        assert found(smallest=19, largest=largest) == (
            make_tuning(),
            "exact",
            "measured on this machine for pyscf hf/6-31g* energy on 2026-11-25",
            str(path),
        )


def part(cores, memory_gib):
    """Return a processor's machine that may use so much of it; detection makes keys of this form."""
    key = f"epyc-9654-x86_64-avx512-{cores}c-{memory_gib}g-l3-384m"
    return dataclasses.replace(HERE, cores=cores, memory_gib=float(memory_gib), cpu_model="EPYC 9654", key=key)


NODE = part(64, 256)


LONGER = dataclasses.replace(NODE, key=NODE.key.replace("avx512-", "avx512-v2-"))
CALIBRATE = "run `autotune calibrate --program pyscf --method hf --basis '6-31g*'`"
ALL_CORES = "a run on all cores uses the whole tuning"
MEASURE = "`autotune calibrate --workload INPUT` measures these"
ASKED, WHOLE = "pyscf hf/6-31g* energy", " with 64 cores and 256 GiB"
USED = f"for {ASKED}: its times are used with the default parameters"
BEYOND = (
    f"measured on this machine only for {ASKED}, 19 to 75 basis functions, but the largest task has {{}}: its times are"
    f" used with the default parameters; {MEASURE}…"
)
# What was stored, what is asked for, what is found: how it fits, of which method, its parameters, why.
LADDER = {
    "the nearest method of the family": (
        [{"basis": "cc-pvdz"}, {"basis": "sto-3g", "driver": "gradient"}, {"method": "mp2"}],
        *({"largest": 50}, "near", "hf/cc-pvdz", WINNER),
        f"measured on this machine for pyscf hf/cc-pvdz energy, the nearest to {ASKED}; {CALIBRATE} for better",
    ),
    "too small": ([{}], {"smallest": 10, "largest": 18}, "model", "hf/6-31g*", {}, BEYOND.format(18)),
    "too large": ([{}], {"smallest": 10, "largest": 151}, "model", "hf/6-31g*", {}, BEYOND.format(151)),
    "a related method of the right sizes before the same of wrong ones": (
        [{}, {"basis": "cc-pvdz", "largest_functions": 400}],
        *({"largest": 300}, "near", "hf/cc-pvdz", WINNER),
        # What was just calibrated is not advised again.
        f"measured…the nearest to {ASKED}; {MEASURE}, with the options of this run for a geometry",
    ),
    "another family of the program": (
        *([{"method": "mp2"}], {"largest": 50}, "model", "mp2/6-31g*", {}),
        "measured…, which is no relative of pyscf hf/6-31g* energy: the defaults are used…",
    ),
    "smaller tasks than were measured": (
        *([{}], {"smallest": 2, "largest": 40}, "exact", "hf/6-31g*", WINNER),
        "measured…; the smallest task has 2 basis functions, measured were 19 to 75",
    ),
    "sizes that are not known": (
        [{"largest_functions": 0, "smallest_functions": 0}],
        *({"largest": 10_000}, "exact", "hf/6-31g*", WINNER, "measured…"),
    ),
    "tasks without sizes": ([{}], {}, "exact", "hf/6-31g*", WINNER, "measured…"),
    "some of a node's cores": (
        *([{"machine": NODE}], {"machine": part(16, 64)}, "model", "hf/6-31g*", {}),
        f"measured on this processor{WHOLE}, where this job has 16 cores and 64 GiB, {USED}; {CALIBRATE} for better",
    ),
    "fewer cores than the machine has": (
        *([{"machine": NODE}], {"machine": dataclasses.replace(NODE, cores=1)}, "model", "hf/6-31g*", {}),
        f"measured on this machine with 64 cores, where this run has 1, {USED}; {ALL_CORES}",
    ),
    "less memory and as many cores": (
        *([{"machine": NODE}], {"machine": part(64, 32)}, "near", "hf/6-31g*", WINNER),
        f"measured…{WHOLE}, where this job has 64 cores and 32 GiB, for pyscf…",
    ),
}


@pytest.mark.parametrize("case", LADDER)
def test_what_fits_best_is_found_and_why_is_said(case):
    stored, asked, match, method, parameters, words = LADDER[case]
    for changes in stored:
        library.save(make_tuning(**changes))
    best = found(**asked)
    assert (best.match, str(best.tuning.method)) == (match, f"pyscf {method} energy")
    assert best.tuning.parameters == parameters
    assert best.tuning.law == make_tuning(method=method.split("/")[0]).law
    assert re.fullmatch(".*".join(map(re.escape, words.split("…"))), best.reason)


@pytest.mark.parametrize(
    ("changes", "machine"), [({"machine": OTHER}, HERE), ({"program": "psi4"}, HERE), ({"machine": LONGER}, NODE)]
)
def test_another_machine_or_program_or_a_processor_whose_name_begins_alike_is_the_default_with_the_cure(
    changes, machine
):
    library.save(make_tuning(**changes))
    assert found(machine=machine) == (None, "default", f"no tuning for pyscf on this machine; {CALIBRATE}", "")


def test_of_several_parts_of_a_node_the_nearest_in_cores_then_in_memory_counts():
    for cores, memory_gib in ((64, 256), (8, 32), (16, 32), (16, 256)):
        library.save(make_tuning(machine=part(cores, memory_gib)))
    for asked, nearest in (((12, 200), (16, 256)), ((9, 256), (8, 32)), ((64, 8), (64, 256)), ((16, 60), (16, 32))):
        assert found(machine=part(*asked)).tuning.machine == part(*nearest)
        assert library.measured(part(*asked), [HF])[HF].machine == part(*nearest)
    assert found(machine=part(64, 256)).match == "exact"


def test_of_one_method_the_users_tuning_counts_then_the_newest_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("platformdirs.site_data_dir", lambda *_, **__: str(tmp_path / "site"))
    site = tmp_path / "site" / "tunings" / HERE.key
    later, latest = "2027-01-01T00:00:00+00:00", "2027-01-01T00:30:00+01:00"  # an hour east: half an hour earlier
    library.save(make_tuning(created=latest), site / "a.json")
    library.save(make_tuning(created=later), site / "b.json")
    assert found().source == str(site / "b.json")
    library.save(make_tuning(created="2020-01-01T00:00:00+00:00"))
    assert found().source == str(user_file())


@pytest.mark.parametrize(
    ("measured", "here", "differs"),
    [
        ("2.14.0", "2.14.3", False),
        ("2.14.0", "2.15.0", True),
        ("2.14.0", "3.14.0", True),
        ("v2.14", "2.14.0rc1", False),
        ("unknown", "2.14.0", False),
        ("2.14.0", "", False),
    ],
)
def test_another_major_or_minor_version_of_the_program_is_noted(measured, here, differs):
    note = library.version_note(make_tuning(program_version=measured), here)
    expected = (
        f"the tuning was measured with pyscf {measured}, this is {here}: something else may be faster by now;"
        " check it with `autotune tunings verify 'pyscf hf/6-31g* energy'`"
    )
    assert note == (expected if differs else "")


# --- plans ------------------------------------------------------------------------------------------------------------


def plan(fields, **options):
    return planning.make(workload.load(fields), machine=HERE, manager=Manager(), options=Options(**options))


def test_a_plan_takes_parameters_and_times_of_an_exact_tuning(cluster):
    tuning = make_tuning(basis="sto-3g", smallest_functions=7, largest_functions=14)
    library.save(tuning)
    made = plan(cluster("water4", max_nbody=2))
    assert (made.chosen.match, made.tuning) == ("exact", tuning)
    assert made.policy.workers == 2 * HERE.cores
    assert made.chosen.parameters.items() >= WINNER.items()


def test_a_tuning_with_strategies_that_are_not_installed_gives_its_times_and_says_so(cluster, tmp_path):
    tuning = make_tuning(
        basis="sto-3g", smallest_functions=7, largest_functions=14, strategies=("gone", "lost"), parameters={}
    )
    library.save(tuning)
    made = plan(cluster("water4", max_nbody=2))
    assert (made.chosen.match, made.tuning.law) == ("model", tuning.law)
    assert made.chosen.reason.endswith(", with strategies that are not installed (gone, lost): only its times are used")
    assert made.chosen.strategies == (*STANDARD, "pyscf")
    library.save(tuning, tmp_path / "given.json")
    with pytest.raises(InputError, match="strategies that are not installed: gone, lost; install them"):
        plan(cluster("water4", max_nbody=2), tuning=str(tmp_path / "given.json"))


@pytest.mark.parametrize(
    ("own", "words"),
    [(False, "; times of its tasks are guesses"), (True, "; times of its tasks were measured on 2026-11-25 with")],
)
def test_a_plan_names_the_source_of_its_times_where_it_is_not_the_tuning_it_found(cluster, own, words):
    library.save(make_tuning(basis="6-31g*", smallest_functions=7, largest_functions=14))
    if own:  # too small to be found
        library.save(make_tuning(basis="sto-3g", smallest_functions=1, largest_functions=3))
    made = plan(cluster("water4", max_nbody=2))
    assert (made.chosen.match, str(made.tuning.method)) == ("near", "pyscf hf/6-31g* energy")
    assert words in made.chosen.reason


def test_a_plan_of_a_model_takes_the_default_strategies_and_parameters(cluster):
    library.save(make_tuning(basis="sto-3g", strategies=("hybrid",), smallest_functions=1, largest_functions=3))
    made = plan(cluster("water4", max_nbody=2))
    assert made.chosen.match == "model"
    assert made.chosen.strategies == (*STANDARD, "pyscf")
    assert made.policy.workers == HERE.cores


def test_of_a_file_with_several_tunings_that_of_the_most_expensive_method_is_taken_or_the_nearest(cluster, tmp_path):
    path = tmp_path / "tunings.json"
    library.export([make_tuning(method=method, basis="sto-3g") for method in ("hf", "mp2")], path)
    fields = cluster("water4", max_nbody=2)
    made = plan(fields, tuning=str(path))
    assert (made.chosen.match, made.chosen.reason, made.tuning.method.method) == ("given", "given by the user", "hf")
    made = plan(cluster("water4", max_nbody=2, driver="gradient"), tuning=str(path))
    assert made.chosen.reason == (
        "given by the user; the nearest to pyscf hf/sto-3g gradient in it is pyscf hf/sto-3g energy;"
        " times of its tasks are guesses"
    )
    with pytest.raises(InputError, match=r"has no tuning for faulty; it has pyscf hf/sto-3g energy; pyscf mp2/sto-3g"):
        plan(cluster("water4", program="faulty", method="nothing", basis="", max_nbody=2), tuning=str(path))


# --- more than one file -----------------------------------------------------------------------------------------------


def test_merging_takes_the_newest_of_each_method_and_machine(tmp_path):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    for basis, year in (("sto-3g", 2026), ("6-31g*", 2028)):
        library.save(make_tuning(basis=basis, created=f"{year}-01-01T00:00:00+00:00"), old)
    for changes in ({"basis": "sto-3g"}, {"basis": "6-31g*"}, {"machine": OTHER}):
        library.save(make_tuning(created="2027-01-01T00:00:00+00:00", **changes), new)
    library.save(make_tuning(basis="sto-3g", created="2029-01-01T00:00:00+00:00"))
    merged = library.merge([old, new])
    fates = {(str(one.tuning.method), one.tuning.created[:4], one.path.parent.name): one.taken for one in merged}
    assert fates == {
        ("pyscf hf/sto-3g energy", "2027", HERE.key): False,
        ("pyscf hf/6-31g* energy", "2028", HERE.key): True,
        ("pyscf hf/6-31g* energy", "2027", OTHER.key): True,
    }
    stored = {tuning.created[:4] for _, tuning in folders.everything()}
    assert stored == {"2027", "2028", "2029"}


def test_a_source_that_cannot_be_used_stops_a_merge_before_anything_is_written(tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    library.save(make_tuning(), good)
    bad.write_text("{}")
    with pytest.raises(InputError, match=r"bad\.json has schema None"):
        library.merge([good, bad])
    assert list(folders.everything()) == []


def test_removing_takes_the_named_tunings_out_and_the_file_with_the_last(tmp_path):
    path = tmp_path / "tunings.json"
    library.export([make_tuning(), make_tuning(basis="sto-3g")], path)
    assert [str(tuning.method) for tuning in library.remove(path, "sto-3g")] == ["pyscf hf/sto-3g energy"]
    assert methods_in(path) == ["pyscf hf/6-31g* energy"]
    assert len(library.remove(path)) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "number"),
    [("hf/6-31g*", 1), ("HF/6-31G*", 1), ("hf", 3), ("hf/6-31g", 2), ("gradient hf", 1), ("pyscf", 3), ("dft", 0)],
)
def test_a_text_names_tunings_by_whole_words_of_the_method_or_else_by_parts(text, number):
    known = [make_tuning(), make_tuning(basis="6-31g**"), make_tuning(basis="sto-3g", driver="gradient")]
    assert len(library.matching(known, text)) == number


def test_the_history_of_formats_names_the_form():
    assert "autotune.tunings/1" in json_files.__doc__
