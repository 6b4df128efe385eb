"""Which GPUs there are, what they hold, and what a worker is told, on machines that are pretended."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from node_files import write

from autotune.machine import detection, gpus

VARIABLES = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return a function that makes a machine with GPUs of NVIDIA, of these GiB, and of AMD; and returns its root.

    AMD's driver also knows the processors, which have no number. No variable chooses any but those that are given.
    """
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    gpus._nvml_memory_gib.cache_clear()

    def make(*nvidia_gib, amd=0, environment=None):
        for number in range(len(nvidia_gib)):
            about = f"Model: \t\t NVIDIA H{100 + number % 2 * 100}\nIRQ:   \t\t 0"
            write(tmp_path, {f"proc/driver/nvidia/gpus/0000:0{number}:00.0/information": about})
        for node, number in enumerate([0, *range(31415, 31415 + amd)]):
            write(tmp_path, {f"sys/class/kfd/kfd/topology/nodes/{node}/gpu_id": number})
        totals = [SimpleNamespace(total=gib * 2**30) for gib in nvidia_gib]
        nvml = SimpleNamespace(
            nvmlInit=lambda: None,
            nvmlShutdown=lambda: None,
            nvmlDeviceGetCount=lambda: len(totals),
            nvmlDeviceGetHandleByIndex=lambda number: number,
            nvmlDeviceGetMemoryInfo=totals.__getitem__,
        )
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        return tmp_path

    yield make
    gpus._nvml_memory_gib.cache_clear()


def test_a_machine_without_any_has_none_and_nvml_is_not_asked(machine, monkeypatch):
    root = machine()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert (gpus.usable_gpus(root), gpus.models(root), gpus.memory_gib(root)) == (0, (), ())


def test_they_are_counted_and_named_and_their_memory_is_read(machine):
    root = machine(80, 80, 80)
    assert gpus.usable_gpus(root) == 3
    assert gpus.models(root) == ("NVIDIA H100", "NVIDIA H200")
    assert detection.detect(root=root).gpu_memory_gib == gpus.memory_gib(root) == (80.0, 80.0, 80.0)


def test_those_of_both_makers_are_counted_and_leave_the_key_of_the_machine_as_it_is(machine):
    without = detection.detect(root=machine())
    found = detection.detect(root=machine(80, 80, amd=3))
    assert (without.gpus, found.gpus) == (0, 5)
    assert found.key == without.key
    assert found.gpu_memory_gib == ()


@pytest.mark.parametrize(
    ("given", "left"),
    [("0", 1), ("2,0", 2), ("", 0), ("-1", 0), ("0, 1,-1,2", 2), ("GPU-8932f937,GPU-d1", 2), ("7", 1)],
)
def test_a_variable_leaves_only_some_of_a_makers_gpus(machine, given, left):
    root = machine(80, 80, 80, amd=1, environment={"CUDA_VISIBLE_DEVICES": given})
    assert gpus.usable_gpus(root) == left + 1
    machine(environment={"HIP_VISIBLE_DEVICES": ""})
    assert gpus.usable_gpus(root) == left


def test_without_nvml_the_memory_is_not_known_and_nothing_is_said(machine, monkeypatch):
    root = machine(80)
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(nvmlInit=lambda: 1 / 0))
    assert (gpus.usable_gpus(root), gpus.memory_gib(root)) == (1, ())


@pytest.mark.parametrize(
    ("there", "environment", "gib"),
    [
        ((80, 141), {}, (80.0, 141.0)),  # we set the order
        ((80, 141), {"CUDA_VISIBLE_DEVICES": "1"}, ()),  # which of them that is, CUDA's own order says
        ((80, 141), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, (80.0, 141.0)),
        ((80, 141), {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, ()),
        ((80, 80, 80), {"CUDA_VISIBLE_DEVICES": "GPU-2,GPU-0"}, (80.0, 80.0)),
    ],
)
def test_memory_is_given_where_devices_are_equal_or_it_is_known_which_is_which(machine, there, environment, gib):
    assert gpus.memory_gib(machine(*there, environment=environment)) == gib


@pytest.mark.parametrize(
    ("device", "environment", "told"),
    [
        (1, {}, [("CUDA_VISIBLE_DEVICES", "1"), ("CUDA_DEVICE_ORDER", "PCI_BUS_ID")]),
        (1, {"CUDA_VISIBLE_DEVICES": "3, 5"}, [("CUDA_VISIBLE_DEVICES", "5")]),
        (1, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}, [("CUDA_VISIBLE_DEVICES", "1")]),
        (3, {}, [("ROCR_VISIBLE_DEVICES", "1")]),
        (3, {"HIP_VISIBLE_DEVICES": "4,6"}, [("HIP_VISIBLE_DEVICES", "6")]),
        (3, {"ROCR_VISIBLE_DEVICES": "2,7"}, [("ROCR_VISIBLE_DEVICES", "7")]),
    ],
)
def test_a_worker_is_told_one_visible_device_and_those_of_amd_come_behind(machine, device, environment, told):
    root = machine(80, 80, amd=2, environment=environment)
    assert gpus.environment_of(device, environment, root) == tuple(told)
