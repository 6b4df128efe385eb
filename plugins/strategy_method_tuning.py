"""Strategy `method_tuning`: how a program is kept and its threads behave; results agree to the last digits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from autotune.base.types import Context, Parameter, Policy
from autotune.plugin.hookspecs import Strategy, hookimpl
from autotune.programs import blas

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


# OpenBLAS 0.3.3, which PySCF's wheels bring, takes processors newer than itself for ones without AVX, and so does the
# system's for programs that use it: Debian 12's knows none of Intel's that came after it (a water trimer's HF/6-31G* in
# Psi4 took 1.2 to 1.4 times as long). Any processor with AVX2 runs the Haswell kernels; the AVX-512 ones were wrong in
# several versions up to 0.3.18 (OpenBLAS #1955, #2168, #2986), so nothing is told to use them.
_OLD_OPENBLAS = frozenset({"pyscf"})
_SYSTEM_OPENBLAS = frozenset({"psi4", "nwchem", "mopac"})
_KERNELS = {"avx2": "Haswell", "avx512": "Haswell"}

# Programs that stay loaded in a process of their own beside the worker; see their plugins.
_SERVERS = frozenset({"psi4"})

# Programs leak in long-lived processes (Psi4 #3207, PySCF #1513). A fresh fork costs some 10 ms, so it may be often.
_RESIDENT_TASKS, _RESIDENT_GROWTH_GIB, _RESIDENT_AGE_S = 2000, 0.5, 3600.0


class MethodTuning(Strategy):
    """Owns how long workers and programs live, `passive_wait`, `one_blas_thread` and `blas_kernel`."""

    name = "method_tuning"

    def defaults(self, context: Context) -> Mapping[str, Parameter]:
        """Keep programs resident; let idle threads sleep; BLAS threads and OpenMP threads do not fight for cores."""
        del context
        return {"resident": True, "passive_wait": True, "one_blas_thread": True, "newest_blas_kernel": True}

    def space(self, context: Context) -> Mapping[str, BaseDistribution]:
        """Every switch either way."""
        from optuna.distributions import CategoricalDistribution

        return {name: CategoricalDistribution((True, False)) for name in self.defaults(context)}

    def apply(self, policy: Policy, params: Mapping[str, Parameter], context: Context) -> Policy:
        """Set how long a worker and its program live, how its threads wait, and what its BLAS is told."""
        programs = {method.program for method in context.methods}
        return replace(
            policy,
            tasks_per_worker=_RESIDENT_TASKS if params["resident"] else 1,
            worker_growth_gib=_RESIDENT_GROWTH_GIB if params["resident"] else 0.0,
            worker_age_s=_RESIDENT_AGE_S if params["resident"] else 0.0,
            resident_programs=bool(params["resident"]) or not programs & _SERVERS,
            passive_wait=bool(params["passive_wait"]),
            one_blas_thread=bool(params["one_blas_thread"]),
            blas_kernel=_kernel(programs, context.machine.vector) if params["newest_blas_kernel"] else "",
        )


def _kernel(programs: set[str], vector: str) -> str:
    """Return the kernels that OpenBLAS would not choose by itself, empty where it chooses well."""
    too_old = bool(programs & _OLD_OPENBLAS) or (bool(programs & _SYSTEM_OPENBLAS) and not blas.knows_avx(blas.core()))
    return _KERNELS.get(vector, "") if too_old else ""


@hookimpl
def autotune_strategies() -> Sequence[Strategy]:
    """Offer the strategy."""
    return [MethodTuning()]
