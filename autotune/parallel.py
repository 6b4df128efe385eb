"""The older parallel executor's interface, where its users look for it; see `compat/executor.py`.

from autotune.parallel import ParallelConfig, ParallelManyBodyExecutor      # was: qcmanybody.parallel
"""

from __future__ import annotations

from autotune.compat.adaptive import AdaptiveParallelConfig, HybridParallelConfig, MethodAwareConfig
from autotune.compat.balance import DynamicLoadBalancer, Placement
from autotune.compat.configuration import ParallelConfig, Resolved
from autotune.compat.executor import FragmentTask, ParallelManyBodyExecutor

__all__ = [
    "AdaptiveParallelConfig",
    "DynamicLoadBalancer",
    "FragmentTask",
    "HybridParallelConfig",
    "MethodAwareConfig",
    "ParallelConfig",
    "ParallelManyBodyExecutor",
    "Placement",
    "Resolved",
]
