"""Claims about `autotune.machine.detection`, on machines made of files in a folder."""

import math
import os
import platform
import re
import resource
import socket
import subprocess
import sys

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from node_files import KIB_PER_GIB, write

from autotune.base.errors import InputError, ResourceError
from autotune.machine import detection

GIB = detection.GIB
V1_UNLIMITED = 9223372036854771712
CPUS = "sys/devices/system/cpu"
GROUP = "sys/fs/cgroup"


def hardware(root, *, cores=8, threads=1, sockets=1, memory_gib=64, model="AMD EPYC 7763 64-Core Processor"):
    """Write a node; thread t of core c is processor c + t * cores, and each socket is one NUMA node."""
    count, share = cores * threads, cores // sockets
    kib = int(memory_gib * KIB_PER_GIB)
    files = {
        "proc/cpuinfo": f"processor\t: 0\nmodel name\t: {model}\nflags\t\t: fpu sse sse2 avx avx2\n\nprocessor\t: 1",
        "proc/meminfo": f"MemTotal: {kib} kB\nMemAvailable: {kib // 2} kB",
        f"{CPUS}/online": f"0-{count - 1}",
    }
    for cpu in range(count):
        core, socket_number = cpu % cores, cpu % cores // share
        siblings = ",".join(str(core + thread * cores) for thread in range(threads))
        package = ",".join(str(other) for other in range(count) if other % cores // share == socket_number)
        files[f"{CPUS}/cpu{cpu}/topology/thread_siblings_list"] = siblings
        files[f"{CPUS}/cpu{cpu}/topology/core_siblings_list"] = package
        files[f"sys/devices/system/node/node{socket_number}/cpulist"] = package
        for level, size, shared in ((2, "512K", siblings), (3, "32768K", package)):
            about = {"level": level, "size": size, "shared_cpu_list": shared}
            files |= {f"{CPUS}/cpu{cpu}/cache/index{level}/{name}": text for name, text in about.items()}
    write(root, files)


def mounted(point, part="/"):
    return f"30 23 0:26 {part} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def cgroup2(path, *mounts):
    """Return the files by which a process is in a group of the one hierarchy of v2."""
    mounts = mounts or [mounted("/sys/fs/cgroup")]
    return {"proc/self/cgroup": f"0::{path}", "proc/self/mountinfo": "\n".join(mounts)}


def cgroup1(path, *, part="/", and_v2=False):
    """Return the files by which a process is in a group of v1's hierarchies, on a hybrid system in one of v2, too."""
    groups = [f"4:memory:{path}", f"3:cpuset:{path}", f"2:cpu,cpuacct:{path}", f"1:name=systemd:{path}"]
    mounts = ["22 27 0:21 / /proc rw - proc proc rw"]
    for number, name in enumerate(("cpu,cpuacct", "memory", "cpuset")):
        mounts.append(f"3{number} 31 0:3{number} {part} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}")
    if and_v2:
        groups.append("0::/unified")
        mounts.append(mounted("/sys/fs/cgroup/unified"))
    return {"proc/self/cgroup": "\n".join(groups), "proc/self/mountinfo": "\n".join(mounts)}


def pretend(monkeypatch, *, affinity=range(1024), soft=None):
    """Replace the real machine's limits: its affinity, its resource limits, and Slurm's variables."""
    soft = soft or {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(affinity), raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft.get(kind, resource.RLIM_INFINITY), 0))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def root(tmp_path, monkeypatch):
    pretend(monkeypatch)
    hardware(tmp_path)
    return tmp_path


def limits(root):
    found = detection.detect(root=root)
    return (found.cores, found.cores_limited_by), (found.memory_gib, found.memory_limited_by)


# --- limits ----------------------------------------------------------------------------------------------------------

V1, V2 = "cgroup v1", "cgroup v2"
UNLIMITED = {"memory.limit_in_bytes": V1_UNLIMITED}
SIX_GIB = {"memory.max": 6 * GIB}
TWO_THREADS = {"cores": 4, "threads": 2}


def case(files=None, groups=None, *, cores=(8, "physical"), memory=(64, "physical"), **given):
    """Return files, of which `groups` are control groups', what else is `given`, and the limits that come of it."""
    return {**(files or {}), **below(GROUP, groups or {})}, given, (cores, memory)


def below(folder, files):
    return {f"{folder}/{name}": text for name, text in files.items()}


def quota1(folder, quota):
    return below(f"cpu,cpuacct/{folder}", {"cpu.cfs_quota_us": quota, "cpu.cfs_period_us": 100000})


QUOTAS_OF_V2 = {"a/b/c/cpu.max": "max 100000", "a/b/cpu.max": "600000 100000", "a/cpu.max": "350000 100000"}
LIMITS = {
    "without limits all of the hardware is usable": case(),
    # hardware and affinity
    "SMT siblings count as one core": case(hardware=TWO_THREADS, cores=(4, "physical")),
    "two siblings of one core are one": case(hardware=TWO_THREADS, affinity=[1, 5], cores=(1, "affinity")),
    "affinity limits the cores": case(affinity=[0, 3, 5], cores=(3, "affinity")),
    "one thread on every core is no limit": case(hardware=TWO_THREADS, affinity=range(4), cores=(4, "physical")),
    # cores of control groups
    "v2: the tightest quota counts even at an ancestor": case(cgroup2("/a/b/c"), QUOTAS_OF_V2, cores=(3, V2)),
    "v1: the tightest quota counts even at an ancestor": case(
        cgroup1("/a/b"), quota1("a/b", -1) | quota1("a", 200000) | quota1("", -1), cores=(2, V1)
    ),
    "v2: a cpuset limits the cores": case(
        cgroup2("/job"), {"job/cpuset.cpus.effective": "2-4", "cpuset.cpus.effective": "0-7"}, cores=(3, V2)
    ),
    "v1: a cpuset limits the cores": case(
        cgroup1("/job"), {"cpuset/job/cpuset.cpus": "0,7", "cpuset/cpuset.cpus": "0-7"}, cores=(2, V1)
    ),
    "a cpuset is named as the cause of the affinity it makes": case(
        cgroup2("/job"), {"job/cpuset.cpus.effective": "2-3"}, affinity=[2, 3], cores=(2, V2)
    ),
    "cpuset and affinity limit together": case(
        cgroup2("/job"), {"job/cpuset.cpus.effective": "0-3"}, affinity=[3, 4], cores=(1, "affinity")
    ),
    # memory of control groups
    "v2: memory.max counts at any ancestor": case(
        cgroup2("/a/job"), {"a/job/memory.max": "max", "a/memory.max": 16 * GIB}, memory=(16, V2)
    ),
    "v2: memory.high counts at any ancestor": case(
        cgroup2("/a/job"), {"a/job/memory.max": "max", "a/memory.high": 16 * GIB}, memory=(16, V2)
    ),
    "v1: the limit counts at any ancestor, and a huge one is none": case(
        cgroup1("/a/b"),
        below("memory/a/b", UNLIMITED) | {"memory/a/memory.limit_in_bytes": 8 * GIB},
        memory=(8, V1),
    ),
    "v1 knows the limit of an ancestor outside the container": case(
        cgroup1("/a/b", part="/a/b"),
        below("memory", UNLIMITED | {"memory.stat": f"cache 0\nhierarchical_memory_limit {4 * GIB}"}),
        memory=(4, V1),
    ),
    "both hierarchies of a hybrid system count": case(
        cgroup1("/job", and_v2=True),
        {"memory/job/memory.limit_in_bytes": 12 * GIB, "unified/unified/cpu.max": "200000 100000"},
        cores=(2, V2),
        memory=(12, V1),
    ),
    # where control groups are
    "a namespace that hides the path leaves the mounted part": case(cgroup2("/"), SIX_GIB, memory=(6, V2)),
    "a bind mount of the own group is found from the host's path": case(
        cgroup2("/a/b", mounted("/sys/fs/cgroup", "/a/b")), SIX_GIB, memory=(6, V2)
    ),
    **{
        f"where {path} and {part} do not fit the top of the mount counts": case(
            cgroup2(path, mounted("/sys/fs/cgroup", part)), SIX_GIB, memory=(6, V2)
        )
        for path, part in (("/../other", "/"), ("/", "/.."), ("/kubepods/x", "/docker/abc"))
    },
    "the mount that shows most ancestors is read": case(
        cgroup2("/a/job", mounted("/sys/fs/cgroup"), mounted("/mnt", "/a/job")) | {"mnt/memory.max": "max"},
        {"a/memory.max": 6 * GIB},
        memory=(6, V2),
    ),
    "control groups may be mounted anywhere": case(
        cgroup2("/job", mounted("/run/my\\040groups")) | below("run/my groups/job", SIX_GIB), memory=(6, V2)
    ),
    "control groups that are not mounted are no limit": case(
        {"proc/self/cgroup": "4:memory:/job\n0::/job", "proc/self/mountinfo": "22 27 0:21 / /proc rw - proc proc rw"}
    ),
    # resource limits, and Slurm, which only lowers
    "RLIMIT_AS lowers the memory": case(soft={resource.RLIMIT_AS: 10 * GIB}, memory=(10, "rlimit")),
    "RLIMIT_DATA lowers the memory": case(soft={resource.RLIMIT_DATA: 10 * GIB}, memory=(10, "rlimit")),
    "Slurm's node": case(slurm="CPUS_ON_NODE=4", cores=(4, "slurm")),
    "Slurm's one task": case(slurm="CPUS_ON_NODE=4 CPUS_PER_TASK=2", cores=(2, "slurm")),
    "a batch script with tasks": case(slurm="CPUS_ON_NODE=6 CPUS_PER_TASK=2 NTASKS=3", cores=(6, "slurm")),
    "one step of tasks": case(slurm="CPUS_PER_TASK=2 NTASKS=3 STEP_ID=0", cores=(2, "slurm")),
    "more cores than there are": case(slurm="CPUS_ON_NODE=128"),
    "not a number of cores": case(slurm="CPUS_ON_NODE=many"),
    "Slurm's memory of a node": case(slurm="MEM_PER_NODE=16384", memory=(16, "slurm")),
    "memory of each core": case(slurm="MEM_PER_CPU=2048 CPUS_ON_NODE=4", cores=(4, "slurm"), memory=(8, "slurm")),
    "memory of an unknown number of cores": case(slurm="MEM_PER_CPU=2048"),
    "all of the node's memory": case(slurm="MEM_PER_NODE=0"),
    "more memory than there is": case(slurm="MEM_PER_NODE=999999"),
}


@pytest.mark.parametrize(("files", "given", "expected"), LIMITS.values(), ids=LIMITS)
def test_the_smallest_limit_counts_and_is_named(root, monkeypatch, files, given, expected):
    pretend(monkeypatch, affinity=given.get("affinity", range(1024)), soft=given.get("soft"))
    hardware(root, **given.get("hardware", {}))
    write(root, files)
    for variable in given.get("slurm", "").split():
        monkeypatch.setenv(*f"SLURM_{variable}".split("="))
    assert limits(root) == expected


@pytest.fixture(scope="module")
def two_cores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_cores")
    hardware(folder, cores=2)
    return folder


@settings(max_examples=25, deadline=None)  # each example describes a machine
@given(quotas=st.lists(st.one_of(st.just("max"), st.integers(1000, 320_000)), min_size=1, max_size=5))
def test_any_chain_of_quotas_gives_the_floor_of_the_smallest_but_never_less_than_one_core(two_cores, quotas):
    folders = ["/".join("abcde"[:depth]) for depth in range(len(quotas))]
    write(two_cores, cgroup2(f"/{folders[-1]}"))
    write(two_cores, {f"{GROUP}/{folder}/cpu.max": f"{q} 100000" for folder, q in zip(folders, quotas, strict=True)})
    with pytest.MonkeyPatch.context() as monkeypatch:
        pretend(monkeypatch)
        given_cores = [quota / 100000 for quota in quotas if quota != "max"]
        assert limits(two_cores)[0][0] == max(1, math.floor(min([2, *given_cores])))


def test_a_platform_without_resource_limits_has_none(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert limits(root)[1] == (64, "physical")


V2_JOB, V1_JOB = f"{GROUP}/job", f"{GROUP}/memory/job"
V2_USED = {"memory.max": 16 * GIB, "memory.current": 9 * GIB, "memory.stat": f"inactive_file {2 * GIB}"}
V1_USED = {
    "memory.limit_in_bytes": 16 * GIB,
    "memory.usage_in_bytes": 9 * GIB,
    "memory.stat": f"inactive_file 0\ntotal_inactive_file {2 * GIB}",
}


@pytest.mark.parametrize(
    ("files", "asked", "gib"),
    [
        ({}, {}, 32),
        ({}, {"memory_gib": 4}, 4),
        (cgroup2("/job") | below(V2_JOB, V2_USED), {}, 9),
        (cgroup1("/job") | below(V1_JOB, V1_USED), {}, 9),
        (cgroup2("/job") | below(V2_JOB, {**V2_USED, "memory.current": 19 * GIB}), {}, 0),
    ],
    ids=["the kernel's", "no more than asked for", "v2: file cache is free", "v1: file cache is free", "not negative"],
)
def test_available_memory_is_what_the_kernel_and_the_control_group_leave(root, files, asked, gib):
    write(root, files)
    assert detection.available_memory_gib(detection.detect(**asked, root=root), root=root) == gib


# --- options ---------------------------------------------------------------------------------------------------------


def test_options_replace_the_limits(root):
    found = detection.detect(cores=3, memory_gib=7.5, root=root)
    assert (found.cores, found.cores_limited_by) == (3, "option")
    assert (found.memory_gib, found.memory_limited_by) == (7.5, "option")


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"cores": 4}, "4 cores asked for, but this process may use 2 (limit: affinity)"),
        ({"memory_gib": 24}, "24 GiB of memory asked for, but this process may use 23.54 (limit: physical)"),
    ],
)
def test_more_than_usable_is_refused_in_one_line(root, monkeypatch, asked, line):
    hardware(root, memory_gib=23.549)
    pretend(monkeypatch, affinity=[0, 1])
    with pytest.raises(ResourceError, match=f"^{re.escape(line)}: ask for less or raise it$"):
        detection.detect(**asked, root=root)


@pytest.mark.parametrize("options", [{"cores": 0}, {"cores": -2}, {"memory_gib": 0.0}, {"memory_gib": math.nan}])
def test_options_that_are_not_positive_are_refused(root, options):
    with pytest.raises(InputError, match="give a positive number"):
        detection.detect(**options, root=root)


# --- facts and key ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("built", "options", "key"),
    [
        ({}, {}, "amd-epyc-7763-x86_64-avx2-8c-64g-l3-32m"),
        ({"sockets": 2}, {}, "amd-epyc-7763-x86_64-avx2-8c-64g-2n-l3-32m"),
        ({"memory_gib": 62.4}, {"cores": 2}, "amd-epyc-7763-x86_64-avx2-2c-64g-l3-32m"),
    ],
)
def test_the_key_tells_model_vector_cores_memory_numa_nodes_and_cache(root, built, options, key):
    hardware(root, **built)
    assert detection.detect(**options, root=root).key == key


def test_neither_host_name_nor_free_memory_nor_load_change_what_is_found(root, monkeypatch):
    before = detection.detect(root=root)
    write(root, {"proc/meminfo": f"MemTotal: {64 * KIB_PER_GIB} kB\nMemAvailable: 1 kB", "proc/loadavg": "99 99 99"})
    write(root, {"proc/sys/kernel/hostname": "node17", "etc/hostname": "node17"})
    monkeypatch.setattr(socket, "gethostname", lambda: "node17")
    monkeypatch.setattr(platform, "node", lambda: "node17")
    assert detection.detect(root=root) == before


def test_only_numa_nodes_of_usable_cores_count(root, monkeypatch):
    hardware(root, sockets=2)
    pretend(monkeypatch, affinity=[0, 1])
    assert detection.detect(root=root).numa_nodes == 1


def test_slices_of_the_last_cache_are_added_up_within_one_socket(root):
    hardware(root, sockets=2)
    for cpu in range(8):
        write(root, {f"{CPUS}/cpu{cpu}/cache/index3/shared_cpu_list": f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}"})
    assert detection.detect(root=root).l3_mib == 64


@settings(deadline=None)
@given(st.floats(1, 4096))
def test_the_memory_bin_is_a_nearby_size_of_modules(memory_gib):
    size = detection.memory_bin_gib(memory_gib)
    assert memory_gib / 1.42 <= size <= memory_gib * 1.42
    assert detection.memory_bin_gib(size) == size


@settings(deadline=None)
@given(st.sampled_from([*(2**power for power in range(1, 13)), 3, 6, 24, 96]), st.floats(0.93, 1.0))
def test_what_a_kernel_keeps_for_itself_does_not_move_the_memory_bin(size, share):
    assert detection.memory_bin_gib(size * share) == size


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_processor_name_makes_a_file_name(name):
    assert re.fullmatch(r"[a-z0-9_]([a-z0-9_-]{0,58}[a-z0-9_])?", detection.slug(name))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz", "intel-xeon-gold-6338"),
        ("13th Gen Intel(R) Core(TM) i7-13700K", "13th-gen-intel-core-i7-13700k"),
        ("AMD Ryzen 7 5800H with Radeon Graphics", "amd-ryzen-7-5800h"),
        ("Apple M2", "apple-m2"),
    ],
)
def test_processor_names_lose_their_advertisements(name, expected):
    assert detection.slug(name) == expected


@pytest.mark.parametrize(
    ("entry", "vector", "model"),
    [
        ("flags : sse2 avx avx2 avx512f", "avx512", "x86_64"),
        ("flags : sse2 avx", "avx", "x86_64"),
        ("flags : sse2", "sse2", "x86_64"),
        ("flags : fpu", "", "x86_64"),
        ("CPU implementer : 0x41\nCPU part : 0xd0c\nFeatures : fp asimd", "neon", "arm 0x41 0xd0c"),
    ],
)
def test_the_widest_vector_instructions_are_named_and_an_arm_processor_by_its_numbers(root, entry, vector, model):
    write(root, {"proc/cpuinfo": f"processor : 0\n{entry}"})
    found = detection.detect(root=root)
    assert (found.vector, found.cpu_model) == (vector, model)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 100))))
def test_a_list_of_processors_and_of_ranges_with_both_ends_is_read_as_it_was_written(ranges):
    text = ",".join(f"{first}-{first + more}" if more else f"{first}" for first, more in ranges)
    assert detection.cpu_list(text) == {cpu for first, more in ranges for cpu in range(first, first + more + 1)}


@settings(deadline=None)
@given(st.text())
def test_garbage_is_no_limit_and_no_error(text):
    assert detection.number(text) is None or re.fullmatch("[0-9]+", text)


# --- elsewhere -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("affinity", "logical", "physical", "cores"),
    [(None, 10, 5, 5), ([0, 1, 2], 16, 8, 3), (None, None, None, 1)],
    ids=["psutil counts", "the affinity still counts", "psutil cannot count"],
)
def test_without_the_kernels_files_psutil_is_asked(tmp_path, monkeypatch, affinity, logical, physical, cores):
    pretend(monkeypatch, affinity=affinity or ())
    if affinity is None:
        monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True, both=(logical, physical): both[not logical])
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 2**35, "available": 2**34}))
    found = detection.detect(root=tmp_path)
    assert (found.cores, found.memory_gib, found.numa_nodes, found.l3_mib) == (cores, 32, 1, 0)
    assert detection.available_memory_gib(found, root=tmp_path) == 16


CAPACITY, FREQUENCY = "cpu_capacity", "cpufreq/cpuinfo_max_freq"


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("told", "speeds"),
    [
        ({CAPACITY: [1024, 512, 1024, 512]}, (1.0, 1.0, 0.5, 0.5)),
        ({FREQUENCY: [1024, 512, 1024, 512]}, (1.0, 1.0, 0.5, 0.5)),
        ({CAPACITY: 4 * [1024], FREQUENCY: [5_000_000, 3_000_000, 3_000_000, 3_000_000]}, (1.0, 0.6, 0.6, 0.6)),
        ({FREQUENCY: [5_100_000, 4_900_000, 4_900_000, 4_900_000], CAPACITY: [1024]}, ()),
        ({}, ()),
    ],
    ids=["capacity", "frequency", "frequency of equal capacity", "a few percent and of one core only", "silence"],
)
def test_the_kernel_says_which_cores_are_slow_and_threads_of_a_core_count_once(root, threads, told, speeds):
    hardware(root, cores=4, threads=threads)
    for file, values in told.items():
        for core, value in enumerate(values):
            write(root, {f"{CPUS}/cpu{core + 4 * thread}/{file}": value for thread in range(threads)})
    assert detection.core_speeds(root) == speeds


def test_linux_needs_neither_psutil_nor_a_subprocess(root, monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("started a process")

    monkeypatch.setitem(sys.modules, "psutil", None)
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "fork", refuse)
    assert detection.detect(root=root).cores == 8


def test_this_very_machine_can_be_described():
    found = detection.detect()
    assert 1 <= found.cores <= (os.cpu_count() or 1)
    assert 0 < detection.available_memory_gib(found) <= found.memory_gib
    assert re.fullmatch(r"[a-z0-9_-]+", found.key)
