"""The older parallel executor's interface, where its users look for it; see `compat/executor.py`.

from autotune.parallel import ParallelConfig, ParallelManyBodyExecutor      # was: qcmanybody.parallel
"""

from __future__ import annotations

from autotune.compat.configuration import (
    AdaptiveParallelConfig,
    HybridParallelConfig,
    MethodAwareConfig,
    ParallelConfig,
    Resolved,
)
from autotune.compat.executor import DynamicLoadBalancer, FragmentTask, ParallelManyBodyExecutor, Placement

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
