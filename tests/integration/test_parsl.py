"""Several machines through Parsl: real interchange, real blocks, of which one is killed in the middle."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections import Counter

import psutil
import pytest
from processes import below

import autotune
from autotune.base.errors import InputError
from autotune.machine import process
from autotune.schedule import bundles
from autotune.session.session import Options, Session

pytest.importorskip("parsl")
pytestmark = [
    pytest.mark.programs("pyscf"),  # two minutes
    pytest.mark.filterwarnings("default"),  # of Parsl's own threads and sockets
]

TWO_BLOCKS = """
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            address="127.0.0.1",
            max_workers_per_node={workers},
            heartbeat_period=1,
            heartbeat_threshold=4,
            provider=LocalProvider(init_blocks=2, min_blocks=2, max_blocks=2),
        )
    ],
    run_dir={folder!r},
    strategy_period=0.3,
    initialize_logging=False,
)
"""


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    """Keep Parsl's files out of the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(autouse=True)
def no_process_is_left(tmp_path):
    before = {child.pid for child in below()}
    yield
    deadline = time.monotonic() + 15.0
    while left(before, tmp_path) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left(before, tmp_path) == []


def left(before, folder):
    found = [child for child in below() if child.pid not in before] + [each for one in blocks(folder) for each in one]
    return [" ".join(child.cmdline()) for child in found if alive(child)]


def blocks(folder):
    """Return the processes of each block whose files are in a folder: blocks are not below the process that began."""
    found = []
    for each in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = each.cmdline()
            mine = any(str(folder) in word for word in words)
            if mine and "process_worker_pool.py" in " ".join(words[:3]) and each.parent().name() in ("bash", "sh"):
                found.append([each, *each.children(recursive=True)])
    return found


@pytest.fixture
def two_blocks(tmp_path):
    path = tmp_path / "two_blocks.py"
    path.write_text(TWO_BLOCKS.format(folder=str(tmp_path / "parsl"), workers=1))
    return str(path)


def test_without_a_configuration_this_machine_is_the_node(cluster):
    fields = cluster("water2", max_nbody=2)
    here = autotune.run(fields, cores=1, journal="none")  # widths change last digits
    there = autotune.run(fields, cores=1, backend="parsl", journal="none")
    assert there.model_dump_json() == here.model_dump_json()


def test_a_killed_block_costs_its_bundles_and_nothing_else(faulty, two_blocks, tmp_path, monkeypatch):
    monkeypatch.setattr(bundles, "LEAST_S", 0.01)
    monkeypatch.setattr(bundles, "FIRST_S", 0.05)
    monkeypatch.setattr(bundles, "MOST_S", 0.05)
    log, said, killed = tmp_path / "log", [], []
    fields = faulty("water8", "sleep", at=[3, 6, 9], seconds=0.1, max_nbody=3, log=str(log))

    def kill_one(snapshot):
        # Both nodes are at work.
        if snapshot.done >= 12 and not killed and len(both := blocks(tmp_path)) == 2:
            killed.extend(both[0])
            process.kill_tree(both[0][0].pid)

    options = Options(backend="parsl", backend_config=two_blocks, cores=1, journal=str(tmp_path / "journal"))
    with Session(options, on_notice=said.append, on_progress=kill_one) as session:
        result = session.run(fields)
        record = session.record
    assert killed
    assert result.return_result == 0.0
    assert record.tasks == 92 == len({task.number for task in record.task_records})
    lost = [line for line in said if "did not come back" in line]
    assert lost
    in_flight = sum(int(line.split()[3].replace(",", "")) for line in lost)
    done = Counter(log.read_text().split("\n")[:-1])
    assert 92 <= sum(done.values()) <= 92 + in_flight


def test_ctrl_c_ends_all_blocks_at_once(faulty, two_blocks, tmp_path):
    source = tmp_path / "input.json"
    source.write_text(json.dumps(faulty("water6", "sleep", seconds=2.0, max_nbody=2)))
    command = [sys.executable, "-P", "-m", "autotune", "run", str(source), "-o", str(tmp_path / "out.json")]
    run = subprocess.Popen(
        [*command, "--backend", "parsl", "--parsl-config", two_blocks, "--cores", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        # A suite that runs in the background hands down that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    deadline = time.monotonic() + 60.0
    while not any("autotune.workers.zygote" in " ".join(each.cmdline()) for one in blocks(tmp_path) for each in one):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(3.0)  # tasks are at work
    family = below(run.pid) + [each for one in blocks(tmp_path) for each in one]
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60.0)
    assert run.returncode == 130, said
    assert "interrupted" in said
    deadline = time.monotonic() + 15.0
    while any(alive(child) for child in family) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [" ".join(child.cmdline()) for child in family if alive(child)] == []


def alive(child):
    try:
        return child.is_running() and child.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "there is no file"),
        ("1 / 0", r"config.py does not run \(ZeroDivisionError: division by zero\)"),
        ("x = 1", r"config.py defines no `config`"),
        ("config = 'parsl'", r"config.py defines no `config`"),
        (TWO_BLOCKS.format(folder="parsl", workers=8), r"config.py gives a node 8 workers.*max_workers_per_node=1"),
        (
            "from autotune_plugins.backend_parsl import slurm\nconfig = slurm(nodes=2, walltime='4 h')",
            r"walltime '4 h' is not HH:MM:SS",
        ),
        (
            "from autotune_plugins.backend_parsl import slurm\nconfig = slurm(nodes=2, walltime='00:10:00')",
            r"walltime '00:10:00' is too short",
        ),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_in_one_line(faulty, tmp_path, text, said):
    path = tmp_path / "config.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        autotune.run(faulty(), backend="parsl", backend_config=str(path), journal="none")
    assert "\n" not in str(caught.value)


SBATCH = """#!/bin/sh
# Slurm's place is taken by this machine: the script runs at once, in the background.
echo "$@" >> {folder}/sbatch.args
for script; do :; done
cp "$script" {folder}/script.sh
setsid sh "$script" > {folder}/job.out 2>&1 &
echo $! > {folder}/job.pid
echo "Submitted batch job 4711"
"""
SACCT = """#!/bin/sh
echo "4711 RUNNING"
"""
SCANCEL = """#!/bin/sh
kill -TERM -$(cat {folder}/job.pid)
"""


def test_the_ready_configuration_for_slurm_runs_where_its_commands_do(cluster, tmp_path, monkeypatch):
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in {"sbatch": SBATCH, "sacct": SACCT, "squeue": SACCT, "scancel": SCANCEL}.items():
        path = bin_folder / name
        path.write_text(text.format(folder=tmp_path))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    config = tmp_path / "slurm.py"
    config.write_text(
        textwrap.dedent(f"""
        from autotune_plugins.backend_parsl import slurm

        config = slurm(
            nodes=1,
            walltime="04:00:00",
            partition="cpu",
            account="chem",
            worker_init="export SET_UP=yes",
            folder={str(tmp_path / "parsl")!r},
        )
        config.executors[0].address = "127.0.0.1"
        """)
    )
    fields = cluster("water2", max_nbody=2)
    here = autotune.run(fields, cores=1, journal="none")
    there = autotune.run(fields, cores=1, backend="parsl", backend_config=str(config), journal="none")
    assert there.model_dump_json() == here.model_dump_json()
    script = (tmp_path / "script.sh").read_text()
    for line in ("--partition=cpu", "--account=chem", "--time=240", "--exclusive", "export SET_UP=yes"):
        assert line in script
    assert f"--drain_period={4 * 3600 - 420}" in script
    assert "--max_workers_per_node=1" in script


def test_a_node_near_the_end_of_its_time_finishes_its_bundles_and_another_takes_its_place(
    faulty, tmp_path, monkeypatch
):
    monkeypatch.setattr(bundles, "LEAST_S", 0.01)
    monkeypatch.setattr(bundles, "FIRST_S", 0.3)
    monkeypatch.setattr(bundles, "MOST_S", 0.3)
    folder, log, said = tmp_path / "parsl", tmp_path / "log", []
    config = tmp_path / "draining.py"
    text = TWO_BLOCKS.format(folder=str(folder), workers=1)
    text = text.replace("init_blocks=2, min_blocks=2, max_blocks=2", "init_blocks=1, min_blocks=0, max_blocks=1")
    # On a busy machine a node takes fifteen seconds until it computes.
    config.write_text(text.replace("heartbeat_period=1,", "heartbeat_period=1, drain_period=30,"))
    fields = faulty("water6", "sleep", at=[3, 6, 9], seconds=1.0, max_nbody=3, log=str(log))
    options = Options(backend="parsl", backend_config=str(config), cores=1, journal="none")
    with Session(options, on_notice=said.append) as session:
        assert session.run(fields).return_result == 0.0
    assert [line for line in said if "did not come back" in line] == []
    assert sum(Counter(log.read_text().split("\n")[:-1]).values()) == 41
    assert len(list(folder.glob("*/*/block-*"))) >= 2
