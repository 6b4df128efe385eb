"""A Psi4 that stays loaded: reads tasks from one pipe, writes answers to another; run by Psi4's own Python.

    python psi4_server.py '{"folder": ..., "requests_fd": ..., "answers_fd": ...}'

Messages are JSON after their length in eight bytes, big-endian. The first message out tells the version; then each
request gets one answer. The process ends when the pipe of requests closes, or with its parent.

Rules: runs in Psi4's environment, so it imports nothing of autotune and keeps to Python 3.7. Psi4's state is cleaned
after each task, whatever became of it. Only `_compute_schema`, for Psi4 1.4 and later, has not run yet: it is written
to the documented interface (`psi4.schema_wrapper.run_qcschema`).
"""

from __future__ import annotations

import ctypes
import difflib
import json
import os
import re
import signal
import struct
import sys
import traceback
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Dict  # noqa: UP035 - what is evaluated must be known to Python 3.7

Message = Dict[str, Any]  # noqa: UP006

LENGTH = struct.Struct(">Q")
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LEAST_MEMORY_BYTES = 262144000  # psi4.set_memory refuses less


def serve(folder: str, requests_fd: int, answers_fd: int) -> None:
    """Answer requests until their pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's to handle
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    sys.path.insert(1, folder)
    import psi4
    import psi4_basis  # type: ignore[import-not-found]  # beside this file, which runs as a script
    import psi4_core_potentials  # type: ignore[import-not-found]
    import psi4_dispersion  # type: ignore[import-not-found]

    psi4_core_potentials.take_from_ghosts(psi4)
    psi4_basis.remember(psi4)
    psi4_dispersion.restore_elements()
    with os.fdopen(requests_fd, "rb") as requests, os.fdopen(answers_fd, "wb") as answers:
        send(answers, {"version": psi4.__version__})
        while True:
            request = receive(requests)
            if request is None:
                return
            answer: Any = {"check": check, "compute": compute}[request.pop("ask")]
            send(answers, answer(psi4, **request))


def receive(stream: BinaryIO) -> Message | None:
    """Return the next message, None at the end."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    message: Message = json.loads(stream.read(LENGTH.unpack(head)[0]).decode())
    return message


def send(stream: BinaryIO, message: Message) -> None:
    """Write a message."""
    body = json.dumps(message, default=lambda value: value.tolist()).encode()
    stream.write(LENGTH.pack(len(body)) + body)
    stream.flush()


# --- a task ----------------------------------------------------------------------------------------------------------


def compute(psi4: Any, task: Message, threads: int, blas_threads: int, memory_bytes: int, scratch: str) -> Message:
    """Return Psi4's output for a QCSchema v1 input; with `success` false and `error` where it failed."""
    limit_blas(blas_threads)
    psi4.core.IOManager.shared_object().set_default_path(scratch)
    memory_bytes = max(memory_bytes, LEAST_MEMORY_BYTES)
    try:
        if hasattr(psi4, "schema_wrapper"):
            return _compute_schema(psi4, task, threads, memory_bytes)
        return _compute_json(psi4, task, threads, memory_bytes, scratch)
    except Exception as error:  # noqa: BLE001 - whatever Psi4 raises is an answer
        return failure(error)
    finally:
        psi4.core.clean()
        psi4.core.clean_options()
        psi4.core.clean_variables()


def _compute_json(psi4: Any, task: Message, threads: int, memory_bytes: int, scratch: str) -> Message:
    """Compute with Psi4 before 1.4."""
    import psi4_core_potentials

    wants_output = task.get("protocols", {}).get("stdout", True)
    options = {"nthreads": threads, "memory": memory_bytes, "scratch_location": scratch, "return_output": wants_output}
    task = dict(
        task,
        molecule=psi4_core_potentials.label_ghosts(task["molecule"]),
        schema_name="qcschema_input",
        schema_version=1,
    )
    answer: Message = psi4.json_wrapper.run_json(dict(task, **options))
    return answer


def _compute_schema(psi4: Any, task: Message, threads: int, memory_bytes: int) -> Message:
    """Compute with Psi4 1.4 or later."""
    psi4.core.set_num_threads(threads, quiet=True)
    psi4.set_memory(memory_bytes, quiet=True)
    answer: Message = json.loads(psi4.schema_wrapper.run_qcschema(task).json())
    return answer


def failure(error: BaseException) -> Message:
    """Return an answer that says what went wrong."""
    words = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"success": False, "error": {"error_type": type(error).__name__, "error_message": words}}


# --- before the first task -------------------------------------------------------------------------------------------


def check(psi4: Any, task: Message) -> Message:
    """Return {"problem": ...}: what is wrong with a task's method, options or basis set, one line; empty if nothing."""
    import psi4_core_potentials
    import psi4_dispersion
    import psi4_frozen_core  # type: ignore[import-not-found]

    core = psi4.core
    core.set_output_file(os.devnull, False)
    method = task["model"]["method"].lower()
    try:
        problem = method_problem(psi4, method) or psi4_dispersion.problem(psi4, method)
        if not problem:
            molecule = core.Molecule.from_schema(psi4_core_potentials.label_ghosts(task["molecule"]))
            keywords = {name: value for name, value in task["keywords"].items() if name.lower() != "function_kwargs"}
            psi4.set_options(keywords)
            basis = task["model"].get("basis")
            if basis:
                core.BasisSet.build(molecule, "ORBITAL", basis)
                problem = psi4_core_potentials.problem(psi4, task) or psi4_frozen_core.problem(
                    psi4, molecule, method, basis
                )
    except Exception as error:  # noqa: BLE001 - whatever Psi4 raises is an answer
        problem = f"{type(error).__name__}: {' '.join(str(error).split())}"
    finally:
        core.clean()
        core.clean_options()
        core.clean_variables()
    return {"problem": problem}


def method_problem(psi4: Any, method: str) -> str:
    """Return what is wrong with the name of a method; names with a basis set or an extrapolation are left to Psi4."""
    from psi4.driver.procrouting.proc_table import procedures

    known = procedures["energy"]
    if "/" in method or method in known:
        return ""
    near = difflib.get_close_matches(method, known, n=2)
    return f"Psi4 {psi4.__version__} has no method {method!r}{'; near are ' if near else ''}{', '.join(near)}"


# --- threads ----------------------------------------------------------------------------------------------------------


def limit_blas(threads: int) -> None:
    """Set the threads of OpenBLAS, which Psi4's own setting does not reach; others follow Psi4's."""
    for library in blas_libraries():
        for name in ("openblas_set_num_threads", "openblas_set_num_threads64_"):
            function = getattr(library, name, None)
            if function is not None:
                function(threads)


@lru_cache(maxsize=None)  # noqa: UP033 - Python 3.9 has a shorter name
def blas_libraries() -> list[ctypes.CDLL]:
    """Return the OpenBLAS libraries that are loaded; looked for once in the life of the process."""
    maps = Path("/proc/self/maps")
    paths = set(re.findall(r"(/\S*openblas\S*\.so\S*)", maps.read_text())) if maps.exists() else set()
    return [ctypes.CDLL(path) for path in sorted(paths)]


if __name__ == "__main__":
    serve(**json.loads(sys.argv[1]))
