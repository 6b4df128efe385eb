"""How Psi4 is found without being started: by the script in PATH, the folder it prints, the version in that folder."""

from __future__ import annotations

import sys

import pytest

from autotune_plugins import psi4_installation

SAYS = """import os, sys
if sys.argv[1:] == ["--psiapi-path"]:
    print("export PATH=/somewhere:$PATH")
    print("export PYTHONPATH={folder}:$PYTHONPATH")
elif sys.argv[1:] == ["--version"]:
    print("1.9.1")
else:
    sys.exit(1)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Give the test a PATH with nothing in it but a Python, and forget what was found before and after."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "modules" / "psi4").mkdir(parents=True)
    (tmp_path / "bin" / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    psi4_installation.find.cache_clear()
    yield tmp_path
    psi4_installation.find.cache_clear()


def install(place, *first_lines, body=None, version="1.3.2"):
    """Write a `psi4` with these first lines, and the modules it tells of; return its path."""
    script = place / "bin" / "psi4"
    modules = place / "modules"
    script.write_text("\n".join([*first_lines, body or SAYS.format(folder=modules)]))
    script.chmod(0o755)
    if version is not None:
        (modules / "psi4" / "metadata.py").write_text(f"# made by CMake\n__version__ = '{version}'\n")
    return script


PIPS = ("#!/bin/sh", '\'\'\'exec\' "{python}" "$0" "$@"', "' '''")  # for paths with spaces


@pytest.mark.parametrize(
    "form",
    [
        ("#!{python}",),
        ("#! {python} -E",),
        ("#!/usr/bin/env python3",),
        ("#!/usr/bin/env -S python3 -E",),
        ("#!/bin/sh", "'''exec' {python} \"$0\" \"$@\"", "' '''"),  # conda's for long paths
        PIPS,
    ],
    ids=repr,
)
def test_the_first_lines_of_the_script_name_its_python(place, form):
    python = place / ("my programs" if form is PIPS else "bin") / "python3"
    python.parent.mkdir(exist_ok=True)
    if not python.exists():
        python.symlink_to(sys.executable)
    script = install(place, *(line.format(python=python) for line in form))
    assert psi4_installation.executable() == str(script)
    assert psi4_installation.find() == psi4_installation.Installation(
        executable=str(script), python=str(python), folder=str(place / "modules"), version="1.3.2"
    )


@pytest.mark.parametrize(
    "first_lines",
    [("#!/bin/sh",), ("#!/usr/bin/perl",), ("",), ("\x7fELF\x02\x01",), ("#!/nowhere/python3",), ("#!/bin/sh", "")],
    ids=repr,
)
def test_a_psi4_that_is_no_python_script_is_not_taken_nor_an_empty_file(place, first_lines):
    script = install(place, *first_lines)
    assert psi4_installation.executable() is None
    assert psi4_installation.find() is None
    script.write_bytes(b"")
    assert psi4_installation.executable() is None


def test_without_a_psi4_in_path_nothing_is_found(place):
    assert not (place / "bin" / "psi4").exists()
    assert psi4_installation.executable() is None
    assert psi4_installation.find() is None


@pytest.mark.parametrize(
    "body",
    ["raise SystemExit(1)\n", "print('hello')\n", "print('export PYTHONPATH=/nowhere:$PYTHONPATH')\n"],
)
def test_a_psi4_that_does_not_tell_of_its_modules_is_not_used(place, body):
    script = install(place, "#!/usr/bin/env python3", body=body)
    assert psi4_installation.executable() == str(script)
    assert psi4_installation.find() is None


def test_a_psi4_without_a_version_in_its_modules_is_asked_for_it_once(place):
    script = install(place, "#!/usr/bin/env python3", version=None)
    first = psi4_installation.find()
    assert first.version == "1.9.1"
    script.unlink()
    assert psi4_installation.find() is first


@pytest.mark.parametrize(
    ("version", "speaks_schema"),
    [("1.3.2", False), ("1.4", True), ("1.4a2.dev700", True), ("1.10", True), ("2.0", True), ("", True)],
)
def test_from_1_4_on_psi4_speaks_qcschema_and_an_unknown_version_is_the_latest(version, speaks_schema):
    found = psi4_installation.Installation("/bin/psi4", "/bin/python3", "/lib", version)
    assert found.speaks_schema is speaks_schema
