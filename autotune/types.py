"""The records that travel through autotune: frozen, slotted, keyword-only, units in the names.

Rules: no behaviour beyond properties that restate the fields; no imports from other rooms; no numpy. JSON forms live
in `store.py`, which is the only reader and writer of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this process may use, and what identifies the hardware.

    Attributes:
        cores: Physical cores this process may use (affinity, cgroup quota and physical cores, the smallest).
        memory_gib: Memory this process may use (physical, cgroup and resource limits, the smallest).
        cpu_model: Marketing name of the processor.
        architecture: Instruction set, such as `x86_64`.
        numa_nodes: NUMA nodes the usable cores lie on.
        l3_mib: Last-level cache of one socket; 0 where it cannot be read.
        vector: Widest vector instructions: `avx512`, `avx2`, `avx`, `sse2`, `neon`, or an empty text.
        key: Short text that is equal for machines on which the same tuning is best; made from the facts above.
        cores_limited_by: What set `cores`: `physical`, `affinity`, `cgroup v1`, `cgroup v2`, `slurm`, `option`.
        memory_limited_by: What set `memory_gib`: `physical`, `cgroup v1`, `cgroup v2`, `rlimit`, `slurm`, `option`.
    """

    cores: int
    memory_gib: float
    cpu_model: str
    architecture: str
    numa_nodes: int
    l3_mib: float
    vector: str
    key: str
    cores_limited_by: str
    memory_limited_by: str
