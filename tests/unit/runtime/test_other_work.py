"""What other programs take of the cores is what is neither idle nor the run's own."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace

import psutil

from autotune.machine import detection
from autotune.runtime.monitor import OtherWork

SPUN_S = 0.6


def test_the_work_of_another_program_is_seen_and_that_of_tasks_is_taken_off():
    machine = detection.detect()
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            watched, spinning = OtherWork(machine), psutil.Process(other.pid)
            before_s = sum(spinning.cpu_times()[:2])
            while (used_s := sum(spinning.cpu_times()[:2]) - before_s) < SPUN_S:
                time.sleep(0.05)
            others_s, without_s = watched.core_s(0.0), watched.core_s(used_s)
        finally:
            other.kill()
    if not machine.cores_limited_by.startswith("cgroup"):
        # Idle times are counted in hundredths of a second for each core.
        assert others_s >= used_s - 0.05 * (1 + machine.cores)
        assert others_s - used_s - 0.05 <= without_s < others_s


def test_under_a_quota_nothing_is_said_of_others():
    limited = replace(detection.detect(), cores_limited_by="cgroup quota")
    assert OtherWork(limited).core_s(0.0) == 0.0
