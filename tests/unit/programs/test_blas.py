"""The system's OpenBLAS is asked what it takes the processor for."""

import ctypes.util
import os
import subprocess
import sys

import pytest

from autotune.programs import blas


@pytest.mark.skipif(not ctypes.util.find_library("openblas"), reason="the system has no OpenBLAS")
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names of x86 processors")
@pytest.mark.parametrize("name", ["Haswell", "Prescott"])
def test_the_name_is_that_of_the_kernels_the_library_uses(name):
    ask = [sys.executable, "-c", "from autotune.programs import blas; print(blas.core())"]
    environment = {**os.environ, "OPENBLAS_CORETYPE": name}
    assert subprocess.run(ask, env=environment, capture_output=True, text=True, check=True).stdout.strip() == name


@pytest.mark.parametrize(
    ("names", "known"),
    [
        ("Prescott Nehalem Core2 Unknown", False),
        ("Haswell SkylakeX Zen Sandybridge Cooperlake neoversen1", True),
        ("", True),
    ],
)
def test_kernels_of_processors_without_avx_are_known_and_all_others_are_left_alone(names, known):
    assert {blas.knows_avx(name) for name in names.split(" ")} == {known}
