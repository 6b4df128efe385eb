"""Claims about `autotune.machine.examination`, on machines made of files in a folder."""

import shutil
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from node_files import byte_code, disk_with, meminfo, write, write_healthy

from autotune.machine import detection, examination, process

CPUS = "sys/devices/system/cpu"


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
    found = [f"{finding.severity}: {finding.text}" for finding in examine(root, **options) if finding.topic == topic]
    assert len(found) <= 1
    return found[0] if found else None


# --- all together ----------------------------------------------------------------------------------------------------


def test_a_healthy_machine_gives_nothing_but_ok_as_plain_data(root):
    found = examine(root)
    assert {finding.severity for finding in found} == {"ok"}
    swap = {"severity": "ok", "topic": "swap", "text": "0.0 GiB of swap in use", "cure": ""}
    assert swap in [asdict(finding) for finding in found]


def test_what_a_machine_does_not_tell_gives_no_finding(root, monkeypatch):
    monkeypatch.setattr(psutil, "cpu_count", lambda **_options: 64)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=2**35, available=2**35))
    topics = {finding.topic for finding in examine(root / "empty")}
    assert topics == {"cores", "memory", "memory limit", "scratch", "swap"}


def test_the_worst_comes_first_and_every_warning_has_a_cure_and_no_ok_has_one(root, monkeypatch):
    disk_with(monkeypatch, 0)
    monkeypatch.setenv("OMP_PROC_BIND", "close")
    write(root, {"proc/loadavg": "9 9 9 9/9 9", "proc/meminfo": meminfo(available_gib=1, swap_gib=4)})
    write(root, {f"{CPUS}/cpu1/thermal_throttle/core_throttle_count": 7})
    found = examine(root)
    severities = [finding.severity for finding in found]
    assert severities == [*6 * ["warning"], "note", *(len(found) - 7) * ["ok"]]
    assert [bool(finding.cure) for finding in found] == [severity != "ok" for severity in severities]


def test_this_very_machine_can_be_examined():
    found = examination.examine(detection.detect())
    assert {"cores", "memory", "memory limit", "scratch"} <= {finding.topic for finding in found}


# --- topics ----------------------------------------------------------------------------------------------------------

LOAD, STAT, MEMORY, MOUNTS = "proc/loadavg", "proc/stat", "proc/meminfo", "proc/self/mountinfo"
HEAT = f"{CPUS}/cpu1/thermal_throttle/package_throttle_count"
SLOW = {f"{CPUS}/cpu2/cpufreq/scaling_cur_freq": 1400000}
CAPPED = {f"{CPUS}/cpu{cpu}/cpufreq/scaling_max_freq": 2000000 for cpu in range(4)}
SMT = {f"{CPUS}/cpu{cpu}/topology/thread_siblings_list": f"{cpu % 2},{cpu % 2 + 2}" for cpu in range(4)}
GROUP2 = {"proc/self/cgroup": "0::/job", MOUNTS: "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw"}
STOPPED = {"sys/fs/cgroup/job/cpu.stat": "usage_usec 5\nnr_periods 200\nnr_throttled 50\nthrottled_usec 9"}
GROUP1 = {"proc/self/cgroup": "2:cpu:/", MOUNTS: "30 23 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"}
NO_PERIODS = {"sys/fs/cgroup/cpu/cpu.stat": "nr_periods 0\nnr_throttled 0\nthrottled_time 0"}
STOLEN_EVER = "note: the host withheld 0% of the time asked for now, 10% since boot"


def mounts(*lines):
    return {MOUNTS: "\n".join(["27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard", *lines])}


TMPFS, XFS = "40 27 0:40 / /scratch rw - tmpfs tmpfs rw", "41 27 0:41 / /scratch rw - xfs /dev/vdb rw"
RAMFS = TMPFS.replace("tmpfs", "ramfs")
ANOTHER = TMPFS.replace("/scratch", "/scratch/m")  # only begins like that of the scratch, /scratch/me


@pytest.mark.parametrize(
    ("topic", "files", "words"),
    [
        ("load", {LOAD: "1.30 0 0 1/1 1"}, "warning: load 1.30 on 4 cores over the last minute"),
        ("steal", {STAT: "cpu 800 0 100 9000 0 0 0 100 0 0"}, STOLEN_EVER),
        ("steal", {STAT: "cpu 900 0 0 0 0 0 0 100 900 0"}, STOLEN_EVER),  # guest time is not counted twice
        ("clock", {}, "ok: a busy core runs at 2900 of 3000 MHz"),  # the fastest core tells it
        ("clock", SLOW, "note: a busy core runs at 1400 of 3000 MHz"),
        ("clock", CAPPED, "warning: the clock is limited to 2000 of 3000 MHz"),
        ("heat", {HEAT: 12}, "note: heat slowed the processor down 12 times since boot"),
        ("CPU quota", GROUP2 | STOPPED, "warning: the control group was stopped in 25% of its scheduling periods"),
        ("CPU quota", GROUP1 | NO_PERIODS, None),
        ("SMT", SMT, "note: 4 hardware threads on 2 cores: autotune plans with cores"),
        ("memory", {MEMORY: meminfo(available_gib=10)}, "warning: 10.0 of 32.0 GiB are free"),
        ("swap", {MEMORY: meminfo(swap_gib=2)}, "note: 2.0 GiB of swap in use"),
        ("swap", {MEMORY: meminfo(available_gib=2, swap_gib=2)}, "warning: 2.0 GiB of swap in use"),
        ("scratch", mounts(TMPFS), "warning: /scratch/me (tmpfs) has 100.0 GiB left, and its files take memory"),
        ("scratch", mounts(RAMFS), "warning: /scratch/me (ramfs) has 100.0 GiB left, and its files take memory"),
        ("scratch", mounts(TMPFS, XFS), "ok: /scratch/me (xfs) has 100.0 GiB left"),  # the last on one place
        ("scratch", mounts(ANOTHER), "ok: /scratch/me (ext4) has 100.0 GiB left"),
    ],
)
def test_of_a_topic_it_is_said_how_bad_it_is_and_what_was_seen(root, topic, files, words):
    write(root, files)
    assert look(root, topic) == words


@pytest.mark.parametrize(
    ("topic", "meanwhile", "words"),
    [
        ("steal", {STAT: "cpu 1006 0 1000 9000 0 0 0 4 0 0"}, "warning: the host withheld 40% of the time asked for"),
        ("steal", {STAT: "cpu 1009 0 1000 9000 0 0 0 1 0 0"}, "ok: "),  # a single tick proves nothing
        ("heat", {HEAT: 3}, "warning: "),
    ],
)
def test_what_happens_just_now_is_a_warning(root, topic, meanwhile, words):
    assert look(root, topic, meanwhile=meanwhile).startswith(words)


def test_load_is_only_a_note_where_it_may_lie_on_cores_that_are_not_used(root):
    write(root, {LOAD: "1.30 0 0 1/1 1"})
    assert look(root, "load", cores=2).startswith("note: ")


def test_a_machine_that_hides_its_clock_gives_no_finding(root):
    for cpu in range(4):
        shutil.rmtree(root / f"{CPUS}/cpu{cpu}/cpufreq")
    assert look(root, "clock") is None


def test_limits_below_the_machine_are_notes_that_name_the_limit(root, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "8192")
    assert look(root, "cores") == "note: 2 of 4 cores may be used (limit: slurm)"
    assert look(root, "memory limit") == "note: 8.0 of 32.0 GiB may be used (limit: slurm)"


@pytest.mark.parametrize("cause", ["affinity", "cgroup v1", "cgroup v2", "rlimit", "slurm"])
def test_every_limit_that_can_be_raised_has_a_cure(cause):
    assert examination.RAISE_LIMIT[cause].startswith("to use all")


def test_little_scratch_is_a_warning_and_so_is_the_shared_memory_of_a_plain_container(root, monkeypatch):
    disk_with(monkeypatch, 1.5)
    assert look(root, "scratch") == "warning: /scratch/me (ext4) has 1.5 GiB left"
    disk_with(monkeypatch, 0.0625)
    assert look(root, "shared memory") == "warning: shared memory (/dev/shm) has 0.06 GiB left"


def test_thread_variables_are_a_note_because_workers_set_their_own_and_that_they_disagree_is_told(root, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert look(root, "threads") == "note: OMP_NUM_THREADS=4"
    monkeypatch.setenv("MKL_NUM_THREADS", "8")
    assert look(root, "threads") == "note: OMP_NUM_THREADS=4 MKL_NUM_THREADS=8, which disagree"


def test_byte_code_that_is_not_kept_is_told_with_the_command_that_makes_it(root):
    byte_code(root).unlink()
    (found,) = [finding for finding in examine(root) if finding.severity != "ok"]
    assert (found.severity, found.topic) == ("note", "byte code")
    command, folder = found.cure.rsplit(" ", 1)
    assert command.endswith("python -m compileall -q")
    assert (Path(folder) / "machine" / "examination.py").samefile(examination.__file__)


@pytest.mark.parametrize("name", process.PINNING_VARIABLES)
def test_pinning_that_children_inherit_is_a_warning_with_the_cure(root, monkeypatch, name):
    monkeypatch.setenv(name, "0-3")
    found = next(finding for finding in examine(root) if finding.topic == "pinning")
    assert (found.severity, found.cure) == ("warning", f"unset {name}")


@pytest.mark.parametrize("value", ["false", "FALSE", ""])
def test_pinning_that_is_switched_off_is_no_finding(root, monkeypatch, value):
    monkeypatch.setenv("OMP_PROC_BIND", value)
    assert look(root, "pinning") is None
