"""Claims about `autotune.workers.meter`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from autotune.machine import process
from autotune.workers.meter import Meter

# What a process allocates and lets go of again, between two starts of a meter; prints peaks and what is held.
PEAKS = """
import os, sys
from autotune.workers.meter import Meter
def measured():
    meter = Meter()
    meter.start()
    held = b"x" * 2**27
    high = meter.read().peak_gib
    del held
    meter.start()
    used = meter.read()
    print(high, used.peak_gib, used.resident_gib, flush=True)
if "forked" in sys.argv:
    pid = os.fork()
    if not pid:
        measured()
        os._exit(0)
    os.waitpid(pid, 0)
else:
    measured()
"""
# Starts one child after another, which hold so many MiB; prints the peak that the meter saw of each.
CHILDREN_MIB = ("900", "600", "1")
CHILDREN = """
import subprocess, sys
from autotune.workers.meter import Meter
meter = Meter()
for mib in sys.argv[1:]:
    meter.start()
    subprocess.run([sys.executable, "-c", "held = b'x' * (%s * 2**20)" % mib], check=True)
    print(meter.read().peak_gib)
"""
RESIDENT = """
import sys
held = bytearray(40 * 2**20)
end = __import__("time").process_time() + 0.3
while __import__("time").process_time() < end: pass
print("ready", flush=True)
sys.stdin.read()
"""


def test_the_resident_set_of_this_process_grows_with_what_it_touches():
    meter = Meter()
    meter.start()
    before = meter.read().resident_gib
    held = b"x" * 2**26
    assert meter.read().resident_gib - before == pytest.approx(len(held) / 2**30, rel=0.2)


@pytest.mark.parametrize("how", ["forked", "its own program"])
def test_the_peak_starts_anew_with_each_start(how):
    # A program that this process starts also inherits the peak of this process, a worker that is forked does not.
    block = b"x" * 2**28
    done = subprocess.run([sys.executable, "-c", PEAKS, how], capture_output=True, text=True, check=True)
    del block
    high_gib, low_gib, held_gib = map(float, done.stdout.split())
    assert high_gib == pytest.approx(held_gib + 0.125, abs=0.02)
    assert low_gib == pytest.approx(held_gib, abs=0.01)


def test_a_child_that_stays_counts_with_its_parents_peak_cpu_and_memory():
    meter = Meter()
    meter.start()
    before = meter.read()
    child = subprocess.Popen([sys.executable, "-c", RESIDENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "ready\n"
        assert child.pid in process.descendants()
        used = meter.read()
        assert used.cpu_s >= 0.25
        assert used.resident_gib - before.resident_gib >= 0.035
        assert used.peak_gib >= before.resident_gib + 0.035
        meter.start()
        assert meter.read().cpu_s < 0.1
    finally:
        child.communicate()


def test_the_peak_of_a_child_that_ended_is_its_own_not_that_of_one_before_it():
    # In a process of its own: what a process starts has at least its peak, and that of this one grows test by test.
    done = subprocess.run([sys.executable, "-c", CHILDREN, *CHILDREN_MIB], capture_output=True, text=True, check=True)
    peaks = list(map(float, done.stdout.split()))
    assert peaks[0] >= 900 / 1024
    assert 600 / 1024 <= peaks[1] < 800 / 1024
    assert peaks[2] < 500 / 1024


def test_a_meter_leaves_no_file_open():
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        Meter().start()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
