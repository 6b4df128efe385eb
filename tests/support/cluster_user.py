"""Somebody on a Slurm: a folder, inputs, the guide's configuration, and the command as they type it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from autotune.expansion.expansion import Expansion
from autotune.expansion.readers import many_body_fields

if TYPE_CHECKING:
    import real_slurm

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
JOB = """#!/bin/bash
#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=1 --mem=2000 --requeue --open-mode=append
export PATH={commands}:$PATH PYTHONPATH={pythonpath} AUTOTUNE_HOME={home}
{before}exec srun --cpus-per-task=1 autotune run {source} --threads 1 -o result.json --record record.json --resume
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

    def configuration(self, *, nodes=2, init="", more=""):
        """Write the configuration that the guide hands to users, and more lines of it, and return its path."""
        worker_init = f"export PATH={Path(sys.executable).parent}:$PATH PYTHONPATH={os.environ['PYTHONPATH']}; {init}"
        path = self.folder / "slurm.py"
        text = CONFIGURATION.format(nodes=nodes, folder=str(self.folder / "parsl"), worker_init=worker_init)
        path.write_text(text + more)
        return path

    def script(self, text, name="job.sh"):
        path = self.folder / name
        path.write_text(text)
        return path

    def job_script(self, source, *, before=""):
        """Write the script of a job that runs an input where it was left off, and return its path."""
        commands, pythonpath, home = Path(sys.executable).parent, os.environ["PYTHONPATH"], self.folder / "home"
        places = {"commands": commands, "pythonpath": pythonpath, "home": home}
        return self.script(JOB.format(**places, source=source, before=before))

    def start(self, *words):
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
