"""The dispersion energy -sum C6/r^6 between atoms, as a program that autotune runs."""

from autotune.plugin import Estimate, ProgramFacts, hookimpl, register_harness


def harness():
    import numpy as np  # not above: plugins are loaded at each start of the command line
    from qcelemental.models.v2 import AtomicResult, Provenance
    from qcengine.exceptions import InputError
    from qcengine.programs.model import ProgramHarness

    class London(ProgramHarness):
        _defaults = {
            "name": "london",
            "scratch": False,  # writes no files
            "thread_safe": False,
            "thread_parallel": False,  # takes one core, whatever it is given
            "node_parallel": False,  # no MPI
            "managed_memory": False,  # cannot be told how much memory to use
        }

        @staticmethod
        def found(raise_error=False):
            return True  # for an executable: qcelemental.util.which("london", return_bool=True, ...)

        def get_version(self):
            return "1.0"

        def preflight(self, input_data):
            driver = input_data.specification.driver.value
            if driver != "energy":
                raise InputError(f"london has no {driver}; it has energies")

        def compute(self, input_data, config):
            self.preflight(input_data)
            c6 = input_data.specification.keywords.get("c6", 20.0)  # Eh bohr^6, of every pair of atoms
            xyz = input_data.molecule.geometry.reshape(-1, 3)
            distances = np.linalg.norm(xyz[:, None] - xyz[None, :], axis=-1)[np.triu_indices(len(xyz), 1)]
            energy = float(-np.sum(c6 / distances**6))
            return AtomicResult(
                input_data=input_data,
                molecule=input_data.molecule,
                properties={"return_energy": energy, "calcinfo_natom": len(xyz)},
                return_result=energy,
                success=True,
                provenance=Provenance(creator="london", version="1.0", routine="pairs"),
            )

    return London


@hookimpl
def autotune_register_programs():
    register_harness("london", harness)


@hookimpl
def autotune_program_facts():
    return [ProgramFacts(name="london", ghosts=False)]  # so that bsse cp and vmfc are refused


@hookimpl
def autotune_estimate(task):
    if task.method.program != "london":
        return None  # leave it to the others
    return Estimate(
        alone_s=1e-4 + 1e-8 * task.size.atoms**2,  # on one core of an idle machine
        parallel=0.0,  # share of it that divides over cores
        memory_gib=0.05,  # peak, exceeded in one task of twenty
        grant_gib=0.05,  # to tell the program
        spread=0.2,  # standard deviation of the logarithm of the time
        one_core=True,
    )
