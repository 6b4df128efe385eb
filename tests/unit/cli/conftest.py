"""Commands in the test's own process, where no process is the claim: refusals, and answers that need no workers."""

from __future__ import annotations

import sys

import pytest
from click.testing import CliRunner
from commands import Finished

from autotune.cli import interruption, main


@pytest.fixture
def in_process(monkeypatch):
    """Return a function that runs a command here as `main` does, and returns what it left; see `commands.autotune`."""
    monkeypatch.setattr(interruption, "listen", lambda: None)  # the tests keep their own signals

    def call(*arguments, stdin="", cwd="."):
        monkeypatch.setattr(sys, "argv", ["autotune", *map(str, arguments)])
        monkeypatch.chdir(cwd)
        with CliRunner().isolation(input=stdin) as (output, errors, _):
            status = main.invoke()
        return Finished(status, output.getvalue().decode(), errors.getvalue().decode())

    return call
