"""Claims about `autotune.machine.pressure`, on machines made of files in a folder."""

from __future__ import annotations

import pytest
from node_files import write

from autotune.machine.pressure import Kills, limit_events, memory_kills, stalled_share


def pressure(some):
    return f"some avg10={some} avg60=0.00 avg300=0.00 total=1\nfull avg10=99.00 avg60=0.00 avg300=0.00 total=1"


def events(*, high=0, most=0, kills=0):
    return f"low 9\nhigh {high}\nmax {most}\noom 9\noom_kill {kills}\noom_group_kill 0"


V2_MOUNT = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1_MOUNT = "31 23 0:31 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
UNIFIED_MOUNT = "32 23 0:32 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate"
V2 = {"proc/self/cgroup": "0::/job/step", "proc/self/mountinfo": V2_MOUNT}
V1 = {"proc/self/cgroup": "4:memory:/job/step\n2:cpu:/job", "proc/self/mountinfo": V1_MOUNT}
BOTH = {"proc/self/cgroup": "4:memory:/job\n0::/job", "proc/self/mountinfo": f"{V1_MOUNT}\n{UNIFIED_MOUNT}"}
GROUP, STEP, GROUP1 = "sys/fs/cgroup/job", "sys/fs/cgroup/job/step", "sys/fs/cgroup/memory/job"


@pytest.mark.parametrize("read", [stalled_share, limit_events, memory_kills])
def test_files_that_are_missing_or_hold_something_else_say_nothing(read, tmp_path):
    assert read(tmp_path) == 0.0
    write(tmp_path, {"proc/self/cgroup": "0::/job", "proc/self/mountinfo": V2_MOUNT})
    assert read(tmp_path) == 0.0
    write(tmp_path, {"proc/pressure/memory": "some\nfull", "proc/vmstat": "oom_kill", GROUP: "a file"})
    assert read(tmp_path) == 0.0


# --- stalls ----------------------------------------------------------------------------------------------------------


UNIFIED = {"sys/fs/cgroup/memory/job/memory.failcnt": "0"}
UNIFIED["sys/fs/cgroup/unified/job/memory.pressure"] = pressure("12.50")


@pytest.mark.parametrize(
    ("files", "share"),
    [
        (V2 | {f"{STEP}/memory.pressure": pressure("12.50"), f"{GROUP}/memory.pressure": pressure("50.00")}, 0.125),
        (BOTH | UNIFIED, 0.125),
        (V1, 0.8),
        (V2, 0.8),
    ],
    ids=["v2", "v2 beside v1", "v1 tells nothing", "v2 tells nothing"],
)
def test_our_own_control_group_says_how_long_tasks_waited_or_else_the_machine(tmp_path, files, share):
    write(tmp_path, files | {"proc/pressure/memory": pressure("80.00")})
    assert stalled_share(tmp_path) == share


# --- limits and kills ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "machine", "before", "after", "grows"),
    [
        *(
            (limit_events, V2, {}, {f"sys/fs/cgroup/{group}/memory.events": events(**{limit: 2})}, 2)
            for group in ("job/step", "job", ".")
            for limit in ("high", "most")
        ),
        (
            limit_events,
            V1,
            {f"{GROUP1}/step/memory.failcnt": "5", f"{GROUP1}/memory.failcnt": "7"},
            {f"{GROUP1}/step/memory.failcnt": "6", f"{GROUP1}/memory.failcnt": "9"},
            3,
        ),
        # Other events of a group are not its limits.
        (
            limit_events,
            V2,
            {f"{STEP}/memory.events": events(high=1)},
            {f"{STEP}/memory.events": "low 99\nhigh 1\nmax 0\noom 5\noom_kill 5"},
            0,
        ),
        # An ancestor's `memory.events` counts those of all groups below it, `memory.events.local` its own.
        (limit_events, V2, {f"{GROUP}/memory.events.local": events()}, {f"{GROUP}/memory.events": events(most=50)}, 0),
        # Kills count on the machine and in our groups of either kind.
        (memory_kills, V1, {}, {"proc/vmstat": "nr_free_pages 12\noom_kill 3\noom_kill_other 50"}, 3),
        (memory_kills, V1, {}, {f"{GROUP1}/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4"}, 4),
        (memory_kills, V2, {}, {f"{STEP}/memory.events": events(kills=1)}, 1),
    ],
)
def test_limits_met_and_kills_are_counted_where_they_are_ours(tmp_path, read, machine, before, after, grows):
    unmet = {f"sys/fs/cgroup/{name}/memory.events": events() for name in ("job/step", "job", ".")}
    write(tmp_path, machine | (unmet if machine is V2 else {}) | before)
    first = read(tmp_path)
    write(tmp_path, after)
    assert read(tmp_path) - first == grows


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
