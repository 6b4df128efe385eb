"""The house rules that a machine can check: few flat files, lazy imports, documentation, packaging."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from places import ROOT

import autotune
import autotune.results
import autotune.studies
import autotune_plugins
from autotune.cli.main import cli


def test_modules_are_in_rooms_each_of_which_says_what_it_is_for():
    assert {path.name for path in (ROOT / "autotune").glob("*.py")} == {"__init__.py", "__main__.py", "parallel.py"}
    rooms = [path for path in (ROOT / "autotune").iterdir() if any(path.glob("*.py")) and not path.is_symlink()]
    assert len(rooms) == 17
    assert all(ast.get_docstring(ast.parse((room / "__init__.py").read_text())) for room in rooms)


HEAVY = (
    "numpy optuna qcengine qcelemental qcmanybody matplotlib psutil pydantic pluggy click rich scipy jinja2 markdown_it"
    " filelock"
)
OF_HELP = "sys.argv = ['autotune', '--help']; import autotune.cli.main as of; of.invoke()"


@pytest.mark.parametrize(
    ("code", "heavy"), [("import autotune", HEAVY), (OF_HELP, "numpy optuna qcengine qcelemental")], ids=["it", "help"]
)
def test_importing_autotune_loads_none_of_the_heavy_libraries_and_its_help_no_chemistry(code, heavy):
    code = f"import sys; {code}; print([name for name in {heavy.split()!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def commands():
    yield from ((name, command) for name, command in cli.commands.items() if not isinstance(command, click.Group))
    for name, group in cli.commands.items():
        if isinstance(group, click.Group):
            yield from ((f"{name} {inner}", command) for inner, command in group.commands.items())


def test_every_option_has_a_help_text():
    bare = [f"{n} {p.name}" for n, c in commands() for p in c.params if isinstance(p, click.Option) and not p.help]
    assert bare == []


def test_packages_lie_as_they_are_imported_so_that_an_editable_install_is_one_path():
    for package in (autotune, autotune_plugins, autotune.studies, autotune.results):
        (folder,) = package.__path__
        assert Path(folder) == ROOT.joinpath(*package.__name__.split("."))


def test_nothing_imports_the_linked_folders_by_their_folder_names():
    for path in [*(ROOT / "autotune").rglob("*.py"), *(ROOT / "plugins").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("plugins", "studies", "results") for name in names), path


@pytest.mark.skipif(sys.platform == "win32", reason="there is no password file")
def test_no_test_reaches_the_real_home():
    import pwd

    assert Path.home() != Path(pwd.getpwuid(os.getuid()).pw_dir)
    assert Path(os.environ["MPLCONFIGDIR"]).is_relative_to(Path.home())
