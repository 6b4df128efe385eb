"""Threads of PySCF and of the BLAS libraries in this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from pyscf import lib

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@cache
def pools() -> ThreadpoolController:
    """Return the BLAS libraries of this process; looking for them takes milliseconds, so it is done once.

    Everything that brings a BLAS of its own is imported first.
    """
    from threadpoolctl import ThreadpoolController

    from autotune_plugins import pyscf_calculation  # noqa: F401

    return ThreadpoolController()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread, whose sums are always added in one order."""
    if lib.num_threads() == 1:
        yield
        return
    with lib.with_omp_threads(1), pools().limit(limits=1, user_api="blas"):
        yield
