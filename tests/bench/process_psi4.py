"""Psi4 as QCEngine runs it, a process for each task, also for a Psi4 before 1.4, which QCEngine's own harness cannot.

For comparisons only: upstream's serial run and fixed pools need something that drives the Psi4 that is here. Command
line and memory are those of QCEngine's harness; the input is converted to QCSchema v1, which that leaves out.
"""

from __future__ import annotations

import json

import qcengine
from qcelemental.util import which
from qcengine.exceptions import UnknownError
from qcengine.programs.psi4 import Psi4Harness
from qcengine.util import execute, temporary_directory


class ProcessPsi4(Psi4Harness):
    def compute(self, input_model, config):
        from qcelemental.models import v1

        task = json.loads(input_model.convert_v(1).json())
        task |= {"nthreads": config.ncores, "memory": int(config.memory * 1024**3 * 0.95), "return_output": True}
        with temporary_directory(parent=config.scratch_directory, suffix="_psi_scratch") as folder:
            done, output = execute(
                [which("psi4"), "--scratch", str(folder), "--json", "data.json"],
                {"data.json": json.dumps(task)},
                ["data.json"],
                scratch_directory=folder,
            )
        answer = json.loads(output["outfiles"]["data.json"]) if done else {}
        if not answer.get("success"):
            raise UnknownError(str(answer.get("error") or output["stderr"]))
        driver = task["driver"]
        answer["properties"] = {k: v for k, v in answer["properties"].items() if v is not None}
        answer["properties"][f"return_{driver}"] = answer["return_result"]
        answer["molecule"] = task["molecule"]
        answer["stdout"] = answer.pop("raw_output", None)
        for name in ("return_output", "nthreads", "memory", "scratch_location"):
            answer.pop(name, None)
        return v1.AtomicResult(**answer).convert_v(2, external_input_data=input_model)


def register():
    qcengine.unregister_program("psi4")
    qcengine.register_program(ProcessPsi4())
