"""Distributions of somebody else: installed into a folder of their own, and used by commands that run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from places import DISTRIBUTIONS

# No network: the extra `test` brings what builds.
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")


def run_python(*arguments, cwd, check=True, **variables):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


def install(name, folder):
    """Install a distribution of tests/distributions, from a copy, since building leaves files beside the source.

    Returns the PYTHONPATH on which it is found.
    """
    shutil.copytree(DISTRIBUTIONS / name, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    run_python(*PIP, "--target", folder / "target", ".", cwd=folder / "source")
    return os.pathsep.join([str(folder / "target"), os.environ["PYTHONPATH"]])
