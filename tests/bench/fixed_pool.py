"""A many-body input on an engine with so many workers of one core: what a user of that engine would write.

Each component is `qcengine.compute` with one core and an even share of memory, in the order of the expansion. Engines:
`concurrent.futures`, `loky` (joblib's), `dask` (LocalCluster), `parsl` (HighThroughputExecutor), and `older`, the older
parallel executor's schedule: level by level, fresh processes for each.

    python tests/bench/fixed_pool.py INPUT OUTPUT WORKERS --engine dask --passes 2

Prints the seconds of each pass over the input; from the second on the engine is warm.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path


def register():
    from qcelemental.util import which

    from autotune_plugins import program_mopac, program_nwchem, program_pyscf, program_tblite

    for plugin in (program_mopac, program_nwchem, program_pyscf, program_tblite):
        plugin.autotune_register_programs()
    if which("psi4", return_bool=True):
        import process_psi4

        process_psi4.register()


def compute(task):
    import qcengine

    # A variable of the process, because some engines bring this function without its module.
    if os.environ.get("FIXED_POOL_READY") != str(os.getpid()):
        from autotune.programs import mpi

        register()
        mpi.set_environment(1, folder=tempfile.mkdtemp())  # what a program of one rank needs not to look for others
        os.environ["FIXED_POOL_READY"] = str(os.getpid())
    atomic_input, program, memory_gib = task
    config = {"ncores": 1, "memory": memory_gib, "retries": 0}
    result = qcengine.compute(atomic_input, program, raise_error=True, task_config=config)
    return {
        name: getattr(result.properties, f"return_{name}")
        for name in ("energy", "gradient", "hessian")
        if getattr(result.properties, f"return_{name}", None) is not None
    }


# --- engines: context managers that give a function from tasks to answers --------------------------------------------


@contextlib.contextmanager
def futures(workers):
    with ProcessPoolExecutor(workers) as pool:
        yield lambda tasks, _: list(pool.map(compute, tasks))


@contextlib.contextmanager
def older(workers):
    def by_level(tasks, levels):
        answers = {}
        for level in sorted(set(levels)):
            here = [number for number, of in enumerate(levels) if of == level]
            with ProcessPoolExecutor(workers) as pool:
                answers |= zip(here, pool.map(compute, [tasks[number] for number in here]), strict=True)
        return [answers[number] for number in range(len(tasks))]

    yield by_level


@contextlib.contextmanager
def loky(workers):
    from joblib.externals.loky import get_reusable_executor

    pool = get_reusable_executor(max_workers=workers, timeout=600)
    yield lambda tasks, _: list(pool.map(compute, tasks))
    pool.shutdown(kill_workers=True)


@contextlib.contextmanager
def dask(workers):
    from distributed import Client, LocalCluster

    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            memory_limit=0,
            local_directory=folder,
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield lambda tasks, _: client.gather(client.map(compute, tasks, pure=False, batch_size=1000))


@contextlib.contextmanager
def parsl(workers):
    # Parsl looks for its own commands in PATH, and brings functions of a script without what they refer to.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    import fixed_pool
    import parsl as engine
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    with tempfile.TemporaryDirectory() as folder:
        executor = HighThroughputExecutor(
            max_workers_per_node=workers, provider=LocalProvider(init_blocks=1, max_blocks=1), address="127.0.0.1"
        )
        with engine.load(
            Config(executors=[executor], run_dir=folder, strategy="none", strategy_period=0.1, initialize_logging=False)
        ):
            app = engine.python_app(fixed_pool.compute)
            yield lambda tasks, _: [future.result() for future in [app(task) for task in tasks]]


ENGINES = {"concurrent.futures": futures, "loky": loky, "dask": dask, "parsl": parsl, "older": older}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("answer", type=Path)
    parser.add_argument("workers", type=int)
    parser.add_argument("--engine", choices=ENGINES, default="concurrent.futures")
    parser.add_argument("--passes", type=int, default=1)
    arguments = parser.parse_args()
    # Before anything loads a library that reads them; workers inherit them.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    import psutil
    from qcelemental.models.v2 import AtomicInput
    from qcmanybody.models.v2 import ManyBodyInput
    from qcmanybody.v2 import ManyBodyComputer

    passes = []
    with ENGINES[arguments.engine](arguments.workers) as run:
        for _ in range(arguments.passes):
            started = time.perf_counter()
            many_body_input = ManyBodyInput(**json.loads(arguments.source.read_text()))
            computer = ManyBodyComputer.from_manybodyinput(many_body_input, build_tasks=False)
            memory_gib = 0.8 * psutil.virtual_memory().available / 2**30 / arguments.workers
            labels, tasks = [], []
            for level, label, molecule in computer.qcmb_core.iterate_molecules():
                fields = many_body_input.specification.specification[level].model_dump()
                program = fields.pop("program")
                fields = copy.deepcopy({**fields, "driver": computer.driver.value})
                fields.pop("schema_name", None)
                labels.append(label)
                tasks.append((AtomicInput(molecule=molecule, specification=fields), program, memory_gib))
            levels = [len(json.loads(label)[1]) for label in labels]
            values = dict(zip(labels, run(tasks, levels), strict=True))
            back = computer.qcmb_core.analyze(values)
            back["nbody_number"] = len(values)
            result = computer.get_results(external_results=back, component_results={})
            passes.append(round(time.perf_counter() - started, 4))
    arguments.answer.write_text(result.model_dump_json())
    print(json.dumps(passes))


if __name__ == "__main__":
    main()
