"""Which launcher of MPI is here, told by what it says of itself; the launchers are scripts in a folder of the test."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from autotune.programs import mpi

ROOT = " --allow-run-as-root" if os.geteuid() == 0 else ""


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Give the test a PATH of its own, and forget the launcher before and after."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    mpi.launcher.cache_clear()
    yield folder
    mpi.launcher.cache_clear()


def install(folder, *says, name="mpirun"):
    script = folder / name
    echoes = [f"echo '{line}'" for line in says]
    script.write_text("\n".join(["#!/bin/sh", '[ "$1" = --version ] || exit 1', *echoes, ""]))
    script.chmod(0o755)
    return script


OPEN = "--bind-to none --oversubscribe"


@pytest.mark.parametrize("name", ["mpirun", "mpiexec"])
@pytest.mark.parametrize(
    ("banner", "options"),
    [
        ("mpirun (Open MPI) 4.1.4", f"{ROOT} {OPEN}"),
        ("mpirun.real (OpenRTE) 4.1.4", f"{ROOT} {OPEN}"),
        ("HYDRA build details:", " -bind-to none"),
        ("Intel(R) MPI Library for Linux* OS, Version 2021.9 Build 20230307", " -bind-to none"),
        ("somebody else's mpirun 1.0", ""),
    ],
)
def test_a_launcher_is_told_not_to_bind_and_to_allow_more_ranks_than_cores_and_root_where_needed(
    path, banner, options, name
):
    script = install(path, banner, "    Version:                                 4.0.2", name=name)
    assert mpi.launcher() == f"{script}{options} -n {{total_ranks}}"


def test_mpirun_goes_before_mpiexec(path):
    install(path, "somebody else's", name="mpiexec")
    script = install(path, "somebody else's")
    assert mpi.launcher().startswith(f"{script} ")


def test_without_a_launcher_or_with_one_that_cannot_be_run_there_is_none(path):
    assert mpi.launcher() == ""
    mpi.launcher.cache_clear()
    script = path / "mpirun"
    script.write_bytes(b"\x7fELF for another machine")
    script.chmod(0o755)
    assert mpi.launcher() == ""


def test_the_launcher_is_asked_once_a_process(path):
    script = install(path, "HYDRA build details:")
    first = mpi.launcher()
    script.unlink()
    assert mpi.launcher() == first


def test_qcengine_makes_its_command_of_it(path):
    from qcengine.config import TaskConfig
    from qcengine.util import create_mpi_invocation

    script = install(path, "HYDRA build details:")
    resources = {"ncores": 4, "nnodes": 1, "memory": 1.0, "cores_per_rank": 1, "scratch_directory": None, "retries": 0}
    config = TaskConfig(**resources, mpiexec_command=mpi.launcher(), use_mpiexec=True)
    assert create_mpi_invocation("/opt/nwchem", config) == [str(script), "-bind-to", "none", "-n", "4", "/opt/nwchem"]


PLACE = "OMPI_MCA_orte_tmpdir_base"
ALONE = ("OMPI_MCA_pml", "OMPI_MCA_btl", "OMPI_MCA_ess_singleton_isolated")


def test_one_rank_gets_no_daemon_and_no_network_and_several_get_both(monkeypatch):
    for name in (*ALONE, PLACE):
        monkeypatch.delenv(name, raising=False)
    mpi.set_environment(1, folder="/tmp/one")
    assert [os.environ.get(name) for name in ALONE] == ["ob1", "self", "1"]
    assert os.environ.get(PLACE) == "/tmp/one"
    mpi.set_environment(2, folder="/tmp/two")
    assert os.environ.get(PLACE) == "/tmp/two"
    mpi.set_environment(2, folder="/tmp/" + 60 * "x")  # sockets below would have names that are too long
    assert PLACE not in os.environ
    assert not set(ALONE) & os.environ.keys()


def test_what_the_user_has_set_for_mpi_stays():
    code = "import os; from autotune.programs import mpi; mpi.set_environment(1, folder='/tmp');"
    code += f" print(os.environ[{ALONE[1]!r}])"
    given = {**os.environ, ALONE[1]: "tcp,self"}
    done = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
    assert done.stdout == "tcp,self\n"
