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


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_healthy(tmp_path, monkeypatch)
    monkeypatch.setattr(examination, "_spin", lambda _seconds: None)
    return tmp_path


def checked(root, *, force=False, shares=QUIET, meanwhile=None, **limits):
    """Return what is said; `meanwhile` are files that are written while the cores are watched."""
    said = []
    here = dataclasses.replace(detection.detect(root=root), **limits)

    def watch(_seconds):
        write(root, meanwhile or {})
        return shares

    readiness.check(here, force=force, say=said.append, root=root, busy_shares=watch)
    return said


def refused(root, **options):
    with pytest.raises(ResourceError) as caught:
        checked(root, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def power_saving(root, monkeypatch):
    del monkeypatch
    write(root, {f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_max_freq": 1500000 for cpu in range(4)})


def in_a_group(root, *, periods, throttled):
    """Put the node into a control group that was stopped in so many of its scheduling periods."""
    write(
        root,
        {
            "proc/self/cgroup": "0::/",
            "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate",
            **statistics_of(periods, throttled),
        },
    )


def statistics_of(periods, throttled):
    return {"sys/fs/cgroup/cpu.stat": f"nr_periods {periods}\nnr_throttled {throttled}"}


def hot(root, monkeypatch):
    counter = "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count"
    write(root, {counter: 3})
    monkeypatch.setattr(examination, "_spin", lambda _seconds: write(root, {counter: 4}))


def short_of_memory(root, monkeypatch):
    del monkeypatch
    write(root, {"proc/meminfo": meminfo(available_gib=2)})


def swapping(root, monkeypatch):
    del monkeypatch
    write(root, {"proc/meminfo": meminfo(available_gib=2, swap_gib=4)})


def pinned(root, monkeypatch):
    del root
    monkeypatch.setenv("OMP_PROC_BIND", "close")


def withheld(root, monkeypatch):
    monkeypatch.setattr(
        examination, "_spin", lambda _seconds: write(root, {"proc/stat": "cpu 1010 0 1000 9000 0 0 0 10 0 0"})
    )


FAULTS = {
    power_saving: "the clock is limited to 1500 of 3000 MHz; end the power-saving profile",
    hot: "heat slows the processor down at this moment; improve the cooling",
    short_of_memory: "2.0 of 32.0 GiB are free; stop other programs",
    swapping: "4.0 GiB of swap in use; stop other programs",
    pinned: "OMP_PROC_BIND set: all workers may inherit one core; unset OMP_PROC_BIND",
}


def test_of_a_machine_that_is_fit_nothing_is_said(root):
    assert checked(root) == []


@pytest.mark.parametrize(("fault", "words"), FAULTS.items(), ids=lambda of: getattr(of, "__name__", ""))
def test_a_machine_that_is_not_fit_is_refused_with_the_cure(root, monkeypatch, fault, words):
    fault(root, monkeypatch)
    message = refused(root)
    assert message.startswith("measurements taken now would mislead: ")
    assert words in message
    assert message.endswith(" (or measure with --force)")


@pytest.mark.parametrize(("fault", "words"), FAULTS.items(), ids=lambda of: getattr(of, "__name__", ""))
def test_with_force_what_speaks_against_it_is_only_said(root, monkeypatch, fault, words):
    fault(root, monkeypatch)
    assert any(line.startswith(f"warning: {words}") for line in checked(root, force=True))


def test_other_programs_on_the_cores_are_named_with_their_share(root):
    shares = (1.0, 0.6, 0.0, 0.0)
    words = "other programs use 40% of the cores; stop them or wait until they are done"
    assert refused(root, shares=shares) == f"measurements taken now would mislead: {words} (or measure with --force)"
    assert checked(root, shares=shares, force=True) == [f"warning: {words}"]


@pytest.mark.parametrize(("share", "fit"), [(0.0, True), (BUSY_SHARE, True), (BUSY_SHARE + 0.01, False)])
def test_a_little_other_work_is_no_obstacle(root, share, fit):
    if fit:
        assert checked(root, shares=4 * (share,)) == []
    else:
        assert "other programs use 16% of the cores" in refused(root, shares=4 * (share,))


@pytest.mark.parametrize("periods", [0, 10, 100])
def test_what_a_control_group_was_stopped_for_before_the_look_does_not_count(root, periods):
    in_a_group(root, periods=1000, throttled=900)
    assert checked(root, meanwhile=statistics_of(1000 + periods, 900)) == []


@pytest.mark.parametrize(("stopped", "fit"), [(0, True), (5, True), (6, False), (100, False)])
def test_a_control_group_that_is_stopped_during_the_look_is_refused(root, stopped, fit):
    in_a_group(root, periods=1000, throttled=0)
    meanwhile = statistics_of(1100, stopped)
    if fit:
        assert checked(root, meanwhile=meanwhile) == []
    else:
        words = "the control group's CPU quota is used up; stop what else runs in it, or raise the quota"
        assert words in refused(root, meanwhile=meanwhile)
        in_a_group(root, periods=1000, throttled=0)
        assert checked(root, meanwhile=meanwhile, force=True) == [f"warning: {words}"]


@pytest.mark.parametrize("limit", ["cgroup v1", "cgroup v2"])
def test_under_a_limit_of_cores_other_programs_work_does_not_count(root, limit):
    assert checked(root, shares=(1.0, 1.0, 1.0, 1.0), cores_limited_by=limit) == []
    assert "other programs use 100%" in refused(root, shares=(1.0, 1.0, 1.0, 1.0), cores_limited_by="affinity")


def test_all_faults_are_named_at_once(root, monkeypatch):
    pinned(root, monkeypatch)
    short_of_memory(root, monkeypatch)
    message = refused(root, shares=(1.0, 1.0, 1.0, 1.0))
    assert all(words in message for words in ("other programs use 100%", "GiB are free", "OMP_PROC_BIND"))
    assert len(checked(root, shares=(1.0, 1.0, 1.0, 1.0), force=True)) == 3


def test_a_shared_host_is_only_noted(root, monkeypatch):
    withheld(root, monkeypatch)
    assert checked(root) == ["note: the host withheld 50% of the time asked for now, 0% since boot"]


def test_what_has_no_bearing_on_times_is_not_mentioned(root, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: SimpleNamespace(free=0.0))
    assert checked(root) == []


def test_the_topics_are_those_of_the_doctor(root, monkeypatch):
    for fault in (*FAULTS, withheld):
        fault(root, monkeypatch)
    seen = {finding.topic for finding in examination.examine(detection.detect(root=root), root=root)}
    topics = {name for name in FATAL | NOTED if name not in seen}
    # Heat and steal show only where something happens meanwhile, which one patch cannot do for both.
    assert topics <= {"heat", "steal"}


def test_watching_the_cores_takes_a_second_and_sees_their_own_work_only(monkeypatch):
    import psutil

    asked = []
    monkeypatch.setattr(psutil, "cpu_percent", lambda **options: asked.append(options) or [10.0, 90.0, 50.0])
    monkeypatch.setattr(detection, "usable_cpus", lambda *_: [0, 2])
    assert readiness._busy_shares(readiness.LOOK_S) == [0.1, 0.5]
    assert asked == [{"interval": 1.0, "percpu": True}]
    monkeypatch.setattr(detection, "usable_cpus", lambda *_: [7])
    assert readiness._busy_shares(1.0) == [0.1, 0.9, 0.5]
