"""The system's OpenBLAS is asked what it takes the processor for."""

import ctypes.util
import os
import subprocess
import sys

import pytest

from autotune.programs import blas

ASK = "from autotune.programs import blas; print(blas.core())"


def asked(**environment):
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(not ctypes.util.find_library("openblas"), reason="the system has no OpenBLAS")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names of x86 processors")
@pytest.mark.parametrize("name", ["Haswell", "Prescott"])
def test_the_name_is_that_of_the_kernels_the_library_uses(name):
    assert asked(OPENBLAS_CORETYPE=name) == name


@pytest.mark.parametrize("name", ["Prescott", "Nehalem", "Core2", "Unknown"])
def test_kernels_of_processors_without_avx_are_known(name):
    assert not blas.knows_avx(name)


@pytest.mark.parametrize("name", ["Haswell", "SkylakeX", "Zen", "Sandybridge", "Cooperlake", "neoversen1", ""])
def test_all_other_kernels_are_left_alone(name):
    assert blas.knows_avx(name)
