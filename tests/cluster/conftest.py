"""A real Slurm for the tests of this folder, and a user's folder on it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import real_slurm

from autotune.expansion.readers import Expansion, many_body_fields

WORKLOADS = Path(__file__).parents[2] / "studies" / "workloads"
CONFIGURATION = """
from autotune_plugins.backend_parsl import slurm

config = slurm(
    nodes={nodes},
    walltime="00:30:00",
    partition="main",
    folder={folder!r},
    worker_init={worker_init!r},
)
# Tests do not wait two minutes for what is lost.
config.executors[0].heartbeat_period, config.executors[0].heartbeat_threshold = 2, 12
"""


@dataclass(frozen=True)
class User:
    """Somebody with a folder of their own, who types commands where jobs may be submitted from.

    Attributes:
        folder: Theirs.
        slurm: The cluster.
    """

    folder: Path
    slurm: real_slurm.Slurm

    @property
    def environment(self):
        here = os.pathsep.join([str(Path(sys.executable).parent), self.slurm.environment["PATH"]])
        return {**self.slurm.environment, "PATH": here, "AUTOTUNE_HOME": str(self.folder / "home")}

    def input(self, name, *, program="pyscf", method="hf", basis="sto-3g", keywords=None, **expansion):
        """Write a many-body input and return its path."""
        told = Expansion(program=program, method=method, basis=basis, keywords=keywords or {}, **expansion)
        text = (WORKLOADS / f"{name}.xyz").read_text()
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(many_body_fields(text, name=name, expansion=told)))
        return path

    def sleeping(self, name="water8", *, seconds=0.5, **keywords):
        """Write the input of a program that sleeps, and counts what it has done in the file `log`."""
        told = {"seconds": seconds, "log": str(self.folder / "log"), **keywords}
        return self.input(name, program="faulty", method="sleep", basis="", max_nbody=2, keywords=told)

    @property
    def done(self):
        """How many tasks the sleeping program has done."""
        log = self.folder / "log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def configuration(self, *, nodes=2, init=""):
        """Write the configuration that the guide hands to users and return its path."""
        worker_init = f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={os.environ['PYTHONPATH']}; {init}"
        path = self.folder / "slurm.py"
        text = CONFIGURATION.format(nodes=nodes, folder=str(self.folder / "parsl"), worker_init=worker_init)
        path.write_text(text)
        return path

    def start(self, *words):
        """Start `autotune` and return its process."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "autotune", *map(str, words)],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
        )

    def call(self, *words, limit_s=240.0):
        """Run `autotune` and return its status and what it said."""
        process = self.start(*words)
        output, said = process.communicate(timeout=limit_s)
        return process.returncode, output, said

    def on_nodes(self, source, *words, nodes=2, init="", cores=1):
        """Return the words of a command that runs an input on the cluster's nodes, with so many cores of each."""
        config = self.configuration(nodes=nodes, init=init)
        there = ("--backend", "parsl", "--parsl-config", config, "--cores", cores)
        return ("run", source, *there, "-o", "result.json", "--record", "record.json", *words)

    def result(self, name="result.json"):
        return json.loads((self.folder / name).read_text())


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
