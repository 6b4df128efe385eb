"""Times are read from run records, tunings and pytest-benchmark's own files."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
from dataclasses import replace

import pytest
from damage import run_record
from tuning_factory import make_tuning

from autotune.base import json_files
from autotune.base.errors import InputError
from autotune.compare import samples
from autotune.machine import detection
from autotune.tunings import library


@pytest.fixture
def record(tmp_path):
    def save(name="run.json", **changes):
        done = [task for task in run_record().task_records if task.status == "done"]
        path = tmp_path / name
        json_files.save_run(replace(run_record(), task_records=tuple(done), **changes), path)
        return path

    return save


def test_a_run_record_is_one_sample_with_its_energy(record):
    path = record(wall_s=3.0)
    assert json.loads(path.read_text())["schema"] == json_files.RUN_SCHEMA
    (sample,) = samples.read(path)
    assert sample.source == str(path)
    assert (sample.wall_s, sample.energy_hartree, sample.content) == (3.0, -74.96, "0123456789abcdef")
    assert sample.workload == "H2O 1-body, pyscf hf/sto-3g energy"


def test_the_time_of_a_run_that_failed_or_did_not_compute_everything_says_nothing(tmp_path, record):
    with pytest.raises(InputError, match="took 3 tasks from a journal"):
        samples.read(record(recalled=3))
    json_files.save_run(run_record(), tmp_path / "run.json")
    with pytest.raises(InputError, match="of a run that failed"):
        samples.read(tmp_path / "run.json")


def test_a_folder_gives_all_its_records_oldest_first_and_passes_over_other_files(tmp_path, record):
    record("b.json", created="2026-01-02T00:00:00", wall_s=2.0)
    record("a.json", created="2026-01-03T00:00:00", wall_s=3.0)
    record("c.json", created="2026-01-01T00:00:00", wall_s=1.0)
    (tmp_path / "notes.json").write_text("{}")
    assert [sample.wall_s for sample in samples.read(tmp_path)] == [1.0, 2.0, 3.0]


def test_copies_of_a_record_are_no_repeats(tmp_path, record):
    text = record("a.json", wall_s=2.5).read_text()
    for number in range(5):
        (tmp_path / f"copy{number}.json").write_text(text)
    record("b.json", wall_s=2.75)
    said = []
    assert [sample.wall_s for sample in samples.read(tmp_path, say=said.append)] == [2.5, 2.75]
    assert len(said) == 5
    assert said[0].endswith(f"copy0.json has measurements of {tmp_path / 'a.json'}; a copy is no repeat")


def test_records_of_a_folder_that_cannot_count_are_named(tmp_path, record):
    record("good.json", wall_s=2.0)
    record("again.json", recalled=1)
    record("zero.json", wall_s=0.0)
    (tmp_path / "cut.json").write_text('{"schema": "autotune.run/5"')
    (tmp_path / "notes.json").write_text("{}")
    said = []
    assert [sample.wall_s for sample in samples.read(tmp_path, say=said.append)] == [2.0]
    assert len(said) == 3
    assert all(line.startswith(f"left out: {tmp_path}") for line in said)
    assert any("has the time 0.0 s, which is none" in line for line in said)


def test_a_file_that_is_too_large_is_said_to_be_so(tmp_path, monkeypatch):
    monkeypatch.setattr(json_files, "MAX_RUN_BYTES", 2**20)
    (tmp_path / "big.json").write_text('{"schema": "' + "x" * 2**20)
    with pytest.raises(InputError, match="is larger than 1 MiB; this is not a record"):
        samples.read(tmp_path / "big.json")


def test_a_tuning_gives_the_runs_of_the_default_and_both_sides_of_the_pairs_and_two_exports_are_one(tmp_path):
    tuning = make_tuning()
    for name in ("one", "other"):
        library.save(tuning, tmp_path / f"{name}.json")
    found = samples.read(tmp_path / "one.json")
    assert len(found) == sum(map(len, tuning.evidence.noise_s)) + 2 * len(tuning.evidence.pairs)
    assert {sample.machine for sample in found} == {tuning.machine.key}
    assert len(samples.read(tmp_path)) == len(found)


BENCHMARK = """
import time

def test_nap(benchmark):
    benchmark.pedantic(time.sleep, args=(0.002,), rounds=5)
"""


def test_a_file_of_pytest_benchmark_is_one_sample_for_each_benchmark(tmp_path):
    (tmp_path / "test_nap.py").write_text(BENCHMARK)
    # Beside other tests pytest-benchmark would write nothing, and other plugins take long to load.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    alone["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "pytest_benchmark.plugin", "--benchmark-json=out.json"]
    subprocess.run([*command, "test_nap.py"], cwd=tmp_path, env=alone, check=True, capture_output=True, timeout=120)
    (sample,) = samples.read(tmp_path / "out.json")
    assert sample.workload == "test_nap.py::test_nap"
    assert 0.002 <= sample.wall_s < 0.1
    assert sample.created
    assert sample.machine.startswith("Linux") or sys.platform != "linux"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is neither a run record"),
        ("{}", "is neither a run record"),
        ('{"schema": "autotune.run/5"}', "field"),
        ('{"schema": "autotune.run/99"}', "it is of a newer autotune"),
        ('{"benchmarks": [{}], "machine_info": {}}', "is not as pytest-benchmark writes it"),
        ('{"benchmarks": 3, "machine_info": {}}', "is not as pytest-benchmark writes it"),
        ('{"benchmarks": [], "machine_info": []}', "is not as pytest-benchmark writes it"),
        (
            '{"benchmarks": [{"fullname": "a", "stats": {"median": -1}}], "machine_info": {}}',
            "the median of a is no time",
        ),
    ],
)
def test_what_is_no_record_is_refused_in_one_line(tmp_path, text, words):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as refused:
        samples.read(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


def test_an_empty_folder_and_a_missing_file_are_refused(tmp_path):
    with pytest.raises(InputError, match="has no run record"):
        samples.read(tmp_path)
    with pytest.raises(InputError, match="cannot be read"):
        samples.read(tmp_path / "none.json")


def test_the_noise_of_a_machine_is_what_its_calibrations_saw():
    here = detection.detect().key
    assert samples.known_noise(here) is None
    tuning = make_tuning()
    found = replace(tuning, machine=replace(tuning.machine, key=here))
    library.save(found)
    noise = samples.known_noise(here)
    runs = [len(walls) for walls in found.evidence.noise_s]
    logs = [[math.log(wall_s) for wall_s in walls] for walls in found.evidence.noise_s]
    squares = sum((len(walls) - 1) * statistics.variance(walls) for walls in logs)
    assert noise.cv == pytest.approx(math.sqrt(squares / (sum(runs) - len(runs))))
    assert noise.freedom == sum(runs) - len(runs)
