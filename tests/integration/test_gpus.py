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


@pytest.mark.parametrize(("given", "devices"), [(None, {"0", "1"}), ("GPU-8a, 3", {"GPU-8a", "3"})])
def test_each_task_has_a_device_of_those_the_user_gave_and_each_worker_one_as_long_as_it_lives(
    faulty, tmp_path, on_gpus, monkeypatch, given, devices
):
    on_gpus(2)
    if given:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    fields = faulty("water6", "sleep", seconds=0.05, max_nbody=2, devices=str(tmp_path / "devices"))
    assert autotune.run(fields, cores=2, journal="none").return_result == 0.0
    found, tasks = devices_of(tmp_path / "devices")
    assert (found.keys(), tasks) == (devices, 21)
    (one,), (other,) = found.values()
    assert one != other


@pytest.mark.parametrize(("method", "workers"), [("sleep", 1), ("crash", 2)])
def test_with_one_device_tasks_wait_for_it_and_a_worker_that_dies_leaves_it_to_the_next(
    faulty, tmp_path, on_gpus, method, workers
):
    on_gpus(1)
    struck = {"seconds": 0.02} if method == "sleep" else {"first": str(tmp_path)}
    fields = faulty("water4", method, max_nbody=2, devices=str(tmp_path / "devices"), **struck)
    assert autotune.run(fields, journal="none").return_result == 0.0
    found, tasks = devices_of(tmp_path / "devices")
    assert (found.keys(), tasks) == ({"0"}, 10)
    assert len(found["0"]) >= workers


def test_without_a_gpu_the_program_is_refused_in_one_line(faulty, on_gpus):
    on_gpus(0)
    with pytest.raises(InputError, match=r"^faulty needs a GPU, and none may be used here \(see `autotune doctor`\)"):
        autotune.run(faulty("water2"), journal="none")
