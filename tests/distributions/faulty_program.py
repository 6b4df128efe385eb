"""A QCEngine program for tests of the executor: it computes nothing, and fails in the way its method names.

Installed as a distribution of its own (the dist-info beside it), so it enters by the same door as other plugins.
The energy is minus the number of electrons, so sums are exact. Methods: `nothing`; `sleep` and `spin` for `seconds`; or
a fault. All strike fragments listed in the keyword `at` (numbers of real atoms); keyword `once` names a file: the fault
strikes only until it exists.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from autotune.hookspecs import hookimpl


def harness():  # noqa: C901 - one fault after another
    from qcelemental.models.v2 import AtomicResult, Provenance
    from qcengine.exceptions import ConvergenceError, InputError
    from qcengine.programs.model import ProgramHarness

    faults = {
        "nothing": lambda: None,
        "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "exit": lambda: os._exit(7),
        "hang": lambda: time.sleep(3600),
        "hang-in-grandchild": _hang_in_grandchild,
        "raise": _raise,
    }
    timed = {"sleep": time.sleep, "spin": _spin}

    class Faulty(ProgramHarness):
        _defaults = {  # noqa: RUF012 - QCEngine's way
            "name": "faulty",
            "scratch": False,
            "thread_safe": False,
            "thread_parallel": True,
            "node_parallel": False,
            "managed_memory": True,
        }

        @staticmethod
        def found(raise_error=False):  # noqa: ARG004
            return True

        def get_version(self):
            return "1.0"

        def preflight(self, input_data):
            method = input_data.specification.model.method
            if method not in (*faults, *timed, "diverge"):
                raise InputError(f"method {method!r} is not known; known are {', '.join(faults)}")

        def compute(self, input_data, config):
            self.preflight(input_data)
            specification, molecule = input_data.specification, input_data.molecule
            keywords = specification.keywords
            real = int(sum(molecule.real))
            strikes = real in keywords.get("at", [real])
            once = keywords.get("once")
            if strikes and once:
                try:
                    Path(once).touch(exist_ok=False)
                except FileExistsError:
                    strikes = False
            if strikes and specification.model.method == "diverge":
                raise ConvergenceError("did not converge")
            if strikes and specification.model.method in timed:
                timed[specification.model.method](keywords["seconds"])
            elif strikes:
                faults[specification.model.method]()
            electrons = float(sum(z for z, r in zip(molecule.atomic_numbers, molecule.real, strict=True) if r))
            return AtomicResult(
                input_data=input_data,
                molecule=molecule,
                properties={"return_energy": -electrons, "calcinfo_natom": len(molecule.symbols)},
                return_result=-electrons,
                success=True,
                extras={"ncores": config.ncores, "memory": config.memory},
                provenance=Provenance(creator="faulty", version="1.0", routine="nothing"),
            )

    return Faulty()


def _spin(seconds):
    """Use CPU time, so that whatever else wants the core makes the task longer."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def _raise():
    raise RuntimeError("planted")


def _hang_in_grandchild():
    # The grandchild leaves the session and ignores SIGTERM; its parent waits for it.
    code = "import os,signal,time;os.setsid();signal.signal(15,signal.SIG_IGN);time.sleep(3600)"
    subprocess.run([sys.executable, "-c", code], check=False)


@hookimpl
def autotune_register_programs():
    import qcengine

    if "faulty" not in qcengine.list_all_programs():
        qcengine.register_program(harness())
