"""Several machines through Parsl: one worker on each node, which runs bundles with all the node's cores.

Rules: Parsl starts nodes, moves bundles and says which were lost; what runs on a node is `autotune.runtime.node`. A
configuration is a Python file that defines `config`, a `parsl.Config`; `slurm` makes one, `one_node` is for trying.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.base.errors import InputError, ResourceError
from autotune.base.text import one_line
from autotune.plugin.hookspecs import Backend, hookimpl
from autotune.schedule.bundles import MOST_S

if TYPE_CHECKING:
    from parsl.config import Config

DRAIN_S = MOST_S + 120.0  # before the end of a node's time no bundle is begun any more
CURE = "install it with `pip install 'qc-autotune[parsl]'`"


@hookimpl
def autotune_backends() -> Mapping[str, Callable[[Path | None], Backend]]:
    """Offer `parsl`."""
    return {"parsl": start}


def start(path: Path | None) -> Backend:
    """Return the nodes of a configuration, starting; without one, a single node on this machine.

    Raises:
        InputError: The file cannot be used, or gives a node more than one worker.
        ResourceError: Parsl is not installed or does not start.
    """
    _find_own_commands()
    try:
        from parsl.concurrent import ParslPoolExecutor
        from parsl.dataflow.dflow import DataFlowKernel
    except ImportError as error:
        raise ResourceError(f"Parsl cannot be loaded ({one_line(error)}); {CURE}") from error
    config = one_node() if path is None else _read(path)
    nodes = _nodes(config, str(path))
    _end_with_this_process(config)
    kernel = None
    try:
        # An interrupted start would leave processes that nobody knows.
        with _signals_deferred():
            # Not `parsl.load`: that would be the only one of its process.
            kernel = DataFlowKernel(config)
    except Exception as error:
        raise ResourceError(f"Parsl does not start ({type(error).__name__}: {one_line(error)})") from error
    except BaseException:
        if kernel is not None:
            kernel.cleanup()
        raise
    return Backend(ParslPoolExecutor(dfk=kernel), nodes, kernel.cleanup)


def _end_with_this_process(config: Config) -> None:
    """Have interchanges that are started as Parsl does it end with this process, and cancel its jobs."""
    from parsl.executors.high_throughput.executor import DEFAULT_INTERCHANGE_LAUNCH_CMD

    for executor in config.executors:
        if getattr(executor, "interchange_launch_cmd", None) == DEFAULT_INTERCHANGE_LAUNCH_CMD:
            executor.interchange_launch_cmd = [sys.executable, "-m", "autotune_plugins.parsl_interchange"]


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Let signals with a handler in Python wait until the end of the block; in the main thread, which gets them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    handlers = {
        number: handler for number in (signal.SIGINT, signal.SIGTERM) if callable(handler := signal.getsignal(number))
    }
    for number in handlers:
        signal.signal(number, lambda number, _: caught.append(number))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for first in caught[:1]:
            handlers[signal.Signals(first)](first, None)


def one_node(*, folder: str | None = None) -> Config:
    """Return a configuration with one node, this machine.

    Args:
        folder: Where Parsl keeps its files; a cache folder of this user by default.
    """
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.providers import LocalProvider

    executor = HighThroughputExecutor(
        label="autotune",
        address="127.0.0.1",
        max_workers_per_node=1,
        provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1),
    )
    return Config(executors=[executor], run_dir=folder or _folder(), strategy_period=0.2, initialize_logging=False)


def slurm(
    *,
    nodes: int,
    walltime: str,
    partition: str | None = None,
    account: str | None = None,
    worker_init: str = "",
    scheduler_options: str = "",
    folder: str | None = None,
    **provider: Any,
) -> Config:
    """Return a configuration for Slurm: so many jobs of one whole node each.

    A node that is nearly at the end of its time takes no bundle any more, and another job is submitted in its place.

    Args:
        nodes: Most nodes at once.
        walltime: Time of one job, as HH:MM:SS; half an hour and more, because the last seven minutes are for the end.
        partition: Partition.
        account: Account.
        worker_init: Shell commands that make autotune and the programs available on a node.
        scheduler_options: Further `#SBATCH` lines.
        folder: Where Parsl keeps its files, visible from all nodes; a cache folder in this user's home by default.
        provider: Further arguments of Parsl's `SlurmProvider`, such as `qos`, `constraint` or `mem_per_node`.

    Raises:
        InputError: The walltime is not HH:MM:SS, or too short.
    """
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor
    from parsl.launchers import SimpleLauncher
    from parsl.providers import SlurmProvider

    drain_s = _seconds(walltime) - DRAIN_S
    if drain_s < DRAIN_S:
        raise InputError(f"walltime {walltime!r} is too short for nodes that stop in time; give at least 00:30:00")
    executor = HighThroughputExecutor(
        label="autotune",
        max_workers_per_node=1,
        drain_period=int(drain_s),
        provider=SlurmProvider(
            partition=partition,
            account=account,
            walltime=walltime,
            worker_init=worker_init,
            scheduler_options=scheduler_options,
            nodes_per_block=1,
            init_blocks=nodes,
            min_blocks=0,
            max_blocks=nodes,
            exclusive=True,
            # A job step could bind the worker to one core; the script itself has the whole node.
            launcher=SimpleLauncher(),
            **provider,
        ),
    )
    return Config(executors=[executor], run_dir=folder or _folder(), initialize_logging=False)


def _read(path: Path) -> Config:
    from parsl.config import Config

    if not path.is_file():
        raise InputError(f"there is no file {path}; give the Python file that defines Parsl's config")
    try:
        found = runpy.run_path(str(path)).get("config")
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} does not run ({type(error).__name__}: {one_line(error)})") from error
    if not isinstance(found, Config):
        raise InputError(f"{path} defines no `config` that is a parsl.Config; see `autotune_plugins.backend_parsl`")
    return found


def _nodes(config: Config, path: str) -> int:
    """Return how many nodes a configuration has at most, each with one worker."""
    nodes = 0
    for executor in config.executors:
        workers = getattr(executor, "max_workers_per_node", 1)
        if workers != 1:
            raise InputError(
                f"{path} gives a node {workers} workers, but one runs bundles with all its cores; set"
                " max_workers_per_node=1"
            )
        provider = getattr(executor, "provider", None)
        nodes += provider.max_blocks * provider.nodes_per_block if provider else 1
    return max(1, nodes)


def _seconds(walltime: str) -> float:
    try:
        hours, minutes, seconds = map(int, walltime.split(":"))
    except ValueError as error:
        raise InputError(f"walltime {walltime!r} is not HH:MM:SS, such as 04:00:00") from error
    return 3600.0 * hours + 60.0 * minutes + seconds


def _find_own_commands() -> None:
    """Let Parsl find its own commands, which are beside the interpreter, also where that is not in PATH."""
    beside, path = str(Path(sys.executable).parent), os.environ.get("PATH", "")
    if beside not in path.split(os.pathsep):
        os.environ["PATH"] = os.pathsep.join(filter(None, [beside, path]))


def _folder() -> str:
    from autotune.base import json_files

    return str(json_files.cache_folder() / "parsl")
