"""What the system's OpenBLAS takes the processor for: an old one takes a new processor for one without AVX.

Rules: the library is loaded in a process of its own, because it starts a thread for each core where it is loaded.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

_LIMIT_S = 20.0
_ASK = """
import ctypes
library = ctypes.CDLL("libopenblas.so.0")
library.openblas_get_corename.restype = ctypes.c_char_p
print(library.openblas_get_corename().decode())
"""
# Of OpenBLAS's names of x86 processors, those without AVX (its cpuid_x86.c); it falls back on the first one.
_WITHOUT_AVX = {
    "prescott",
    "core2",
    "penryn",
    "dunnington",
    "nehalem",
    "atom",
    "nano",
    "opteron",
    "opteron_sse3",
    "barcelona",
    "bobcat",
    "unknown",
}


@cache
def core() -> str:
    """Return OpenBLAS's name of the processor whose kernels programs that use the system's BLAS get, such as `Zen`.

    Empty where the system has no OpenBLAS or it does not say. Takes some 20 ms, once a process.
    """
    command = [sys.executable, "-I", "-S", "-c", _ASK]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def knows_avx(core: str) -> bool:
    """Return whether a kernel uses AVX; an empty name says nothing and counts as yes."""
    return core.lower() not in _WITHOUT_AVX
