"""A real Slurm on this machine: its controller and two nodes, from the system's packages, in a folder of their own.

Nothing of the system's configuration is used or changed, and all that is started is ended by its own process id. Nodes
say that they have 64 processors, as job scripts of the guide ask for; fewer may be used, and autotune finds how many.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue", "scontrol")
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=autotune
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldPort={port}
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmdTimeout=10
KillWait=10
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
{nodes}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=n1,n2 MaxTime=INFINITE State=UP PriorityTier=9
"""


def missing() -> list[str]:
    """Return the commands of Slurm that are not installed, or why it cannot be started."""
    lacking = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    return lacking or ([] if os.geteuid() == 0 else ["the rights of root"])


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


@dataclass(frozen=True)
class Slurm:
    """A running Slurm.

    Attributes:
        folder: Its files.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _path()}

    def call(self, *command: object, check: bool = True) -> str:
        done = subprocess.run(
            [*map(str, command)], env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )
        if check and done.returncode:
            raise RuntimeError(f"{command}: {done.stdout}{done.stderr}")
        return done.stdout.strip()

    def jobs(self) -> dict[int, str]:
        rows = (line.split() for line in self.call("squeue", "--noheader", "--format=%i %T").splitlines())
        return {int(number): state for number, state in rows}

    def state(self, job: int) -> str:
        """Return the state of a job, also of one that has ended a short while ago; empty for none."""
        shown = self.call("scontrol", "--oneliner", "show", "job", job, check=False)
        return next((word.partition("=")[2] for word in shown.split() if word.startswith("JobState=")), "")

    def states(self) -> dict[str, str]:
        rows = (line.split() for line in self.call("sinfo", "--noheader", "--Node", "--format=%N %t").splitlines())
        return dict(rows)

    def submit(self, script: Path, *options: str) -> int:
        said = self.call("sbatch", "--parsable", f"--chdir={script.parent}", *options, script)
        return int(said.partition(";")[0])

    def start_node(self, node: str) -> None:
        self.call("slurmd", "-N", node, "-f", self.folder / "slurm.conf")

    def crash_node(self, node: str) -> None:
        """End the daemon of a node and all that runs below it, at once, as when the machine fails."""
        daemon = psutil.Process(int((self.folder / f"{node}.pid").read_text()))
        steps = [each for each in psutil.process_iter(["name", "cmdline"]) if _is_step_of(each, self.folder, node)]
        doomed = [daemon, *steps, *(child for step in steps for child in step.children(recursive=True))]
        for each in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def steps(self, job: int) -> list[psutil.Process]:
        found = []
        for each in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if f"slurmstepd: [{job}." in " ".join(each.cmdline()):
                    found.append(each)
        return found

    def processes(self) -> list[psutil.Process]:
        """Return what the jobs of all nodes have running."""
        steps = [each for each in psutil.process_iter() if any(_is_step_of(each, self.folder, node) for node in NODES)]
        return [child for step in steps for child in step.children(recursive=True)]


def _is_step_of(process: psutil.Process, folder: Path, node: str) -> bool:
    """Return whether a process is what a node's daemon has started for a job; other Slurms may run beside this one."""
    with contextlib.suppress(psutil.Error):
        if process.name() != "slurmstepd":
            return False
        return any(f"{folder}/{node}/" in opened.path for opened in process.open_files()) or _is_told(
            process, {"SLURM_CONF": f"{folder}/slurm.conf", "SLURMD_NODENAME": node}
        )
    return False


def _is_told(process: psutil.Process, variables: dict[str, str]) -> bool:
    """Return whether what a step has started finds these variables in its environment."""
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            return variables.items() <= child.environ().items()
    return False


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    """Start a Slurm in a folder and end it with the block, its jobs with it."""
    slurm = Slurm(folder)
    for name in ("state", *NODES):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    ports = _free_ports(1 + len(NODES))
    host = socket.gethostname().partition(".")[0]
    memory_mib = psutil.virtual_memory().total // 2**20 // len(NODES)
    nodes = "\n".join(
        f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=64 RealMemory={memory_mib}"
        for node, port in zip(NODES, ports[1:], strict=True)
    )
    (folder / "slurm.conf").write_text(CONFIGURATION.format(host=host, folder=folder, port=ports[0], nodes=nodes))
    options = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid"}
    options |= {"seed-file": "munge.seed", "log-file": "munged.log"}
    try:
        slurm.call("munged", *(f"--{name}={folder / file}" for name, file in options.items()))
        slurm.call("slurmctld", "-f", folder / "slurm.conf")
        for node in NODES:
            slurm.start_node(node)
        wait(lambda: set(slurm.states().values()) == {"idle"}, 60.0, "the nodes are not idle")
        yield slurm
    finally:
        slurm.call("scancel", "--user=root", check=False)
        with contextlib.suppress(TimeoutError):
            wait(lambda: not slurm.processes(), 30.0, "jobs do not end")
        for name in (*NODES, "slurmctld", "munged"):
            _end(folder / f"{name}.pid")


def _end(pid_file: Path) -> None:
    with contextlib.suppress(OSError, ValueError, psutil.NoSuchProcess, psutil.TimeoutExpired):
        process = psutil.Process(int(pid_file.read_text()))
        process.terminate()
        process.wait(10)


def wait(until, limit_s: float, complaint: str) -> None:
    """Wait until something is so; raises TimeoutError where it does not come to be."""
    deadline = time.monotonic() + limit_s
    while not until():
        if time.monotonic() > deadline:
            raise TimeoutError(complaint)
        time.sleep(0.2)


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
