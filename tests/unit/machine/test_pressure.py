"""Claims about `autotune.machine.pressure`, on machines made of files in a folder."""

from __future__ import annotations

import pytest

from autotune.machine.pressure import Kills, limit_events, memory_kills, stalled_share


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")


def pressure(some):
    return f"some avg10={some} avg60=0.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=1"


def events(*, high=0, most=0, kills=0):
    return f"low 9\nhigh {high}\nmax {most}\noom 9\noom_kill {kills}\noom_group_kill 0"


V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "31 23 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
UNIFIED_MOUNT = "32 23 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate"


@pytest.fixture
def v2(tmp_path):
    """A machine with cgroup v2; this process is in /job/step."""
    write(tmp_path, {"proc/self/cgroup": "0::/job/step", "proc/self/mountinfo": V2_MOUNT})
    return tmp_path


@pytest.fixture
def v1(tmp_path):
    write(tmp_path, {"proc/self/cgroup": "4:memory:/job/step\n2:cpu:/job", "proc/self/mountinfo": V1_MOUNT})
    return tmp_path


@pytest.mark.parametrize("read", [stalled_share, limit_events, memory_kills])
def test_files_that_are_missing_or_hold_something_else_say_nothing(read, tmp_path):
    assert read(tmp_path) == 0.0
    write(tmp_path, {"proc/self/cgroup": "0::/job", "proc/self/mountinfo": V2_MOUNT})
    assert read(tmp_path) == 0.0
    write(tmp_path, {"proc/pressure/memory": "some\nfull", "proc/vmstat": "oom_kill", "sys/fs/cgroup/job": "a file"})
    assert read(tmp_path) == 0.0


# --- stalls ----------------------------------------------------------------------------------------------------------


def test_our_own_control_group_says_how_long_tasks_waited_not_its_ancestors_nor_the_machine(v2):
    write(
        v2,
        {
            "sys/fs/cgroup/job/step/memory.pressure": pressure("12.50"),
            "sys/fs/cgroup/job/memory.pressure": pressure("50.00"),
            "proc/pressure/memory": pressure("80.00"),
        },
    )
    assert stalled_share(v2) == 0.125


@pytest.mark.parametrize("kind", ["v1", "v2"])
def test_where_our_group_tells_nothing_the_machine_does(kind, request):
    root = request.getfixturevalue(kind)
    write(root, {"proc/pressure/memory": pressure("3.00")})
    assert stalled_share(root) == 0.03


def test_beside_control_groups_of_v1_our_own_of_v2_is_asked(tmp_path):
    write(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/job\n0::/job",
            "proc/self/mountinfo": f"{V1_MOUNT}\n{UNIFIED_MOUNT}",
            "sys/fs/cgroup/memory/job/memory.failcnt": "0",
            "sys/fs/cgroup/unified/job/memory.pressure": pressure("12.50"),
            "proc/pressure/memory": pressure("80.00"),
        },
    )
    assert stalled_share(tmp_path) == 0.125


# --- limits and kills ------------------------------------------------------------------------------------------------


def grows(read, root, files):
    """Return by how much an answer grows when files are written again."""
    before = read(root)
    write(root, files)
    return read(root) - before


@pytest.mark.parametrize("limit", ["high", "most"])
@pytest.mark.parametrize("group", ["job/step", "job", "."])
def test_a_limit_of_v2_that_our_group_or_an_ancestor_meets_counts(v2, group, limit):
    write(v2, {f"sys/fs/cgroup/{name}/memory.events": events() for name in ("job/step", "job", ".")})
    assert grows(limit_events, v2, {f"sys/fs/cgroup/{group}/memory.events": events(**{limit: 2})}) == 2


def test_a_limit_of_v1_that_our_group_or_an_ancestor_meets_counts(v1):
    folder = "sys/fs/cgroup/memory/job"
    write(v1, {f"{folder}/step/memory.failcnt": "5", f"{folder}/memory.failcnt": "7"})
    assert grows(limit_events, v1, {f"{folder}/step/memory.failcnt": "6", f"{folder}/memory.failcnt": "9"}) == 3


def test_other_events_of_a_group_are_not_its_limits(v2):
    name = "sys/fs/cgroup/job/step/memory.events"
    write(v2, {name: events(high=1)})
    assert grows(limit_events, v2, {name: "low 99\nhigh 1\nmax 0\noom 5\noom_kill 5"}) == 0


def test_limits_that_other_groups_below_our_ancestor_meet_are_not_ours(v2):
    """An ancestor's `memory.events` counts those of all groups below it, `memory.events.local` its own."""
    own = {
        f"sys/fs/cgroup/{name}/memory.events{kind}": events() for name in ("job/step", "job") for kind in ("", ".local")
    }
    write(v2, own)
    assert grows(limit_events, v2, {"sys/fs/cgroup/job/memory.events": events(most=50)}) == 0


def test_kills_are_counted_on_the_machine_and_in_our_groups_of_either_kind(v1):
    write(v1, {"proc/vmstat": "nr_free_pages 12\noom_kill 3\noom_kill_other 50"})
    assert memory_kills(v1) == 3
    name = "sys/fs/cgroup/memory/job/memory.oom_control"
    assert grows(memory_kills, v1, {name: "oom_kill_disable 0\nunder_oom 0\noom_kill 4"}) == 4


def test_a_kill_in_our_group_of_v2_counts_where_the_machine_tells_nothing(v2):
    assert grows(memory_kills, v2, {"sys/fs/cgroup/job/step/memory.events": events(kills=1)}) == 1


def test_a_kill_is_seen_by_all_who_look_within_two_seconds_and_not_by_later_ones(monkeypatch):
    now, kills = [100.0], [3.0]
    monkeypatch.setattr("autotune.machine.pressure.memory_kills", lambda: kills[0])
    monkeypatch.setattr("autotune.machine.pressure.time.monotonic", lambda: now[0])
    seen = Kills()
    assert not seen.lately()
    kills[0] = 4.0
    assert seen.lately()
    now[0] += 1.5
    assert seen.lately()
    now[0] += 1.0
    assert not seen.lately()


def test_this_machine_answers():
    assert 0.0 <= stalled_share() <= 1.0
    assert limit_events() >= 0.0
    assert memory_kills() >= 0.0
