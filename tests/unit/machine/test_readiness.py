"""A machine is measured only when it is fit for that; here it is a folder of files."""

from __future__ import annotations

import dataclasses
import shutil
from types import SimpleNamespace

import pytest
from node_files import meminfo, write, write_healthy

from autotune.base.errors import ResourceError
from autotune.machine import detection, examination, readiness
from autotune.machine.readiness import BUSY_SHARE, FATAL, NOTED

QUIET = (0.0, 0.1, 0.02, 0.0)
BUSY = (1.0, 1.0, 1.0, 1.0)
HEAT = "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count"
POWER_SAVING = {f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_max_freq": 1500000 for cpu in range(4)}
LITTLE_MEMORY = {"proc/meminfo": meminfo(available_gib=2)}
SWAPPING = {"proc/meminfo": meminfo(available_gib=2, swap_gib=4)}
WITHHELD = {"proc/stat": "cpu 1010 0 1000 9000 0 0 0 10 0 0"}


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function that checks a healthy machine with other files, and returns what is said.

    `watched` are files that are written while the cores are watched, `busy` those while one of them is kept busy.
    """
    write_healthy(tmp_path, monkeypatch)

    def checked(files=None, *, force=False, shares=QUIET, watched=None, busy=None, variables=None, **limits):
        said = []
        write(tmp_path, files or {})
        for name, value in (variables or {}).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(examination, "_spin", lambda _seconds: write(tmp_path, busy or {}))
        here = dataclasses.replace(detection.detect(root=tmp_path), **limits)

        def watch(_seconds):
            write(tmp_path, watched or {})
            return shares

        readiness.check(here, force=force, say=said.append, root=tmp_path, busy_shares=watch)
        return said

    return checked


def assert_unfit(check, words, **machine):
    """Check that a machine is refused in one line with what is amiss and the cure, and with force this is only said."""
    with pytest.raises(ResourceError) as caught:
        check(**machine)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("measurements taken now would mislead: ")
    assert words in message
    assert message.endswith(" (or measure with --force)")
    assert any(line.startswith(f"warning: {words}") for line in check(**machine, force=True))


def in_a_group(periods, throttled):
    """Return the files of a control group that was stopped in so many of its scheduling periods."""
    return {
        "proc/self/cgroup": "0::/",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate",
        "sys/fs/cgroup/cpu.stat": f"nr_periods {periods}\nnr_throttled {throttled}",
    }


@pytest.mark.parametrize(
    ("machine", "words"),
    [
        ({"files": POWER_SAVING}, "the clock is limited to 1500 of 3000 MHz; end the power-saving profile"),
        (
            {"files": {HEAT: 3}, "busy": {HEAT: 4}},
            "heat slows the processor down at this moment; improve the cooling",
        ),
        ({"files": LITTLE_MEMORY}, "2.0 of 32.0 GiB are free; stop other programs"),
        ({"files": SWAPPING}, "4.0 GiB of swap in use; stop other programs"),
        (
            {"variables": {"OMP_PROC_BIND": "close"}},
            "OMP_PROC_BIND set: all workers may inherit one core; unset OMP_PROC_BIND",
        ),
        (
            {"shares": (1.0, 0.6, 0.0, 0.0)},
            "other programs use 40% of the cores; stop them or wait until they are done",
        ),
        ({"shares": 4 * (BUSY_SHARE + 0.01,)}, "other programs use 16% of the cores"),
        ({"shares": BUSY, "cores_limited_by": "affinity"}, "other programs use 100% of the cores"),
        *(
            (
                {"files": in_a_group(1000, 0), "watched": in_a_group(1100, stopped)},
                "the control group's CPU quota is used up; stop what else runs in it, or raise the quota",
            )
            for stopped in (6, 100)
        ),
    ],
)
def test_a_machine_that_is_not_fit_is_refused_with_the_cure_or_with_force_warned_of(check, machine, words):
    assert_unfit(check, words, **machine)


@pytest.mark.parametrize(
    "machine",
    [
        {},
        {"shares": 4 * (0.0,)},
        {"shares": 4 * (BUSY_SHARE,)},
        # Under a limit of cores other programs' work does not count.
        {"shares": BUSY, "cores_limited_by": "cgroup v1"},
        {"shares": BUSY, "cores_limited_by": "cgroup v2"},
        # What a control group was stopped for before the look does not count.
        *({"files": in_a_group(1000, 900), "watched": in_a_group(1000 + more, 900)} for more in (0, 10, 100)),
        *({"files": in_a_group(1000, 0), "watched": in_a_group(1100, stopped)} for stopped in (0, 5)),
    ],
)
def test_of_a_machine_that_is_fit_nothing_is_said(check, machine):
    assert check(**machine) == []


def test_all_faults_are_named_at_once(check):
    faults = {"files": LITTLE_MEMORY, "shares": BUSY, "variables": {"OMP_PROC_BIND": "close"}}
    with pytest.raises(ResourceError, match=r"other programs use 100%.*GiB are free.*OMP_PROC_BIND"):
        check(**faults)
    assert len(check(**faults, force=True)) == 3


def test_a_shared_host_is_only_noted(check):
    assert check(busy=WITHHELD) == ["note: the host withheld 50% of the time asked for now, 0% since boot"]


def test_what_has_no_bearing_on_times_is_not_mentioned(check, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=0.0))
    assert check(variables={"OMP_NUM_THREADS": "4"}) == []


def test_the_topics_are_those_of_the_doctor(check, tmp_path):
    check(POWER_SAVING | SWAPPING | {HEAT: 3}, busy={HEAT: 4} | WITHHELD, variables={"OMP_PROC_BIND": "1"}, force=True)
    write(tmp_path, {HEAT: 3, "proc/stat": "cpu 1000 0 1000 9000 0 0 0 0 0 0"})
    seen = {finding.topic for finding in examination.examine(detection.detect(root=tmp_path), root=tmp_path)}
    assert seen >= FATAL | NOTED


def test_watching_the_cores_takes_a_second_and_sees_their_own_work_only(monkeypatch):
    import psutil

    asked = []
    monkeypatch.setattr(psutil, "cpu_percent", lambda **options: asked.append(options) or [10.0, 90.0, 50.0])
    monkeypatch.setattr(detection, "usable_cpus", lambda *_: [0, 2])
    assert readiness._busy_shares(readiness.LOOK_S) == [0.1, 0.5]
    assert asked == [{"interval": 1.0, "percpu": True}]
    monkeypatch.setattr(detection, "usable_cpus", lambda *_: [7])
    assert readiness._busy_shares(1.0) == [0.1, 0.9, 0.5]
