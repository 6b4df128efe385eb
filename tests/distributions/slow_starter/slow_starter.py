"""A program of somebody else, for tests: it has no ghost atoms, stays loaded beside its worker, and starts slowly.

The energy is minus the number of electrons. The file that the variable SLOW_STARTER_LOG names gets a line for each
start and each task. It does not converge where the keyword `stuck` is given. It counts on its `fingers`, in its `head`
just as well, and is off by 1e-6 Eh where it may `guess`.
"""

import os
from pathlib import Path

from autotune.plugin import BESIDE_WORKER, ProgramFacts, Tunable, choices, hookimpl, register_harness

SETTINGS = {}


def note(word):
    with Path(os.environ["SLOW_STARTER_LOG"]).open("a") as log:
        log.write(f"{word} {os.getpid()}\n")


def harness():
    from qcelemental.models.v2 import AtomicResult, Provenance
    from qcengine.programs.model import ProgramHarness

    class SlowStarter(ProgramHarness):
        _defaults = {  # noqa: RUF012 - QCEngine's way
            "name": "slow_starter",
            "scratch": False,
            "thread_safe": False,
            "thread_parallel": False,
            "node_parallel": False,
            "managed_memory": True,
        }

        @staticmethod
        def found(raise_error=False):  # noqa: ARG004
            return True

        def get_version(self):
            return "1.0"

        def start(self):
            note("start")

        def tune(self, settings, shared):  # noqa: ARG002
            SETTINGS.clear()
            SETTINGS.update(settings)

        def compute(self, input_data, config):
            how = SETTINGS.get("how", "fingers")
            note(f"task {config.memory:.3f} {how}")
            if "stuck" in input_data.specification.keywords:
                raise RuntimeError("the wheels spin in place")
            energy = -float(input_data.molecule.nelectrons()) + (1e-6 if how == "guess" else 0.0)
            return AtomicResult(
                input_data=input_data,
                molecule=input_data.molecule,
                properties={"return_energy": energy},
                return_result=energy,
                success=True,
                provenance=Provenance(creator="slow_starter", version="1.0", routine="count"),
            )

    return SlowStarter


@hookimpl
def autotune_program_facts():
    return [
        ProgramFacts(
            name="slow_starter",
            ghosts=False,
            stays=BESIDE_WORKER,
            start_s=30.0,
            grant_gib=lambda arrays_gib: 0.777 + arrays_gib,
            error_words={"convergence": "wheels spin"},
            usual=True,
            tunables=(
                Tunable(
                    name="how",
                    about="what it counts with",
                    distribution=choices("fingers", "head", "guess"),
                    default="head",
                    untouched="fingers",
                ),
                Tunable(
                    name="speed",
                    about="does nothing for what it computes",
                    distribution=choices(1, 2),
                    default=2,
                    untouched=1,
                    matters=lambda method: method.method != "count",
                ),
            ),
        )
    ]


@hookimpl
def autotune_register_programs():
    register_harness("slow_starter", harness)
