"""A many-body input on `concurrent.futures` with so many workers: what a user would write with the standard library.

Each component is `qcengine.compute` with one core and an even share of memory, in the order of the expansion.

    python tests/bench/fixed_pool.py INPUT OUTPUT WORKERS
"""

from __future__ import annotations

import copy
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def prepare():
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"
    register()


def register():
    from autotune_plugins import program_pyscf, program_tblite
    from qcelemental.util import which

    program_pyscf.autotune_register_programs()
    program_tblite.autotune_register_programs()
    if which("psi4", return_bool=True):
        sys.path.insert(0, str(Path(__file__).parent))
        import process_psi4

        process_psi4.register()


def compute(task):
    import qcengine

    atomic_input, program, memory_gib = task
    config = {"ncores": 1, "memory": memory_gib, "retries": 0}
    result = qcengine.compute(atomic_input, program, raise_error=True, task_config=config)
    return {
        name: getattr(result.properties, f"return_{name}")
        for name in ("energy", "gradient", "hessian")
        if getattr(result.properties, f"return_{name}", None) is not None
    }


def main():
    source, answer, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with ProcessPoolExecutor(workers, initializer=prepare) as pool:
        import psutil
        from qcelemental.models.v2 import AtomicInput
        from qcmanybody.models.v2 import ManyBodyInput
        from qcmanybody.v2 import ManyBodyComputer

        many_body_input = ManyBodyInput(**json.loads(Path(source).read_text()))
        computer = ManyBodyComputer.from_manybodyinput(many_body_input, build_tasks=False)
        memory_gib = 0.8 * psutil.virtual_memory().available / 2**30 / workers
        labels, tasks = [], []
        for level, label, molecule in computer.qcmb_core.iterate_molecules():
            fields = many_body_input.specification.specification[level].model_dump()
            program = fields.pop("program")
            fields = copy.deepcopy({**fields, "driver": computer.driver.value})
            fields.pop("schema_name", None)
            labels.append(label)
            tasks.append((AtomicInput(molecule=molecule, specification=fields), program, memory_gib))
        values = dict(zip(labels, pool.map(compute, tasks), strict=True))
    back = computer.qcmb_core.analyze(values)
    back["nbody_number"] = len(values)
    result = computer.get_results(external_results=back, component_results={})
    Path(answer).write_text(result.model_dump_json())


if __name__ == "__main__":
    main()
