"""Commands of `autotune` for tests, each a process of its own, forked from one that has imported what commands import.

Half of the time of a short command are imports, which are the same in all. What a command finds in its environment when
it starts (closed streams, users without a name, variables that libraries read) is tested with `python -m autotune`.
"""

from __future__ import annotations

import atexit
import io
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from typing import NamedTuple

IMPORTED = (
    *(
        "ase",
        "basis_set_exchange",
        "numpy",
        "psutil",
        "qcelemental.models",
        "qcmanybody",
        "rich.table",
        "scipy.optimize",
    ),
    *("autotune.plugin.manager", "autotune.session.session", "autotune.workers.pool", "autotune_plugins.program_pyscf"),
)
HEADER_BYTES = 2**20


class Finished(NamedTuple):
    """What a command left: its exit status, and what it printed."""

    status: int
    output: str
    errors: str


def autotune(*arguments, cwd=None, stdin="", environment=None, timeout_s=120):
    """Run a command as a shell would, without a terminal; return what it left.

    Args:
        arguments: What follows `autotune`.
        cwd: Where it runs; by default here.
        stdin: What it reads.
        environment: Variables it has besides those of this process.
        timeout_s: After which it is killed, and the test fails.
    """
    words = {
        "arguments": [str(argument) for argument in arguments],
        "cwd": str(cwd or Path.cwd()),
        "environment": {**os.environ, **{k: str(v) for k, v in (environment or {}).items()}},
    }
    with tempfile.TemporaryFile() as source, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        source.write(stdin.encode())
        source.seek(0)
        server = _server()
        server.settimeout(timeout_s)
        socket.send_fds(server, [json.dumps(words).encode()], [source.fileno(), out.fileno(), err.fileno()])
        pid = int(server.recv(64))
        try:
            status = int(server.recv(64))
        except TimeoutError:
            os.kill(pid, signal.SIGKILL)
            server.recv(64)
            raise
        out.seek(0)
        err.seek(0)
        return Finished(status, out.read().decode(), err.read().decode())


def answer(*arguments, **context):
    """Return what a command prints on standard output where it ends well, as it must; see `autotune`."""
    status, output, errors = autotune(*arguments, **context)
    assert status == 0, errors
    return output


@cache
def _server():
    """Return the connection to this process' server, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen([sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()])
    atexit.register(lambda: (ours.close(), process.wait()))
    return ours


def _serve(connection):
    from importlib import import_module

    from autotune.cli.main import VERBS

    for name in (*IMPORTED, *(f"autotune.cli.{verb}" for verb in VERBS)):
        import_module(name)
    while True:
        said, descriptors, *_ = socket.recv_fds(connection, HEADER_BYTES, 3)
        if not said:
            return
        if not (pid := os.fork()):
            connection.close()
            _be(json.loads(said), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        connection.send(str(os.waitstatus_to_exitcode(status)).encode())


def _be(words, descriptors):
    """Become the command."""
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        sys.stdin, sys.stdout = open(0, closefd=False), open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), errors="backslashreplace", write_through=True)
        os.environ.clear()
        os.environ.update(words["environment"])
        sys.path[1:1] = [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each not in sys.path]
        os.chdir(words["cwd"])
        sys.argv = ["autotune", *words["arguments"]]
        from autotune.cli.main import main

        main()
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
