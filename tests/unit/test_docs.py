"""The pages are true: commands in them run, snippets compute, workflows parse, and what they list is what there is.

Each page has a folder with what a reader would have: clusters, an input, records, stored tunings. Its commands run
there in one shell, in the order of the page, then its Python. What would take too long is replaced, and what cannot run
here is left out; both are in the tables below, with the reason. A command in neither table runs as it is written.
"""

from __future__ import annotations

import dataclasses
import html
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from places import ROOT
from tuning_factory import make_tuning

from autotune.base import json_files, records, types
from autotune.calibration import studies
from autotune.cli.main import cli
from autotune.costs.terms import PRIORS
from autotune.journal.entries import COLUMNS
from autotune.plugin import hookspecs
from autotune.tunings import library, tuning_file

DOCS = ROOT / "docs"
INCLUDED = re.compile(r'^\{\{ included\("(.+)"\) \}\}$', re.MULTILINE)
SOURCES = {path.relative_to(ROOT).as_posix(): path.read_text() for path in [ROOT / "README.md", *DOCS.rglob("*.md")]}
LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", ".dockerfile": "dockerfile", ".def": "text"}


def block_of(included):
    """Return what the site shows where a page includes a file."""
    path = ROOT / included[1]
    return f"```{LANGUAGES[path.suffix]}\n{path.read_text()}```"


PAGES = {name: INCLUDED.sub(block_of, text) for name, text in SOURCES.items()}
SHELL = ("sh", "bash", "console", "")
LIMIT_S = 280


class Replaced(NamedTuple):
    """What is changed in commands that match `where`, and why."""

    where: str
    pattern: str
    by: str
    why: str


REPLACED = (
    Replaced("calibrate", r" --study \S+", "", "a packaged study takes minutes"),
    Replaced("calibrate", r" --budget \S+", "", "as above"),
    Replaced(
        "calibrate",
        r"autotune calibrate",
        "autotune calibrate --study $SMALL_STUDY --budget 20s --force",
        "one trial on two waters; --force, because tests do not have the machine for themselves",
    ),
    Replaced("tunings verify", r" --budget \S+", " --budget 6s --force", "as above"),
    Replaced("run", r" '6-31g\*'", " sto-3g", "times are not the point"),
    Replaced("regress", r"--pairs \d+", "--pairs 2", "each run is a whole process; their number is not the point"),
)
# The clusters that runs compute are smaller than their names say; simulations get the real ones.
SMALLER = {"water6.xyz": "water4", "water4.xyz": "water2"}
# Commands that are not run, and why.
LEFT_OUT = {
    "autotune calibrate --search polite": "test_third_party.py runs it, and looks at what comes out",
    "make bench": "takes hours and needs the machine for itself",
    "make faults": "takes an hour",
    "make comparison": "takes two hours and needs the machine for itself",
    "python3 -m venv .venv": "the tests run in an environment that is there",
    ". .venv/bin/activate": "as above",
    "pip install '.[pyscf]'": "as above",
    "rm -rf dist && pip wheel --no-deps --wheel-dir dist .": "takes a checkout; .ci/run builds a wheel and runs it",
    "autotune run water64.json --backend parsl --parsl-config slurm.py -o result.json --record record.json": (
        "there is no Slurm here; test_parsl.py runs its configuration with stand-ins for its commands"
    ),
    "pip install ./polite_strategy": "test_third_party.py installs it; here the plugin lies in the folder",
    "pip install ./london_program": "the plugin lies in the folder, with the entry point that the page gives it",
    'pytest tests/unit/plugins/test_strategies.py -k "TestContract and polite"': "test_third_party.py runs it",
}
# Exit codes but 0 that say nothing against a command here.
ALSO = {
    "regress": (1, 3),  # so few runs may say anything
    "tunings verify": (1, 3),
}
# What comes before a page's Python: names that the reader has.
NAMES = "import json\nmany_body_input = json.load(open('input.json'))\ninputs = [many_body_input]\n"
BEFORE = dict.fromkeys(("README.md", "docs/clusters.md", "docs/python.md"), NAMES)
NEEDED = {'"geometric"': "geometric"}  # a text in a snippet, and the module without which it is left out

SMALL_STUDY = """
schema = "autotune.study/1"
trials = 1
repeats = 3
method = {program = "pyscf", method = "hf", basis = "sto-3g"}
search = [{geometry = "water2", max_nbody = 1}]
confirm = [{geometry = "water2", max_nbody = 2}]
"""
# Stands in for Slurm's: drops its own options.
SRUN = '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n'


class Block(NamedTuple):
    """A fenced block: its language, its text, and the file that the line before says it is."""

    language: str
    text: str
    file: str


def blocks(page):
    """Yield the fenced blocks of a page."""
    form = r"(?:^`(?P<file>[\w.-]+)`(?:;[^\n]*)?:\n\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$"
    for found in re.finditer(form, PAGES[page], re.MULTILINE | re.DOTALL):
        yield Block(found["language"], found["text"], found["file"] or "")


def commands(page):
    """Return the commands of a page: all lines of blocks of a shell, and those of blocks of no language with ours."""
    found = []
    for block in blocks(page):
        if block.language not in SHELL:
            continue
        lines = block.text.replace("\\\n", " ").splitlines()
        if block.language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif not block.language:
            lines = [line.removeprefix("$ ") for line in lines if re.match(r"(\$ )?(autotune|make|pip) ", line)]
        found += [" ".join(re.sub(r" +# .*", "", line).split()) for line in lines]
    return [command for command in found if command and not command.startswith("#")]


def python_of(page):
    """Return the Python of a page that is no file of its own."""
    for block in blocks(page):
        missing = [name for text, name in NEEDED.items() if text in block.text and not importlib.util.find_spec(name)]
        if block.language == "python" and not block.file and not missing:
            yield block.text


def run_here(command):
    """Return a command as it is run in a test."""
    for replaced in REPLACED:
        if f"autotune {replaced.where}" in command:
            command = re.sub(replaced.pattern, lambda _, by=replaced.by: by, command)
    return command


def exit_codes(command):
    return (0, *(code for text, codes in ALSO.items() if f"autotune {text}" in command for code in codes))


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """Return a real run record of two waters, a small one."""
    import autotune
    from autotune.expansion.expansion import Expansion
    from autotune.expansion.readers import many_body_fields

    text = (files("autotune.studies") / "workloads" / "water2.xyz").read_text()
    fields = many_body_fields(text, name="water2", expansion=Expansion(program="pyscf", method="hf", basis="sto-3g"))
    path = tmp_path_factory.mktemp("record") / "record.json"
    with autotune.Session(autotune.Options(tuning="none", journal="none")) as session:
        session.run(fields)
        json_files.save_run(session.record, path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch, cluster, record):
    """Make the folder of a reader, with nothing of the user who runs the tests."""
    here = tmp_path / "reader"
    workloads = here / "studies" / "workloads"
    shutil.copytree(ROOT / "studies" / "workloads", workloads)
    shutil.copytree(ROOT / "studies" / "crystals", here / "studies" / "crystals")
    for source in workloads.glob("*.xyz"):
        smaller = SMALLER.get(source.name, source.stem)
        shutil.copy(workloads / f"{smaller}.xyz", here / source.name)
    (here / "input.json").write_text(json.dumps(cluster("water4", max_nbody=2)))
    (here / "docs" / "images").mkdir(parents=True)
    shutil.copy(workloads / "water4.xyz", here / "waters.xyz")
    for name in ("base", "head", "history", "records"):
        (here / name).mkdir()
        shutil.copy(record, here / name / "record.json")
    for name in ("before.json", "after.json", "head.json"):
        shutil.copy(record, here / name)
    for name in ("base-venv", "head-venv"):
        (here / name).symlink_to(sys.prefix)
    (here / "small.toml").write_text(SMALL_STUDY)
    programs = here / "bin"
    programs.mkdir()
    for name, text in (("autotune", f'#!/bin/sh\nexec "{sys.executable}" -m autotune "$@"\n'), ("srun", SRUN)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for method, basis in (("hf", "6-31g*"), ("mp2", "cc-pvdz")):
        library.save(make_tuning(method=method, basis=basis))
    monkeypatch.setenv("HOME", str(tmp_path / "home-folder"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("PATH", os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]]))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(here), os.environ["PYTHONPATH"]]))
    monkeypatch.setenv("SMALL_STUDY", str(here / "small.toml"))
    return here


def unpack(page, folder):
    """Write the files that a page shows, and make the distributions of which it includes files as if installed."""
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.text)
    for distribution in {ROOT / name for name in INCLUDED.findall(SOURCES[page])}:
        if (distribution.parent / "pyproject.toml").is_file() and distribution.suffix == ".py":
            install(distribution.parent, folder)


def install(distribution, folder):
    project = tomllib.loads((distribution / "pyproject.toml").read_text())["project"]
    installed = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    installed.mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (installed / "METADATA").write_text(metadata)
    points = [f"{name} = {module}" for name, module in project["entry-points"]["autotune"].items()]
    (installed / "entry_points.txt").write_text("\n".join(["[autotune]", *points, ""]))


def finished(arguments, folder):
    done = subprocess.run(
        arguments, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.programs("pyscf")
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page) or list(python_of(page))])
def test_the_commands_of_a_page_run_in_its_order_and_then_its_python(page, folder):
    unpack(page, folder)
    lines = []
    for command in commands(page):
        if command not in LEFT_OUT:
            codes = "|".join(map(str, exit_codes(command)))
            shown = command.replace("'", "'\\''")
            lines += [run_here(command), f"case $? in {codes}) ;; *) echo 'FAILED: {shown}'; exit 99 ;; esac"]
    status, said = finished(["bash", "-c", "\n".join(lines)], folder)
    assert status == 0, f"{page}\n{said[-3000:]}"
    snippets = list(python_of(page))
    if snippets:
        (folder / "page.py").write_text("\n\n".join([BEFORE.get(page, ""), *snippets]))
        status, said = finished([sys.executable, "page.py"], folder)
        assert status == 0, f"{page}\n{said[-3000:]}"


def test_what_is_left_out_or_replaced_is_in_a_page():
    every = {command for page in PAGES for command in commands(page)}
    assert set(LEFT_OUT) - every == set()
    for replaced in REPLACED:
        assert any(f"autotune {replaced.where}" in command for command in every)


def test_no_command_of_ours_hides_in_a_block_of_another_language():
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("text", "toml"):
                assert not re.findall(r"^\$? ?autotune .*--.*$", block.text, re.MULTILINE), page


def test_both_recipes_of_containers_run_the_same_commands_on_the_same_system():
    """One was built with Buildah; no Apptainer is at hand where tests run."""
    apptainer, docker = ((DOCS / "containers" / f"autotune.{kind}").read_text() for kind in ("def", "dockerfile"))
    post = re.search(r"^%post\n(.*?)^%", apptainer, re.MULTILINE | re.DOTALL)[1]
    run = re.search(r"^RUN (.*?[^\\])\n", docker, re.MULTILINE | re.DOTALL)[1].replace("\\\n", "")
    commands = [line.split() for line in post.strip().splitlines()]
    assert commands == [command.split() for command in run.split("&&")]
    assert re.search(r"^From: (.+)$", apptainer, re.MULTILINE)[1] == re.search(r"^FROM (.+)$", docker, re.MULTILINE)[1]
    assert subprocess.run(["bash", "-n"], input=post, text=True, check=False).returncode == 0


# --- workflows --------------------------------------------------------------------------------------------------------


def options_of(name):
    return {option for parameter in cli.commands[name].params for option in parameter.opts}


def scripts(workflow):
    """Return the shell scripts of a workflow's steps."""
    return [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]


def checked_workflow(text):
    """Return a workflow that GitHub would take as far as its form goes."""
    workflow = yaml.safe_load(text)
    assert {"name", True, "jobs", "permissions"} <= workflow.keys()  # YAML 1.1 reads `on` as true
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    return workflow


def test_the_workflow_for_users_is_valid_and_uses_options_that_exist(tmp_path):
    workflow = checked_workflow((DOCS / "speed.yml").read_text())
    (script,) = [script for script in scripts(workflow) if "autotune regress" in script]
    command = re.search(r"autotune regress (.*?)\|\|", script.replace("\\\n", " "), re.DOTALL)[1]
    assert set(re.findall(r"--[a-z-]+", command)) <= options_of("regress")
    for number, text in enumerate(scripts(workflow)):
        path = tmp_path / f"step-{number}.sh"
        path.write_text(text)
        assert finished(["bash", "-n", str(path)], tmp_path) == (0, "")


@pytest.mark.parametrize("status", [0, 1, 2, 3])
def test_the_workflow_for_users_fails_for_what_is_slower_and_warns_where_it_cannot_tell(status, tmp_path):
    workflow = yaml.safe_load((DOCS / "speed.yml").read_text())
    (script,) = [script for script in scripts(workflow) if "autotune regress" in script]
    program = tmp_path / "head-venv" / "bin" / "autotune"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho table > regress.md\nexit {status}\n")
    program.chmod(0o755)
    summary = tmp_path / "summary.md"
    environment = {**os.environ, "GITHUB_STEP_SUMMARY": str(summary)}
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == {3: 0}.get(status, status)
    assert ("::warning" in done.stdout) == (status == 3)
    assert summary.read_text() == "table\n"


def test_our_own_workflow_is_valid_and_the_tests_that_it_names_exist():
    workflow = checked_workflow((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    named = {name for script in scripts(workflow) for name in re.findall(r"tests/[\w/]+\.py", script)}
    assert named
    assert [name for name in named if not (ROOT / name).is_file()] == []
    systems = {job["runs-on"] for job in workflow["jobs"].values()} | {
        system
        for job in workflow["jobs"].values()
        for system in job.get("strategy", {}).get("matrix", {}).get("os", ())
    }
    assert all(any(system.startswith(name) for system in systems) for name in ("ubuntu", "macos", "windows"))


# --- the site ---------------------------------------------------------------------------------------------------------


def navigated(entries):
    for entry in entries:
        for target in entry.values():
            yield from navigated(target) if isinstance(target, list) else [target]


def test_every_page_has_its_place_in_the_site():
    configured = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert configured["strict"] is True
    listed = list(navigated(configured["nav"]))
    assert len(listed) == len(set(listed))
    assert set(listed) == {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}


def test_the_site_is_built_strictly_wherever_it_is_built():
    builds = re.findall(r"mkdocs build[^#\n]*", (ROOT / "Makefile").read_text())
    assert [build.split() for build in builds] == [["mkdocs", "build", "--strict"]]  # --quiet would count no warnings
    assert "make docs" in (ROOT / ".ci" / "run").read_text()


def test_pictures_are_small_and_each_is_in_a_page():
    shown = {name for text in PAGES.values() for name in re.findall(r"\]\((?:docs/)?images/([\w.-]+)\)", text)}
    drawn = {path.name for path in (DOCS / "images").iterdir()}
    assert drawn == shown
    assert all(path.stat().st_size < 150_000 for path in (DOCS / "images").iterdir())


# --- the site, built --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Build the site as `make docs` does, and return a function that returns a page of it as HTML."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=True)
    return lambda name: html.unescape((folder / name).read_text())


@pytest.mark.parametrize("page", [name for name in PAGES if name != "README.md"])
def test_what_pages_take_from_records_and_files_is_there(page, site):
    source = SOURCES[page]
    rendered = site(page.removeprefix("docs/").replace(".md", ".html"))
    assert not re.search(r"(?<!\$)\{\{|\{%", rendered)
    for directive in re.findall(r"^::: autotune\.(.+)$", source, re.MULTILINE):
        assert f'id="autotune.{directive}"' in rendered
    for name in INCLUDED.findall(source):
        assert (ROOT / name).read_text().splitlines()[-1].strip() in re.sub(r"<[^>]+>", "", rendered)


def test_the_page_of_the_command_line_has_every_command_and_option(site):
    text = site("reference/cli.html")
    for name, command in commands_of(cli):
        assert f'id="{name.replace(" ", "-")}"' in text
        assert all(option in text for parameter in command.params for option in parameter.opts if "-" in option)


def commands_of(group, prefix="autotune"):
    for name in group.list_commands(None):
        command = group.get_command(None, name)
        yield f"{prefix} {name}", command
        if hasattr(command, "list_commands"):
            yield from commands_of(command, f"{prefix} {name}")


OF_RUNS = (records.RunRecord, records.NBodyEnergies, records.Omitted, records.TaskRecord, records.Gap)
OF_TUNINGS = (records.TuningChoice, records.Tuning, records.Law, records.Evidence, records.Trial, records.Pair)
FORMS = (types.Machine, types.Method, studies.Rung, studies._File, tuning_file._Form, tuning_file._Bundle)


@pytest.mark.parametrize("record_class", [*OF_RUNS, *OF_TUNINGS, *FORMS])
def test_every_field_of_a_file_is_documented(record_class, site):
    text = site("reference/files.html")
    assert [f.name for f in dataclasses.fields(record_class) if f">{f.name}</" not in text] == []


def test_every_form_of_file_and_every_family_is_documented():
    text = PAGES["docs/reference/files.md"]
    source = "\n".join(path.read_text() for path in (ROOT / "autotune").rglob("*.py"))
    forms = re.findall(r"_SCHEMA = \"(autotune\.[\w.-]+/\d+)\"", source)
    assert len(forms) >= 5
    named = [*forms, *COLUMNS.split(", "), "used", *PRIORS]
    assert [name for name in named if f"`{name}`" not in text] == []


def test_every_hook_is_documented_with_its_arguments():
    hooks = {name: hook for name, hook in vars(hookspecs).items() if name.startswith("autotune_")}
    assert len(hooks) == 9
    for name, hook in hooks.items():
        assert f"| `{name}({', '.join(inspect.signature(hook).parameters)})` |" in PAGES["docs/plugins.md"]


def test_the_files_to_touch_are_there_and_at_most_four_for_each_change():
    rows = [line for line in SOURCES["docs/where.md"].splitlines() if re.match(r"\| an? ", line)]
    assert len(rows) == 8
    for row in rows:
        named = re.findall(r"`([\w/]+\.(?:py|md|toml))`", row)
        assert 1 < len(named) <= 4, row
        assert [name for name in named if not (ROOT / name).is_file()] == []
