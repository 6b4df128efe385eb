"""Our end of a resident Psi4: starts `psi4_server.py` with Psi4's own Python, asks, learns how it ended.

Rules: knows pipes and processes, not chemistry. One request at a time. A server that ends takes its request with it,
as a `ServerEndedError` that says how; whoever asked starts another.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune_plugins.psi4_server import receive, send

if TYPE_CHECKING:
    from autotune_plugins.psi4_installation import Installation

_ENDING_LIMIT_S = 10.0


class ServerEndedError(Exception):
    """The server ended before it answered; `status` is its exit status, negative for a signal."""

    def __init__(self, status: int | None) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


class Server:
    """One Psi4 process of this worker.

    Args:
        installation: Which Psi4.

    Attributes:
        owner: Process that started it; a fork of that process must start its own.
    """

    def __init__(self, installation: Installation) -> None:
        self.owner = os.getpid()
        requests_read, requests_write = os.pipe()
        answers_read, answers_write = os.pipe()
        arguments = {"folder": installation.folder, "requests_fd": requests_read, "answers_fd": answers_write}
        program = Path(__file__).with_name("psi4_server.py")
        try:
            self._process = subprocess.Popen(
                [installation.python, str(program), json.dumps(arguments)],
                pass_fds=(requests_read, answers_write),
                stdin=subprocess.DEVNULL,
            )
        finally:
            os.close(requests_read)
            os.close(answers_write)
        self._requests, self._answers = os.fdopen(requests_write, "wb"), os.fdopen(answers_read, "rb")
        self._version: str | None = None

    @property
    def version(self) -> str:
        """Version of the Psi4 that answers; waits until it is loaded."""
        if self._version is None:
            self._version = str(self._received()["version"])
        return self._version

    def ask(self, what: str, **details: object) -> dict[str, Any]:
        """Return the answer to a request; see `psi4_server`.

        Raises:
            ServerEndedError: There will be no answer.
        """
        _ = self.version  # the first message is not an answer
        try:
            send(self._requests, {"ask": what, **details})
        except BrokenPipeError as error:
            raise ServerEndedError(self._process.wait()) from error
        return self._received()

    def close(self) -> None:
        """End the process."""
        with contextlib.suppress(BrokenPipeError):
            self._requests.close()
        self._answers.close()
        try:
            self._process.wait(_ENDING_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _received(self) -> dict[str, Any]:
        message: dict[str, Any] | None = receive(self._answers)
        if message is None:
            raise ServerEndedError(self._process.wait())
        return message
