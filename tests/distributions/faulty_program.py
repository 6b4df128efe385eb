"""A QCEngine program for tests of the executor: it computes nothing, and fails in the way its method names.

Installed as a distribution of its own (the dist-info beside it), so it enters by the same door as other plugins.
The energy is minus the number of electrons, so sums are exact. Methods: `nothing`; `sleep` and `spin` for `seconds`; or
a fault. All strike fragments listed in the keyword `at` (numbers of real atoms), with `share` only that share of them,
chosen by `seed`. Keyword `once` names a file: the fault strikes until it exists; `first` names a folder: it strikes
only the first attempt at each component. `allocate` holds `gib` for `seconds`, or stops with an error where it was
granted less; `allocate-anyway` does not look; `leak` keeps `gib` for each task. `log` names a file to which each task
that has computed adds a line. `last-words` says on every task's output how many atoms it has. Of tasks that it computes
together it stops, as programs do, at the first that fails, and at its time limit (`sleep`); `starts` names a file to
which each such start adds how many tasks it was given. `devices` names a file to which each task adds its process
and the GPU that it was given; with FAULTY_GPU set the program says that it computes on one.
"""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from autotune.plugin.facts import Gpu, ProgramFacts, several_on_a_gpu
from autotune.plugin.hookspecs import hookimpl


def harness():  # noqa: C901 - one fault after another
    from qcelemental.models.v2 import AtomicResult, Provenance
    from qcengine.exceptions import ConvergenceError, InputError, RandomError
    from qcengine.programs.model import ProgramHarness

    faults = {
        "nothing": lambda: None,
        "crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "exit": lambda: os._exit(7),
        "last-words": lambda: os.kill(os.getpid(), signal.SIGSEGV),
        "hang": lambda: time.sleep(3600),
        "hang-in-grandchild": _hang_in_grandchild,
        "stubborn": _stubborn,
        "raise": _raise,
        "garbage": lambda: None,
        "fall-back": lambda: None,
        "shout": _shout,
        "fill": lambda: None,
    }
    timed = {"sleep": time.sleep, "spin": _spin}
    held = ("allocate", "allocate-anyway", "leak")
    errors = {"diverge": ConvergenceError("did not converge"), "random": RandomError("a node was lost")}

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
            return os.environ.get("FAULTY_VERSION", "1.0")

        def preflight(self, input_data):
            method = input_data.specification.model.method
            if method not in (*faults, *timed, *held, *errors):
                raise InputError(f"method {method!r} is not known; known are {', '.join(faults)}")

        def compute_together(self, inputs, config, *, limit_s):
            keywords, method = inputs[0].specification.keywords, inputs[0].specification.model.method
            _note(keywords.get("starts"), len(inputs))
            results = []
            for each in inputs:
                if method == "sleep" and keywords["seconds"] * (len(results) + 1) > limit_s:
                    return [*results, None]
                try:
                    results.append(self.compute(each, config))
                except Exception:  # noqa: BLE001 - its words are asked for again
                    return [*results, None]
            return results

        def compute(self, input_data, config):
            self.preflight(input_data)
            specification, molecule = input_data.specification, input_data.molecule
            keywords, method = specification.keywords, specification.model.method
            real = int(sum(molecule.real))
            strikes = real in keywords.get("at", [real]) and _strikes(keywords, molecule.name)
            if method == "last-words":
                os.write(1, f"task of {real} atoms\n".encode())
            if strikes and method in errors:
                raise errors[method]
            if strikes and method in timed:
                timed[method](keywords["seconds"])
            elif strikes and method in held:
                _hold(method, keywords, config)
            elif strikes and method == "fill":
                _fill(Path(config.scratch_directory) / "big", keywords["gib"])
            elif strikes:
                faults[method]()
            electrons = float(sum(z for z, r in zip(molecule.atomic_numbers, molecule.real, strict=True) if r))
            _note(keywords.get("log"), molecule.name)
            _note(keywords.get("devices"), f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES')}")
            if strikes and method == "garbage":
                electrons = float("nan")
            extras = {"ncores": config.ncores, "memory": config.memory}
            if strikes and method == "fall-back":
                extras["autotune_fallback"] = "it was told so"
            return AtomicResult(
                input_data=input_data,
                molecule=molecule,
                properties={"return_energy": -electrons, "calcinfo_natom": len(molecule.symbols)},
                return_result=-electrons,
                success=True,
                extras=extras,
                provenance=Provenance(creator="faulty", version="1.0", routine="nothing"),
            )

    return Faulty()


def _note(path, line):
    if path:
        with Path(path).open("a") as file:
            file.write(f"{line}\n")


def _strikes(keywords, name):
    if random.Random(f"{keywords.get('seed')} {name}").random() >= keywords.get("share", 1.0):
        return False
    mark = keywords.get("once")
    if "first" in keywords:
        mark = Path(keywords["first"]) / re.sub(r"\W+", "-", name)
    try:
        if mark:
            Path(mark).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


_KEPT = []


def _hold(method, keywords, config):
    wanted_gib = keywords["gib"]
    if method == "allocate" and config.memory < wanted_gib:
        raise MemoryError(f"{wanted_gib} GiB wanted, {config.memory} GiB granted")
    block = bytearray()
    until = time.monotonic() + keywords.get("seconds", 0.0)
    while len(block) < wanted_gib * 2**30:
        # 2 GiB a second, so that whoever looks has a chance to see it.
        block += b"x" * 2**24
        time.sleep(0.008)
    time.sleep(max(0.0, until - time.monotonic()))
    if method == "leak":
        _KEPT.append(block)


def _fill(path, gib):
    """Write a scratch file; a full disk ends that with an OSError."""
    with path.open("wb") as file:
        for _ in range(int(gib * 2**10)):
            file.write(b"x" * 2**20)
            time.sleep(0.005)  # what else uses the disk is not the subject


def _shout():
    """Write what is no result to all that is open for output."""
    for stream in (1, 2):
        os.write(stream, bytes(range(256)) * 64 + b"\nno result\n")


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
def autotune_program_facts():
    gpu = Gpu() if os.environ.get("FAULTY_GPU") else None
    return [ProgramFacts(name="faulty", gpu=gpu, tunables=(several_on_a_gpu("faulty"),))] if gpu else []


@hookimpl
def autotune_register_programs():
    import qcengine

    if "faulty" not in qcengine.list_all_programs():
        qcengine.register_program(harness())


def _stubborn():
    """Leave behind a process that ignores SIGTERM and has a session of its own, then die."""
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "os.setsid() if os.fork() == 0 else os._exit(0)\n"
        "print('ready', flush=True); time.sleep(3600)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    child.stdout.readline()
    os.kill(os.getpid(), signal.SIGABRT)
