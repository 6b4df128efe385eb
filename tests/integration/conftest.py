"""What tests of whole runs share: nothing is left behind, one session for many tests, commands that get signals."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time

import commands
import pytest
from processes import below

from autotune.machine import process
from autotune.session.session import Options, Session


def _wait_until(condition, limit_s=60.0):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def wait_until():
    """Return a function that waits until a condition holds, and fails where it does not."""
    return _wait_until


@contextlib.contextmanager
def _nothing_left(scratch):
    commands._server()  # goes on to live
    before = {each.pid for each in below()}
    yield
    _wait_until(lambda: {each.pid for each in below()} <= before, limit_s=5.0)
    assert list(scratch.iterdir()) == []


@pytest.fixture
def nothing_is_left_behind(request, tmp_path, monkeypatch):
    """Find neither a process nor a file of a run after a test, unless what it runs in goes on to live."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with contextlib.nullcontext() if "warm" in request.fixturenames else _nothing_left(scratch):
        yield


@pytest.fixture(scope="module")
def steady_environment():
    """Keep what differs from test to test out of the workers' environment, so that workers stay warm."""
    made = process.worker_environment

    def steady(**how):
        return {k: v for k, v in made(**how).items() if k not in ("PYTEST_CURRENT_TEST", "AUTOTUNE_HOME")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "worker_environment", steady)
        yield


@pytest.fixture(scope="module")
def warm(tmp_path_factory, steady_environment):
    """A session for all tests of a file that need none of their own; at its end nothing is left behind."""
    del steady_environment
    scratch = tmp_path_factory.mktemp("warm")
    with _nothing_left(scratch), Session(Options(journal="none", scratch=str(scratch))) as session:
        yield session


@pytest.fixture
def begin(tmp_path):
    """Return a function that begins `autotune run` with an input and options; `result.json` will be beside."""

    def begin(fields, *options):
        (tmp_path / "input.json").write_text(json.dumps(fields))
        return subprocess.Popen(
            [sys.executable, "-m", "autotune", "run", "input.json", "-o", "result.json", *options],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # In the background or under nohup signals are ignored, and autotune leaves it so; here they must arrive.
            preexec_fn=lambda: [signal.signal(s, signal.SIG_DFL) for s in (signal.SIGHUP, signal.SIGINT)],  # noqa: PLW1509
        )

    return begin
