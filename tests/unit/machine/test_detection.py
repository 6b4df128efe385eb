"""Claims about `autotune.machine.detection`, on machines made of files in a folder."""

import math
import os
import platform
import re
import resource
import socket
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autotune.base.errors import InputError, ResourceError
from autotune.machine import detection
from autotune.machine import gpus as gpu_devices

KIB_PER_GIB = 1024**2
V1_UNLIMITED = 9223372036854771712


def write(root, files):
    for name, text in files.items():
        path = Path(root) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")


def hardware(root, *, cores=8, threads=1, sockets=1, memory_gib=64, model="AMD EPYC 7763 64-Core Processor"):
    """Write a node; thread t of core c is processor c + t * cores, and each socket is one NUMA node."""
    count, share = cores * threads, cores // sockets
    flags = "fpu sse sse2 avx avx2"
    kib = int(memory_gib * KIB_PER_GIB)
    write(
        root,
        {
            "proc/cpuinfo": f"processor\t: 0\nmodel name\t: {model}\nflags\t\t: {flags}\n\nprocessor\t: 1",
            "proc/meminfo": f"MemTotal: {kib} kB\nMemAvailable: {kib // 2} kB",
            "sys/devices/system/cpu/online": f"0-{count - 1}",
        },
    )
    for cpu in range(count):
        core, socket_number = cpu % cores, cpu % cores // share
        siblings = ",".join(str(core + thread * cores) for thread in range(threads))
        package = ",".join(str(other) for other in range(count) if other % cores // share == socket_number)
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        write(
            root,
            {
                f"{folder}/topology/thread_siblings_list": siblings,
                f"{folder}/topology/core_siblings_list": package,
                f"{folder}/cache/index2/level": "2",
                f"{folder}/cache/index2/size": "512K",
                f"{folder}/cache/index2/shared_cpu_list": siblings,
                f"{folder}/cache/index3/level": "3",
                f"{folder}/cache/index3/size": "32768K",
                f"{folder}/cache/index3/shared_cpu_list": package,
                f"sys/devices/system/node/node{socket_number}/cpulist": package,
            },
        )


def cgroup2(root, path, *, mounted="/", point="/sys/fs/cgroup"):
    write(
        root,
        {
            "proc/self/cgroup": f"0::{path}",
            "proc/self/mountinfo": f"30 23 0:26 {mounted} {point} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate",
        },
    )


def cgroup1(root, path, *, mounted="/"):
    mounts = [
        f"3{number} 31 0:3{number} {mounted} /sys/fs/cgroup/{name} rw,relatime - cgroup cgroup rw,{name}"
        for number, name in enumerate(("cpu,cpuacct", "memory", "cpuset"))
    ]
    write(
        root,
        {
            "proc/self/cgroup": f"4:memory:{path}\n3:cpuset:{path}\n2:cpu,cpuacct:{path}\n1:name=systemd:{path}",
            "proc/self/mountinfo": "\n".join(["22 27 0:21 / /proc rw - proc proc rw", *mounts]),
        },
    )


def pretend(monkeypatch, *, affinity=range(1024)):
    """Take the real machine's limits away: its affinity, its resource limits, and Slurm's variables."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(affinity), raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    for name in [name for name in os.environ if name.startswith("SLURM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def root(tmp_path, monkeypatch):
    pretend(monkeypatch)
    hardware(tmp_path)
    return tmp_path


def cores(root):
    found = detection.detect(root=root)
    return found.cores, found.cores_limited_by


def memory(root):
    found = detection.detect(root=root)
    return found.memory_gib, found.memory_limited_by


# --- cores -----------------------------------------------------------------------------------------------------------


def test_without_limits_all_physical_cores_are_usable(root):
    assert cores(root) == (8, "physical")


def test_smt_siblings_count_as_one_core(root):
    hardware(root, cores=4, threads=2)
    assert cores(root) == (4, "physical")


def test_two_siblings_of_one_core_in_the_affinity_are_one_core(root, monkeypatch):
    hardware(root, cores=4, threads=2)
    pretend(monkeypatch, affinity=[1, 5])
    assert cores(root) == (1, "affinity")


def test_affinity_limits_the_cores(root, monkeypatch):
    pretend(monkeypatch, affinity=[0, 3, 5])
    assert cores(root) == (3, "affinity")


def test_an_affinity_of_one_thread_on_every_core_is_no_limit(root, monkeypatch):
    hardware(root, cores=4, threads=2)
    pretend(monkeypatch, affinity=range(4))
    assert cores(root) == (4, "physical")


def test_the_tightest_quota_of_cgroup_v2_counts_even_at_an_ancestor(root):
    cgroup2(root, "/slice/job/step")
    write(
        root,
        {
            "sys/fs/cgroup/slice/job/step/cpu.max": "max 100000",
            "sys/fs/cgroup/slice/job/cpu.max": "600000 100000",
            "sys/fs/cgroup/slice/cpu.max": "300000 100000",
        },
    )
    assert cores(root) == (3, "cgroup v2")


def test_the_tightest_quota_of_cgroup_v1_counts_even_at_an_ancestor(root):
    cgroup1(root, "/docker/abc")
    for folder, quota in (("docker/abc", -1), ("docker", 200000), ("", -1)):
        write(root, {f"sys/fs/cgroup/cpu,cpuacct/{folder}/cpu.cfs_quota_us": quota})
        write(root, {f"sys/fs/cgroup/cpu,cpuacct/{folder}/cpu.cfs_period_us": 100000})
    assert cores(root) == (2, "cgroup v1")


@pytest.mark.parametrize(("quota", "expected"), [(350000, 3), (99999, 1), (1000, 1)])
def test_a_fractional_quota_is_rounded_down_but_never_below_one_core(root, quota, expected):
    cgroup2(root, "/")
    write(root, {"sys/fs/cgroup/cpu.max": f"{quota} 100000"})
    assert cores(root) == (expected, "cgroup v2")


@settings(max_examples=25, deadline=None)  # each example writes a machine
@given(quotas=st.lists(st.one_of(st.just("max"), st.integers(1000, 3_200_000)), min_size=1, max_size=5))
def test_any_chain_of_quotas_gives_the_floor_of_the_smallest(quotas):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as monkeypatch:
        pretend(monkeypatch)
        hardware(folder, cores=2)
        cgroup2(folder, "/" + "/".join("abcde"[: len(quotas) - 1]))
        for depth, quota in enumerate(quotas):
            write(folder, {f"sys/fs/cgroup/{'/'.join('abcde'[:depth])}/cpu.max": f"{quota} 100000"})
        given_cores = [quota / 100000 for quota in quotas if quota != "max"]
        assert cores(Path(folder))[0] == max(1, math.floor(min([2, *given_cores])))


def test_a_cpuset_of_cgroup_v2_limits_the_cores(root):
    cgroup2(root, "/job")
    write(root, {"sys/fs/cgroup/job/cpuset.cpus.effective": "2-4", "sys/fs/cgroup/cpuset.cpus.effective": "0-7"})
    assert cores(root) == (3, "cgroup v2")


def test_a_cpuset_of_cgroup_v1_limits_the_cores(root):
    cgroup1(root, "/job")
    write(root, {"sys/fs/cgroup/cpuset/job/cpuset.cpus": "0,7", "sys/fs/cgroup/cpuset/cpuset.cpus": "0-7"})
    assert cores(root) == (2, "cgroup v1")


def test_the_cpuset_is_named_as_the_cause_of_the_affinity_it_makes(root, monkeypatch):
    pretend(monkeypatch, affinity=[2, 3])
    cgroup2(root, "/job")
    write(root, {"sys/fs/cgroup/job/cpuset.cpus.effective": "2-3"})
    assert cores(root) == (2, "cgroup v2")


def test_cpuset_and_affinity_limit_together(root, monkeypatch):
    pretend(monkeypatch, affinity=[3, 4])
    cgroup2(root, "/job")
    write(root, {"sys/fs/cgroup/job/cpuset.cpus.effective": "0-3"})
    assert cores(root) == (1, "affinity")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_CPUS_ON_NODE": "4"}, (4, "slurm")),
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "2"}, (2, "slurm")),
        ({"SLURM_CPUS_ON_NODE": "6", "SLURM_CPUS_PER_TASK": "2", "SLURM_NTASKS": "3"}, (6, "slurm")),
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_NTASKS": "3", "SLURM_STEP_ID": "0"}, (2, "slurm")),
        ({"SLURM_CPUS_ON_NODE": "128"}, (8, "physical")),
        ({"SLURM_CPUS_ON_NODE": "many"}, (8, "physical")),
    ],
    ids=["node", "one task", "batch script with tasks", "step", "more than there is", "not a number"],
)
def test_slurm_only_lowers_the_cores(root, monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cores(root) == expected


# --- memory ----------------------------------------------------------------------------------------------------------


def test_without_limits_all_physical_memory_is_usable(root):
    assert memory(root) == (64, "physical")


@pytest.mark.parametrize("name", ["memory.max", "memory.high"])
def test_both_limits_of_cgroup_v2_count_at_any_ancestor(root, name):
    cgroup2(root, "/slice/job")
    write(root, {"sys/fs/cgroup/slice/job/memory.max": "max", f"sys/fs/cgroup/slice/{name}": 16 * detection.GIB})
    assert memory(root) == (16, "cgroup v2")


def test_the_limit_of_cgroup_v1_counts_at_any_ancestor(root):
    cgroup1(root, "/docker/abc")
    write(root, {"sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": V1_UNLIMITED})
    write(root, {"sys/fs/cgroup/memory/docker/memory.limit_in_bytes": 8 * detection.GIB})
    assert memory(root) == (8, "cgroup v1")


def test_the_huge_number_of_cgroup_v1_is_no_limit(root):
    cgroup1(root, "/docker")
    write(root, {"sys/fs/cgroup/memory/docker/memory.limit_in_bytes": V1_UNLIMITED})
    assert memory(root) == (64, "physical")


def test_cgroup_v1_knows_the_limit_of_an_ancestor_outside_the_container(root):
    cgroup1(root, "/outer/inner", mounted="/outer/inner")
    write(root, {"sys/fs/cgroup/memory/memory.limit_in_bytes": V1_UNLIMITED})
    write(root, {"sys/fs/cgroup/memory/memory.stat": f"cache 0\nhierarchical_memory_limit {4 * detection.GIB}"})
    assert memory(root) == (4, "cgroup v1")


def test_both_hierarchies_of_a_hybrid_system_count(root):
    cgroup1(root, "/job")
    with (root / "proc/self/cgroup").open("a") as file:
        file.write("0::/unified\n")
    with (root / "proc/self/mountinfo").open("a") as file:
        file.write("38 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n")
    write(root, {"sys/fs/cgroup/memory/job/memory.limit_in_bytes": 12 * detection.GIB})
    write(root, {"sys/fs/cgroup/unified/unified/cpu.max": "200000 100000"})
    assert (cores(root), memory(root)) == ((2, "cgroup v2"), (12, "cgroup v1"))


def test_a_namespace_that_hides_the_path_leaves_the_mounted_part(root):
    cgroup2(root, "/")
    write(root, {"sys/fs/cgroup/memory.max": 6 * detection.GIB})
    assert memory(root) == (6, "cgroup v2")


def test_a_bind_mount_of_the_own_group_is_found_from_the_hosts_path(root):
    cgroup2(root, "/docker/abc", mounted="/docker/abc")
    write(root, {"sys/fs/cgroup/memory.max": 6 * detection.GIB})
    assert memory(root) == (6, "cgroup v2")


@pytest.mark.parametrize(("path", "mounted"), [("/../other", "/"), ("/", "/.."), ("/kubepods/x", "/docker/abc")])
def test_where_path_and_mount_do_not_fit_the_top_of_the_mount_counts(root, path, mounted):
    cgroup2(root, path, mounted=mounted)
    write(root, {"sys/fs/cgroup/memory.max": 6 * detection.GIB})
    assert memory(root) == (6, "cgroup v2")


def test_the_mount_that_shows_most_ancestors_is_read(root):
    cgroup2(root, "/slice/job")
    with (root / "proc/self/mountinfo").open("a") as file:
        file.write("31 23 0:26 /slice/job /mnt/job rw - cgroup2 cgroup2 rw\n")
    write(root, {"mnt/job/memory.max": "max", "sys/fs/cgroup/slice/memory.max": 6 * detection.GIB})
    assert memory(root) == (6, "cgroup v2")


def test_control_groups_may_be_mounted_anywhere(root):
    cgroup2(root, "/job", point="/run/my\\040groups")
    write(root, {"run/my groups/job/memory.max": 6 * detection.GIB})
    assert memory(root) == (6, "cgroup v2")


def test_control_groups_that_are_not_mounted_are_no_limit(root):
    write(
        root,
        {"proc/self/cgroup": "4:memory:/job\n0::/job", "proc/self/mountinfo": "22 27 0:21 / /proc rw - proc proc rw"},
    )
    assert (cores(root), memory(root)) == ((8, "physical"), (64, "physical"))


@pytest.mark.parametrize("kind", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_resource_limits_lower_the_memory(root, monkeypatch, kind):
    soft = {kind: 10 * detection.GIB}
    monkeypatch.setattr(resource, "getrlimit", lambda asked: (soft.get(asked, resource.RLIM_INFINITY), 0))
    assert memory(root) == (10, "rlimit")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_MEM_PER_NODE": "16384"}, (16, "slurm")),
        ({"SLURM_MEM_PER_CPU": "2048", "SLURM_CPUS_ON_NODE": "4"}, (8, "slurm")),
        ({"SLURM_MEM_PER_CPU": "2048"}, (64, "physical")),
        ({"SLURM_MEM_PER_NODE": "0"}, (64, "physical")),
        ({"SLURM_MEM_PER_NODE": "999999"}, (64, "physical")),
    ],
    ids=["per node", "per processor", "processors unknown", "whole node", "more than there is"],
)
def test_slurm_only_lowers_the_memory(root, monkeypatch, variables, expected):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert memory(root) == expected


def test_available_memory_is_what_the_kernel_calls_available(root):
    assert detection.available_memory_gib(detection.detect(root=root), root=root) == 32


@pytest.mark.parametrize("version", [1, 2])
def test_available_memory_within_a_control_group_counts_file_cache_as_free(root, version):
    gib = detection.GIB
    if version == 2:
        cgroup2(root, "/job")
        folder, limit, usage, cache = "sys/fs/cgroup/job", "memory.max", "memory.current", "inactive_file"
    else:
        cgroup1(root, "/job")
        folder, limit, usage = "sys/fs/cgroup/memory/job", "memory.limit_in_bytes", "memory.usage_in_bytes"
        cache = "inactive_file 0\ntotal_inactive_file"
    write(
        root,
        {f"{folder}/{limit}": 16 * gib, f"{folder}/{usage}": 9 * gib, f"{folder}/memory.stat": f"{cache} {2 * gib}"},
    )
    assert detection.available_memory_gib(detection.detect(root=root), root=root) == 9


def test_available_memory_never_exceeds_what_was_asked_for(root):
    asked = detection.detect(memory_gib=4, root=root)
    assert detection.available_memory_gib(asked, root=root) == 4


def test_available_memory_is_never_negative(root):
    cgroup2(root, "/")
    write(root, {"sys/fs/cgroup/memory.max": detection.GIB, "sys/fs/cgroup/memory.current": 2 * detection.GIB})
    assert detection.available_memory_gib(detection.detect(root=root), root=root) == 0


# --- options ---------------------------------------------------------------------------------------------------------


def test_options_replace_the_limits(root):
    found = detection.detect(cores=3, memory_gib=7.5, root=root)
    assert (found.cores, found.cores_limited_by, found.memory_gib, found.memory_limited_by) == (
        3,
        "option",
        7.5,
        "option",
    )


def test_more_cores_than_usable_is_refused_in_one_line(root, monkeypatch):
    pretend(monkeypatch, affinity=[0, 1])
    line = "4 cores asked for, but this process may use 2 (limit: affinity): ask for less or raise it"
    with pytest.raises(ResourceError, match=f"^{re.escape(line)}$"):
        detection.detect(cores=4, root=root)


def test_more_memory_than_usable_is_refused_in_one_line(root):
    hardware(root, memory_gib=23.549)
    line = "24 GiB of memory asked for, but this process may use 23.54 (limit: physical): ask for less or raise it"
    with pytest.raises(ResourceError, match=f"^{re.escape(line)}$"):
        detection.detect(memory_gib=24, root=root)


@pytest.mark.parametrize("options", [{"cores": 0}, {"cores": -2}, {"memory_gib": 0.0}, {"memory_gib": math.nan}])
def test_options_that_are_not_positive_are_refused(root, options):
    with pytest.raises(InputError, match="give a positive number"):
        detection.detect(**options, root=root)


# --- facts and key ---------------------------------------------------------------------------------------------------


def test_the_key_tells_model_vector_cores_memory_and_cache(root):
    assert detection.detect(root=root).key == "amd-epyc-7763-x86_64-avx2-8c-64g-l3-32m"


def test_the_key_tells_numa_nodes_where_there_are_more_than_one(root):
    hardware(root, sockets=2)
    assert detection.detect(root=root).key == "amd-epyc-7763-x86_64-avx2-8c-64g-2n-l3-32m"


def test_only_numa_nodes_of_usable_cores_count(root, monkeypatch):
    hardware(root, sockets=2)
    pretend(monkeypatch, affinity=[0, 1])
    assert detection.detect(root=root).numa_nodes == 1


def test_slices_of_the_last_cache_are_added_up_within_one_socket(root):
    hardware(root, sockets=2)
    for cpu in range(8):
        pair = f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}"
        write(root, {f"sys/devices/system/cpu/cpu{cpu}/cache/index3/shared_cpu_list": pair})
    assert detection.detect(root=root).l3_mib == 64


def test_the_key_is_the_same_in_every_run(root):
    assert detection.detect(root=root) == detection.detect(root=root)


def test_the_key_holds_no_host_name(root, monkeypatch):
    before = detection.detect(root=root).key
    write(root, {"proc/sys/kernel/hostname": "node17", "etc/hostname": "node17"})
    monkeypatch.setattr(socket, "gethostname", lambda: "node17")
    monkeypatch.setattr(platform, "node", lambda: "node17")
    assert detection.detect(root=root).key == before


def test_a_little_more_or_less_memory_is_the_same_key(root):
    keys = set()
    for memory_gib in (23.4, 23.5, 24.0):
        hardware(root, memory_gib=memory_gib)
        keys.add(detection.detect(root=root).key)
    assert len(keys) == 1


def test_free_memory_and_load_do_not_change_the_key(root):
    before = detection.detect(root=root).key
    write(
        root, {"proc/meminfo": f"MemTotal: {64 * KIB_PER_GIB} kB\nMemAvailable: 1 kB", "proc/loadavg": "99 99 99 9/9 9"}
    )
    assert detection.detect(root=root).key == before


def test_fewer_cores_are_another_key(root):
    assert detection.detect(root=root).key != detection.detect(cores=2, root=root).key


@settings(deadline=None)
@given(st.floats(1, 4096))
def test_the_memory_bin_is_a_nearby_size_of_modules(memory_gib):
    size = detection.memory_bin_gib(memory_gib)
    assert memory_gib / 1.42 <= size <= memory_gib * 1.42
    assert detection.memory_bin_gib(size) == size


@settings(deadline=None)
@given(st.integers(1, 12), st.floats(0.93, 1.0))
def test_what_a_kernel_keeps_for_itself_does_not_move_the_memory_bin(power, share):
    assert detection.memory_bin_gib(2**power * share) == 2**power


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
    ("flags", "expected"),
    [
        ("flags : sse2 avx avx2 avx512f", "avx512"),
        ("flags : sse2 avx", "avx"),
        ("flags : sse2", "sse2"),
        ("Features : fp asimd", "neon"),
        ("flags : fpu", ""),
    ],
)
def test_the_widest_vector_instructions_are_named(root, flags, expected):
    write(root, {"proc/cpuinfo": flags})
    assert detection.detect(root=root).vector == expected


def test_an_arm_processor_without_a_name_is_known_by_its_numbers(root):
    write(root, {"proc/cpuinfo": "processor : 0\nCPU implementer : 0x41\nCPU part : 0xd0c"})
    assert detection.cpu_model(root) == "arm 0x41 0xd0c"


@settings(deadline=None)
@given(st.frozensets(st.integers(0, 300)))
def test_a_list_of_processors_is_read_as_it_was_written(cpus):
    assert detection.cpu_list(",".join(str(cpu) for cpu in sorted(cpus))) == cpus


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(0, 100))
def test_a_range_of_processors_includes_both_ends(first, length):
    assert detection.cpu_list(f"{first}-{first + length}") == frozenset(range(first, first + length + 1))


@settings(deadline=None)
@given(st.text())
def test_garbage_is_no_limit_and_no_error(text):
    assert detection.number(text) is None or re.fullmatch("[0-9]+", text)


# --- elsewhere -------------------------------------------------------------------------------------------------------


def test_without_the_kernels_files_psutil_is_asked(tmp_path, monkeypatch):
    pretend(monkeypatch)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 10 if logical else 5)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"total": 2**35, "available": 2**34}))
    found = detection.detect(root=tmp_path)
    assert (found.cores, found.memory_gib, found.numa_nodes, found.l3_mib) == (5, 32, 1, 0)
    assert detection.available_memory_gib(found, root=tmp_path) == 16


def test_without_topology_the_affinity_still_counts(tmp_path, monkeypatch):
    pretend(monkeypatch, affinity=[0, 1, 2])
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: 16 if logical else 8)
    assert detection.detect(root=tmp_path).cores == 3


def test_where_psutil_cannot_count_there_is_one_core(tmp_path, monkeypatch):
    pretend(monkeypatch)
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(psutil, "cpu_count", lambda logical=True: None)  # noqa: ARG005 - psutil's signature
    assert detection.detect(root=tmp_path).cores == 1


def test_a_platform_without_resource_limits_has_none(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory(root) == (64, "physical")


# --- cores that are not alike -----------------------------------------------------------------------------------------


def speeds(root, file, values, *, threads=1):
    """Write how fast the kernel says each core is; thread t of core c is processor c + t * cores."""
    cores = len(values)
    for thread in range(threads):
        write(
            root,
            {f"sys/devices/system/cpu/cpu{core + thread * cores}/{file}": value for core, value in enumerate(values)},
        )


@pytest.mark.parametrize("file", ["cpu_capacity", "cpufreq/cpuinfo_max_freq"])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_kernel_says_which_cores_are_slow_and_threads_of_a_core_count_once(root, file, threads):
    hardware(root, cores=4, threads=threads)
    speeds(root, file, [1024, 512, 1024, 512], threads=threads)
    assert detection.core_speeds(root) == (1.0, 1.0, 0.5, 0.5)


def test_cores_that_the_kernel_calls_alike_are_told_by_their_frequencies(root):
    hardware(root, cores=2)
    speeds(root, "cpu_capacity", [1024, 1024])
    speeds(root, "cpufreq/cpuinfo_max_freq", [5_000_000, 3_000_000])
    assert detection.core_speeds(root) == (1.0, 0.6)


def test_a_few_percent_are_nothing_and_so_is_silence(root):
    hardware(root, cores=2)
    assert detection.core_speeds(root) == ()
    speeds(root, "cpufreq/cpuinfo_max_freq", [5_100_000, 4_900_000])
    assert detection.core_speeds(root) == ()
    write(root, {"sys/devices/system/cpu/cpu0/cpu_capacity": 1024})  # of one core only
    assert detection.core_speeds(root) == ()


# --- GPUs ------------------------------------------------------------------------------------------------------------


def gpus(root, *, nvidia=0, amd=0):
    """Write what the drivers say; AMD's also knows the processors, which have no number."""
    write(root, {f"proc/driver/nvidia/gpus/0000:0{card}:00.0/information": "Model: H200" for card in range(nvidia)})
    numbers = [0, *range(31415, 31415 + amd)]
    write(root, {f"sys/class/kfd/kfd/topology/nodes/{n}/gpu_id": number for n, number in enumerate(numbers)})


@pytest.fixture
def _all_visible(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("_all_visible")
def test_the_gpus_of_both_makers_are_counted_and_leave_the_key_as_it_is(root):
    without = detection.detect(root=root)
    gpus(root, nvidia=2, amd=3)
    found = detection.detect(root=root)
    assert (without.gpus, found.gpus) == (0, 5)
    assert found.key == without.key


@pytest.mark.usefixtures("_all_visible")
@pytest.mark.parametrize(
    ("given", "left"),
    [("0", 1), ("2,0", 2), ("", 0), ("-1", 0), ("0, 1,-1,2", 2), ("GPU-8932f937,GPU-d1", 2), ("7", 1)],
)
def test_a_variable_leaves_only_some_of_a_makers_gpus(root, monkeypatch, given, left):
    gpus(root, nvidia=3, amd=1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert gpu_devices.usable_gpus(root) == left + 1
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    assert gpu_devices.usable_gpus(root) == left


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
