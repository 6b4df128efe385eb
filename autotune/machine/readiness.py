"""Whether this machine is fit to be measured now: what `calibrate` asks before it measures.

Rules: looks only; whoever calls decides. Other work, a throttled quota, heat and a lack of memory make a calibration
worthless; a shared host only makes it noisy, which the repeated runs of the default then show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from autotune.base.errors import ResourceError
from autotune.base.types import Machine
from autotune.machine import detection, examination

LOOK_S = 1.0
BUSY_SHARE = 0.15  # of the usable cores that other programs may use
THROTTLED_SHARE = 0.05  # of the control group's scheduling periods
FATAL = frozenset({"heat", "clock", "memory", "swap", "pinning"})  # topics of `autotune doctor`
NOTED = frozenset({"steal"})


def check(
    machine: Machine,
    *,
    force: bool,
    say: Callable[[str], None],
    root: Path = detection.ROOT,
    busy_shares: Callable[[float], Sequence[float]] | None = None,
) -> tuple[str, ...]:
    """Say what speaks against measuring now, and return it; takes about a second.

    Args:
        machine: What may be used.
        force: Only say it.
        say: Called with one line for each thing.
        root: Folder that holds `proc` and `sys`.
        busy_shares: Watches for so many seconds and returns how busy each usable core was, 0 to 1.

    Raises:
        ResourceError: The machine is loaded, throttled or short of memory, and `force` was not given.
    """
    faults = []
    before = _periods(root)
    shares = (busy_shares or _busy_shares)(LOOK_S)
    after = _periods(root)
    throttled, periods = after[0] - before[0], after[1] - before[1]
    if periods and throttled / periods > THROTTLED_SHARE:
        faults.append("the control group's CPU quota is used up; stop what else runs in it, or raise the quota")
    busy = sum(shares) / max(1, len(shares))
    # Under a quota the processors are shared with other groups, whose work takes nothing from this one's share.
    if busy > BUSY_SHARE and not machine.cores_limited_by.startswith("cgroup"):
        faults.append(f"other programs use {busy:.0%} of the cores; stop them or wait until they are done")
    for finding in examination.examine(machine, root=root):
        if finding.severity == "warning" and finding.topic in FATAL:
            faults.append(f"{finding.text}; {finding.cure}")
        elif finding.severity == "warning" and finding.topic in NOTED:
            say(f"note: {finding.text}")
    if faults and not force:
        raise ResourceError(f"measurements taken now would mislead: {'; '.join(faults)} (or measure with --force)")
    for fault in faults:
        say(f"warning: {fault}")
    return tuple(faults)


def _periods(root: Path) -> tuple[float, float]:
    """Return scheduling periods in which a control group of ours was stopped, and all of them."""
    groups = [detection.read_table(folder / "cpu.stat") for _, folder in detection.cgroup_folders("cpu", root)]
    counts = [(group.get("nr_throttled", 0.0), group.get("nr_periods", 0.0)) for group in groups]
    return sum(one for one, _ in counts), sum(other for _, other in counts)


def _busy_shares(seconds: float) -> list[float]:
    import psutil

    shares = psutil.cpu_percent(interval=seconds, percpu=True)
    return [shares[cpu] / 100 for cpu in detection.usable_cpus() if cpu < len(shares)] or [s / 100 for s in shares]
