"""Which GPUs there are, what they hold, and what a worker is told, on machines that are pretended."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from autotune.machine import detection, gpus

VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@pytest.fixture(autouse=True)
def nobody_chose(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    gpus._nvml_memory_gib.cache_clear()
    yield
    gpus._nvml_memory_gib.cache_clear()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that makes a machine with GPUs of NVIDIA, of these GiB, and of AMD; and returns its root."""

    def make(*nvidia_gib, amd=0):
        for number in range(len(nvidia_gib)):
            about = tmp_path / f"proc/driver/nvidia/gpus/0000:0{number}:00.0/information"
            about.parent.mkdir(parents=True)
            about.write_text(f"Model: \t\t NVIDIA H{100 + number % 2 * 100}\nIRQ:   \t\t 0\n")
        for number in range(amd):
            node = tmp_path / f"sys/class/kfd/kfd/topology/nodes/{number}/gpu_id"
            node.parent.mkdir(parents=True)
            node.write_text("31415\n")
        totals = [SimpleNamespace(total=gib * 2**30) for gib in nvidia_gib]
        nvml = SimpleNamespace(
            nvmlInit=lambda: None,
            nvmlShutdown=lambda: None,
            nvmlDeviceGetCount=lambda: len(totals),
            nvmlDeviceGetHandleByIndex=lambda number: number,
            nvmlDeviceGetMemoryInfo=totals.__getitem__,
        )
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        return tmp_path

    return make


def test_a_machine_without_any_has_none_and_nvml_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert (gpus.usable_gpus(tmp_path), gpus.models(tmp_path), gpus.memory_gib(tmp_path)) == (0, (), ())


def test_they_are_counted_and_named_and_their_memory_is_read(machine):
    root = machine(80, 80, 80)
    assert gpus.usable_gpus(root) == 3
    assert gpus.models(root) == ("NVIDIA H100", "NVIDIA H200")
    assert gpus.memory_gib(root) == (80.0, 80.0, 80.0)
    assert detection.detect(root=root).gpu_memory_gib == (80.0, 80.0, 80.0)


def test_without_nvml_the_memory_is_not_known_and_nothing_is_said(machine, monkeypatch):
    root = machine(80)
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=lambda: 1 / 0))
    assert (gpus.usable_gpus(root), gpus.memory_gib(root)) == (1, ())


@pytest.mark.parametrize(
    ("environment", "gib"),
    [
        ({}, (80.0, 141.0)),  # we set the order
        ({"CUDA_VISIBLE_DEVICES": "1"}, ()),  # which of them that is, CUDA's own order says
        ({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, (80.0, 141.0)),
        ({"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, ()),
    ],
)
def test_memory_of_unequal_devices_is_given_where_it_is_known_which_is_which(machine, monkeypatch, environment, gib):
    root = machine(80, 141)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert gpus.memory_gib(root) == gib


def test_equal_devices_have_their_memory_whichever_are_left(machine, monkeypatch):
    root = machine(80, 80, 80)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-2,GPU-0")
    assert gpus.memory_gib(root) == (80.0, 80.0)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, [("CUDA_VISIBLE_DEVICES", "1"), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")]),
        ({"CUDA_VISIBLE_DEVICES": "3, 5"}, [("CUDA_VISIBLE_DEVICES", "5")]),
        ({"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, [("CUDA_VISIBLE_DEVICES", "1")]),
    ],
)
def test_a_worker_is_told_one_device_of_those_that_are_visible(machine, monkeypatch, environment, told):
    root = machine(80, 80, amd=1)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert gpus.environment_of(1, environment, root) == tuple(told)


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({}, ("ROCR_VISIBLE_DEVICES", "1")),
        ({"HIP_VISIBLE_DEVICES": "4,6"}, ("HIP_VISIBLE_DEVICES", "6")),
        ({"ROCR_VISIBLE_DEVICES": "2,7"}, ("ROCR_VISIBLE_DEVICES", "7")),
    ],
)
def test_those_of_amd_come_behind_and_have_variables_of_their_own(machine, monkeypatch, environment, told):
    root = machine(80, amd=2)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert gpus.environment_of(2, environment, root) == (told,)
