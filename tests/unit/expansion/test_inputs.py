"""Claims about inputs that are named together: files, folders, frames; names, and what is refused."""

from __future__ import annotations

import pytest

from autotune.base.errors import InputError
from autotune.expansion.inputs import are_several, name_inputs

WATER = "3\n\nO 0 0 0.117\nH 0 0.757 -0.467\nH 0 -0.757 -0.467\n"


def write(path, text=WATER):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*sources):
    return [each.name for each in name_inputs(sources).inputs]


def test_a_file_is_called_by_its_path_without_the_ending_and_never_leads_out_of_a_folder(here):
    for path in ("a.xyz", "b.c.json", "sub/d.pdb", "f/b.xyz"):
        write(here / path)
    assert names("a.xyz", "./b.c.json", "sub/../sub/d.pdb") == ["a", "b.c", "sub/sub/d"]
    assert names(here / "a.xyz", here / "f") == ["a", "f/b"]
    assert names("../" + here.name + "/a.xyz") == [f"{here.name}/a"]


def test_frames_are_numbered_so_that_names_sort(here):
    write(here / "t.xyz", WATER * 11)
    found = names("t.xyz")
    assert (found[0], found[-1], len(found)) == ("t-0001", "t-0011", 11)
    assert found == sorted(found)


def test_of_a_folder_files_are_taken_by_their_endings_and_the_others_are_named(here):
    for name in ("b.xyz", "a.json", "notes.txt", ".hidden.xyz", "out.log", "c.PDB", "x.py", "y.py"):
        write(here / "f" / name)
    write(here / "f" / "sub" / "d.xyz")
    found = name_inputs(["f"])
    assert [each.name for each in found.inputs] == ["f/a", "f/b", "f/c"]
    assert found.notes == ("f: 3 inputs; notes.txt, out.log, x.py and others are left aside by their endings",)


def test_what_has_no_path_is_called_by_its_place_or_as_a_mapping_says(here):
    write(here / "a.xyz")
    assert names({"molecule": {}}, "a.xyz", WATER) == ["input-0001", "a", "input-0003"]
    assert [each.name for each in name_inputs({"one": WATER, "two": "a.xyz"}).inputs] == ["one", "two"]


def test_a_file_that_cannot_be_read_is_a_fault_of_that_input(here):
    (here / "f").mkdir()
    (here / "f" / "a.xyz").write_bytes(b"\xff\xfe\x00\x01\n\xff\n\xff\n")
    write(here / "f" / "b.xyz")
    broken, sound = name_inputs(["f"]).inputs
    assert isinstance(broken.content, InputError)
    assert sound.content == WATER


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        (["a.xyz", "missing.xyz"], "missing.xyz cannot be read: no such file; check the path"),
        (["a.xyz", "a.json"], "two inputs would be 'a' (a.xyz and a.json); rename one, or give paths from above"),
        (["a.xyz", "-"], "standard input cannot be one of several inputs; name files"),
        (
            ["empty"],
            "folder empty has no input; the files in it that are taken end in .json, .xyz, .extxyz, .pdb, .ent, .psi4",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(here, sources, words):
    write(here / "a.xyz")
    write(here / "a.json", "{}")
    write(here / "empty" / "readme.txt")
    with pytest.raises(InputError) as refused:
        name_inputs(sources)
    assert str(refused.value) == words


def test_one_file_of_one_geometry_is_one_input_and_all_else_is_several(here):
    write(here / "a.xyz")
    write(here / "t.xyz", WATER * 2)
    write(here / "f" / "a.xyz")
    assert not any(map(are_several, (["a.xyz"], ["-"], ["missing"])))
    assert all(map(are_several, (["t.xyz"], ["f"], ["a.xyz", "t.xyz"])))
