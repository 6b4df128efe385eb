"""A real Slurm for the tests of this folder, and a user's folder on it."""

from __future__ import annotations

import os

import pytest
import real_slurm
from cluster_user import User


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Return a running Slurm; `make test-cluster` installs what it needs."""
    if lacking := real_slurm.missing():
        if os.environ.get("AUTOTUNE_CLUSTER") == "required":
            pytest.fail(f"there is no Slurm to start: {', '.join(lacking)}")
        pytest.skip(f"there is no Slurm to start: {', '.join(lacking)}; make test-cluster installs one")
    folder = tmp_path_factory.mktemp("slurm")
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)  # munge wants a place that only its owner writes, and users can enter
    with real_slurm.running(folder) as found:
        yield found


@pytest.fixture
def user(slurm, tmp_path):
    """Return a user; whose jobs and processes must all be gone afterwards."""
    yield User(tmp_path, slurm)
    real_slurm.wait(lambda: not slurm.jobs(), 60.0, f"jobs are left: {slurm.jobs()}")
    real_slurm.wait(lambda: not slurm.processes(), 60.0, "processes are left on the nodes")
    real_slurm.wait(lambda: set(slurm.states().values()) == {"idle"}, 60.0, "nodes are not idle")
