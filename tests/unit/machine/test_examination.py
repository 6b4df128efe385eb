"""Claims about `autotune.machine.examination`, on machines made of files in a folder."""

import shutil
from dataclasses import asdict
from types import SimpleNamespace

import psutil
import pytest
from node_files import disk_with, meminfo, write, write_healthy

from autotune.machine import detection, examination, process


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_healthy(tmp_path, monkeypatch)
    return tmp_path


def examine(root, *, meanwhile=None, **options):
    """Examine without being busy; `meanwhile` are the files that change while a core would be."""
    found = detection.detect(root=root, **options)
    return examination.examine(found, root=root, keep_busy=lambda _seconds: write(root, meanwhile or {}))


def look(root, topic, **options):
    """Return severity and text of one topic's only finding, or None where it has none."""
    found = [finding for finding in examine(root, **options) if finding.topic == topic]
    assert len(found) <= 1
    return (found[0].severity, found[0].text) if found else None


# --- all together ----------------------------------------------------------------------------------------------------


def test_a_healthy_machine_gives_nothing_but_ok(root):
    assert {finding.severity for finding in examine(root)} == {"ok"}


def test_what_a_machine_does_not_tell_gives_no_finding(root, monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda **_options: 64)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2**35, available=2**35))
    assert {finding.topic for finding in examine(root / "empty")} == {
        "cores",
        "memory",
        "memory limit",
        "scratch",
        "swap",
    }


def test_the_worst_comes_first(root):
    write(root, {"proc/loadavg": "9 9 9 9/9 9", "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": 7})
    severities = [finding.severity for finding in examine(root)]
    assert severities == sorted(severities, key=["warning", "note", "ok"].index)
    assert severities[:2] == ["warning", "note"]


def test_every_warning_has_a_cure_and_no_ok_has_one(root, monkeypatch):
    disk_with(monkeypatch, 0)
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    write(root, {"proc/loadavg": "9 9 9 9/9 9", "proc/meminfo": meminfo(available_gib=1, swap_gib=4)})
    found = examine(root)
    assert all(bool(finding.cure) == (finding.severity == "warning") for finding in found)
    assert sum(finding.severity == "warning" for finding in found) == 6


def test_a_finding_is_plain_data(root):
    finding = next(finding for finding in examine(root) if finding.topic == "swap")
    assert asdict(finding) == {"severity": "ok", "topic": "swap", "text": "0.0 GiB of swap in use", "cure": ""}


def test_this_very_machine_can_be_examined():
    found = examination.examine(detection.detect())
    assert {"cores", "memory", "memory limit", "scratch"} <= {finding.topic for finding in found}


# --- processors ------------------------------------------------------------------------------------------------------


def test_others_load_is_a_warning(root):
    write(root, {"proc/loadavg": "1.30 0 0 1/1 1"})
    assert look(root, "load") == ("warning", "load 1.30 on 4 cores over the last minute")


def test_load_is_only_a_note_where_it_may_lie_on_cores_that_are_not_used(root):
    write(root, {"proc/loadavg": "1.30 0 0 1/1 1"})
    assert look(root, "load", cores=2)[0] == "note"


def test_time_stolen_just_now_is_a_warning(root):
    later = {"proc/stat": "cpu 1006 0 1000 9000 0 0 0 4 0 0"}
    expected = "the host withheld 40% of the time asked for now, 0% since boot"
    assert look(root, "steal", meanwhile=later) == ("warning", expected)


def test_a_single_stolen_tick_proves_nothing(root):
    assert look(root, "steal", meanwhile={"proc/stat": "cpu 1009 0 1000 9000 0 0 0 1 0 0"})[0] == "ok"


def test_time_stolen_since_boot_is_a_note(root):
    write(root, {"proc/stat": "cpu 800 0 100 9000 0 0 0 100 0 0"})
    assert look(root, "steal") == ("note", "the host withheld 0% of the time asked for now, 10% since boot")


def test_guest_time_is_not_counted_twice(root):
    write(root, {"proc/stat": "cpu 900 0 0 0 0 0 0 100 900 0"})
    assert look(root, "steal")[1].endswith("10% since boot")


def test_the_fastest_core_tells_the_clock(root):
    assert look(root, "clock") == ("ok", "a busy core runs at 2900 of 3000 MHz")


def test_a_busy_core_far_below_its_clock_is_a_note(root):
    write(root, {"sys/devices/system/cpu/cpu2/cpufreq/scaling_cur_freq": 1400000})
    assert look(root, "clock") == ("note", "a busy core runs at 1400 of 3000 MHz")


def test_a_capped_clock_is_a_warning(root):
    write(root, {f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_max_freq": 2000000 for cpu in range(4)})
    assert look(root, "clock") == ("warning", "the clock is limited to 2000 of 3000 MHz")


def test_a_machine_that_hides_its_clock_gives_no_finding(root):
    shutil.rmtree(root / "sys/devices/system/cpu/cpu2/cpufreq")
    for cpu in (0, 1, 3):
        shutil.rmtree(root / f"sys/devices/system/cpu/cpu{cpu}/cpufreq")
    assert look(root, "clock") is None


def test_past_heat_is_a_note(root):
    write(root, {"sys/devices/system/cpu/cpu1/thermal_throttle/package_throttle_count": 12})
    assert look(root, "heat") == ("note", "heat slowed the processor down 12 times since boot")


def test_present_heat_is_a_warning(root):
    later = {"sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": 3}
    assert look(root, "heat", meanwhile=later)[0] == "warning"


def test_a_control_group_that_is_stopped_often_is_a_warning(root):
    write(
        root,
        {
            "proc/self/cgroup": "0::/job",
            "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw",
            "sys/fs/cgroup/job/cpu.stat": "usage_usec 5\nnr_periods 200\nnr_throttled 50\nthrottled_usec 9",
        },
    )
    assert look(root, "CPU quota") == ("warning", "the control group was stopped in 25% of its scheduling periods")


def test_a_control_group_without_periods_says_nothing(root):
    write(
        root,
        {
            "proc/self/cgroup": "2:cpu:/",
            "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu",
            "sys/fs/cgroup/cpu/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 0",
        },
    )
    assert look(root, "CPU quota") is None


def test_hardware_threads_are_a_note(root):
    for cpu in range(4):
        write(root, {f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 2},{cpu % 2 + 2}"})
    assert look(root, "SMT") == ("note", "4 hardware threads on 2 cores: autotune plans with cores")


def test_limits_below_the_machine_are_notes_that_name_the_limit(root, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "8192")
    assert look(root, "cores") == ("note", "2 of 4 cores may be used (limit: slurm)")
    assert look(root, "memory limit") == ("note", "8.0 of 32.0 GiB may be used (limit: slurm)")


@pytest.mark.parametrize("cause", ["affinity", "cgroup v1", "cgroup v2", "rlimit", "slurm"])
def test_every_limit_that_can_be_raised_has_a_cure(cause):
    assert examination.RAISE_LIMIT[cause].startswith("to use all")


# --- memory and disk -------------------------------------------------------------------------------------------------


def test_little_free_memory_is_a_warning(root):
    write(root, {"proc/meminfo": meminfo(available_gib=10)})
    assert look(root, "memory") == ("warning", "10.0 of 32.0 GiB are free")


def test_swap_in_use_beside_free_memory_is_a_note(root):
    write(root, {"proc/meminfo": meminfo(swap_gib=2)})
    assert look(root, "swap") == ("note", "2.0 GiB of swap in use")


def test_swap_in_use_because_memory_is_short_is_a_warning(root):
    write(root, {"proc/meminfo": meminfo(available_gib=2, swap_gib=2)})
    assert look(root, "swap")[0] == "warning"


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs"])
def test_scratch_in_memory_is_a_warning(root, kind):
    with (root / "proc/self/mountinfo").open("a") as file:
        file.write(f"40 27 0:40 / /scratch rw - {kind} {kind} rw\n")
    assert look(root, "scratch") == (
        "warning",
        f"/scratch/me ({kind}) has 100.0 GiB left, and its files take memory",
    )


def test_the_last_of_two_mounts_on_one_place_is_the_scratch(root):
    with (root / "proc/self/mountinfo").open("a") as file:
        file.write("40 27 0:40 / /scratch rw - tmpfs tmpfs rw\n41 27 0:41 / /scratch rw - xfs /dev/vdb rw\n")
    assert look(root, "scratch") == ("ok", "/scratch/me (xfs) has 100.0 GiB left")


def test_a_mount_whose_name_only_begins_alike_is_not_the_scratch(root):
    with (root / "proc/self/mountinfo").open("a") as file:
        file.write("40 27 0:40 / /scratch/m rw - tmpfs tmpfs rw\n")
    assert look(root, "scratch")[0] == "ok"


def test_little_scratch_is_a_warning(root, monkeypatch):
    disk_with(monkeypatch, 1.5)
    assert look(root, "scratch") == ("warning", "/scratch/me (ext4) has 1.5 GiB left")


def test_the_shared_memory_of_a_plain_container_is_a_warning(root, monkeypatch):
    disk_with(monkeypatch, 0.0625)
    assert look(root, "shared memory") == ("warning", "shared memory (/dev/shm) has 0.06 GiB left")


# --- environment -----------------------------------------------------------------------------------------------------


def test_thread_variables_are_a_note_because_workers_set_their_own(root, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert look(root, "threads") == ("note", "OMP_NUM_THREADS=4")


def test_thread_variables_that_disagree_are_told(root, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setenv("MKL_NUM_THREADS", "8")
    assert look(root, "threads") == ("note", "OMP_NUM_THREADS=4 MKL_NUM_THREADS=8, which disagree")


@pytest.mark.parametrize("name", process.PINNING_VARIABLES)
def test_pinning_that_children_inherit_is_a_warning_with_the_cure(root, monkeypatch, name):
    monkeypatch.setenv(name, "0-3")
    found = next(finding for finding in examine(root) if finding.topic == "pinning")
    assert (found.severity, found.cure) == ("warning", f"unset {name}")


@pytest.mark.parametrize("value", ["false", "FALSE", ""])
def test_pinning_that_is_switched_off_is_no_finding(root, monkeypatch, value):
    monkeypatch.setenv("OMP_PROC_BIND", value)
    assert look(root, "pinning") is None
