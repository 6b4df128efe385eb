"""A program that says it computes on GPUs, on a machine that says it has two: who is given which."""

from __future__ import annotations

from collections import defaultdict

import pytest

import autotune
from autotune.base.errors import InputError
from autotune.machine import gpus
from autotune.programs import facts


@pytest.fixture
def on_gpus(monkeypatch):
    """Return a function that pretends so many devices of NVIDIA, and a program that wants one."""
    monkeypatch.setenv("FAULTY_GPU", "1")
    facts._facts.cache_clear()

    def pretend(number):
        monkeypatch.setattr(gpus, "_usable", lambda _: (number, 0))

    yield pretend
    facts._facts.cache_clear()


def devices_of(path):
    """Return the processes that were at work on each device, and the number of tasks."""
    found, lines = defaultdict(set), path.read_text().splitlines()
    for line in lines:
        pid, device = line.split()
        found[device].add(pid)
    return found, len(lines)


def test_each_task_has_a_device_and_each_worker_one_as_long_as_it_lives(faulty, tmp_path, on_gpus):
    on_gpus(2)
    fields = faulty("water6", "sleep", seconds=0.05, max_nbody=2, devices=str(tmp_path / "devices"))
    assert autotune.run(fields, cores=2, journal="none").return_result == 0.0
    found, tasks = devices_of(tmp_path / "devices")
    assert tasks == 21
    assert {device: len(pids) for device, pids in found.items()} == {"0": 1, "1": 1}
    assert not found["0"] & found["1"]


def test_a_list_of_devices_that_the_user_gave_is_the_one_that_is_shared_out(faulty, tmp_path, on_gpus, monkeypatch):
    on_gpus(2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-8a, 3")
    fields = faulty("water6", "sleep", seconds=0.05, max_nbody=2, devices=str(tmp_path / "devices"))
    autotune.run(fields, cores=2, journal="none")
    assert set(devices_of(tmp_path / "devices")[0]) == {"GPU-8a", "3"}


def test_with_one_device_tasks_wait_for_it_and_for_nothing_else(faulty, tmp_path, on_gpus):
    on_gpus(1)
    fields = faulty("water4", "sleep", seconds=0.02, max_nbody=2, devices=str(tmp_path / "devices"))
    assert autotune.run(fields, journal="none").return_result == 0.0
    found, tasks = devices_of(tmp_path / "devices")
    assert (set(found), tasks) == ({"0"}, 10)


def test_a_worker_that_dies_on_a_device_leaves_it_to_the_next(faulty, tmp_path, on_gpus):
    on_gpus(1)
    fields = faulty("water4", "crash", max_nbody=2, first=str(tmp_path), devices=str(tmp_path / "devices"))
    assert autotune.run(fields, journal="none").return_result == 0.0
    found, tasks = devices_of(tmp_path / "devices")
    assert (set(found), tasks) == ({"0"}, 10)
    assert len(found["0"]) > 1


def test_without_a_gpu_the_program_is_refused_in_one_line(faulty, on_gpus):
    on_gpus(0)
    with pytest.raises(InputError, match=r"^faulty needs a GPU, and none may be used here \(see `autotune doctor`\)"):
        autotune.run(faulty("water2"), journal="none")
