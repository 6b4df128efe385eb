"""Runs on a real Slurm of two nodes: results, tunings, what a job may use, and what becomes of jobs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest
import real_slurm
from tuning_factory import make_tuning

import autotune
from autotune.machine import detection
from autotune.tunings import library

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
SETUP = f"export PATH={Path(sys.executable).parent}:$PATH\n"


def ended(user, job, limit_s=120.0):
    """Wait for a job's end and return its state and what it said."""
    real_slurm.wait(lambda: job not in user.slurm.jobs(), limit_s, f"job {job} does not end")
    return user.slurm.state(job), (user.folder / f"slurm-{job}.out").read_text()


def at_work(user, least, limit_s=90.0):
    """Wait until some tasks are done."""
    real_slurm.wait(lambda: user.done >= least, limit_s, f"only {user.done} tasks are done")


# --- results and tunings ----------------------------------------------------------------------------------------------


def test_energies_are_those_of_one_machine_to_the_last_bit(user):
    source = user.input("water6", max_nbody=3)
    status, _, said = user.call(*user.on_nodes(source, "--journal", "none"))
    assert status == 0, said
    here = autotune.run(json.loads(source.read_text()), threads=1, journal="none")
    assert user.result()["return_result"] == here.return_result
    assert user.result()["cluster_properties"] == json.loads(here.model_dump_json())["cluster_properties"]
    assert user.result("record.json")["nodes"] == 2


def test_each_node_takes_the_tuning_of_its_hardware(user, monkeypatch):
    """A tuning in a site's folder that only the nodes see: each task takes two cores."""
    node = detection.detect()
    if node.cores == 1:
        pytest.skip("this machine has one core")
    source = user.sleeping(seconds=0.1)
    (chemistry,) = json.loads(source.read_text())["specification"]["specification"].values()
    monkeypatch.setenv("AUTOTUNE_HOME", str(user.folder / "made"))
    wide = {"hybrid.width": 2, "hybrid.widen": False}
    library.save(make_tuning("faulty", "sleep", "", keywords=chemistry["keywords"], parameters=wide, machine=node))
    site = user.folder / "share"
    monkeypatch.setenv("XDG_DATA_DIRS", str(site))
    status, _, said = user.call("tunings", "import", "--site", *(user.folder / "made" / "tunings").glob("*/*.json"))
    assert status == 0, said
    monkeypatch.delenv("XDG_DATA_DIRS")
    widths = {}
    for init in ("", f"export XDG_DATA_DIRS={site}:/usr/share"):
        words = user.on_nodes(source, "--journal", "none", init=init, cores=node.cores)
        status, _, said = user.call(*words)
        assert status == 0, said
        widths[bool(init)] = {task["width"] for task in user.result("record.json")["task_records"]}
    assert 1 in widths[False]
    assert widths[True] == {2}


# --- what a job may use -----------------------------------------------------------------------------------------------


def test_a_job_sees_the_cores_and_the_memory_that_it_was_granted(user):
    job = user.slurm.submit(
        user.script(
            "#!/bin/bash\n#SBATCH --nodes=1 --ntasks=1 --cpus-per-task=1 --mem=700\n"
            f"{SETUP}autotune doctor --json > doctor.json\n",
        )
    )
    state, said = ended(user, job)
    assert state == "COMPLETED", said
    machine = user.result("doctor.json")["machine"]
    assert machine["cores"] == 1
    assert machine["memory_gib"] == pytest.approx(700 / 1024, rel=0.01)


def blocks(page, *, having):
    text = (ROOT / "docs" / page).read_text()
    return [found for found in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL) if having in found]


@pytest.fixture
def module_loaded(user, monkeypatch):
    """Do what `module load` does for users; jobs take the environment of the shell that submits them."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TMPDIR", str(user.folder))
    monkeypatch.setenv("AUTOTUNE_HOME", str(user.folder / "home"))


@pytest.mark.usefixtures("module_loaded")
def test_the_job_script_of_the_guide_runs_as_it_stands(user):
    (text,) = [block for block in blocks("clusters.md", having="#SBATCH") if "--resume" in block]
    shutil.copy(user.input("water4", max_nbody=2), user.folder / "input.json")
    state, said = ended(user, user.slurm.submit(user.script(text)))
    assert state == "COMPLETED", said
    assert user.result()["success"] is True
    assert user.result("record.json")["machine"]["cores"] <= (os.cpu_count() or 1)


@pytest.mark.usefixtures("module_loaded")
def test_the_administrators_script_compares_the_nodes_as_it_stands(user):
    (text,) = blocks("administration.md", having="--compare")
    state, said = ended(user, user.slurm.submit(user.script(text)))
    assert state == "COMPLETED", said
    assert re.search(r"^2 nodes \S+: node-n1, node-n2$", said, re.MULTILINE)
    assert "they are alike" in said


# --- what happens to jobs ---------------------------------------------------------------------------------------------


def whole(user, process, tasks, limit_s=240.0):
    """Wait for a run's end; its result is right, and each task was done once but for those in flight."""
    _, said = process.communicate(timeout=limit_s)
    assert process.returncode == 0, said
    assert user.result()["return_result"] == 0.0
    record = user.result("record.json")
    assert record["tasks"] == tasks == len({task["number"] for task in record["task_records"]})
    return said


def test_a_cancelled_block_costs_what_it_had_in_flight(user):
    process = user.start(*user.on_nodes(user.sleeping("water10"), "--journal", "none"))
    at_work(user, 10)
    first = min(user.slurm.jobs())
    user.slurm.call("scancel", first)
    said = whole(user, process, 55)
    lost = [int(line.split()[3].replace(",", "")) for line in said.splitlines() if "did not come back" in line]
    assert lost
    assert 55 <= user.done <= 55 + sum(lost)


def test_a_node_that_fails_and_comes_back(user):
    process = user.start(*user.on_nodes(user.sleeping("water10"), "--journal", "none"))
    at_work(user, 10)
    user.slurm.crash_node("n1")
    try:
        said = whole(user, process, 55)
    finally:
        user.slurm.start_node("n1")
    lost = [int(line.split()[3].replace(",", "")) for line in said.splitlines() if "did not come back" in line]
    assert 55 <= user.done <= 55 + sum(lost)


def test_where_the_submitting_process_is_killed_nothing_is_left_and_a_resume_goes_on(user):
    words = user.on_nodes(user.sleeping("water10"), "--journal", "journal.db")
    process = user.start(*words)
    at_work(user, 30)  # some bundles have come back
    process.kill()
    process.communicate()
    real_slurm.wait(lambda: not user.slurm.jobs(), 30.0, "jobs are left in the queue")
    real_slurm.wait(lambda: not user.slurm.processes(), 60.0, "processes are left on the nodes")
    before = user.done
    status, _, said = user.call(*words, "--resume")
    assert status == 0, said
    recalled = user.result("record.json")["recalled"]
    assert recalled > 0
    assert user.done - before == 55 - recalled
    assert user.result()["return_result"] == 0.0


def test_ctrl_c_takes_all_jobs_out_of_the_queue(user):
    process = user.start(*user.on_nodes(user.sleeping("water10"), "--journal", "none"))
    at_work(user, 10)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60.0)
    assert process.returncode == 130, said
    real_slurm.wait(lambda: not user.slurm.jobs(), 30.0, "jobs are left in the queue")


def resume_ends_well(user, job, tasks):
    state, said = ended(user, job, 180.0)
    assert state == "COMPLETED", said
    assert user.result()["return_result"] == 0.0
    assert user.result("record.json")["recalled"] >= 5
    assert user.done <= tasks + 1  # but for the one that was under way


@pytest.mark.parametrize("how", ["requeued", "preempted"])
def test_a_job_that_is_taken_back_and_starts_again_computes_nothing_twice(user, how):
    job = user.slurm.submit(user.job_script(user.sleeping(seconds=0.5)))
    at_work(user, 6)
    if how == "requeued":
        user.slurm.call("scontrol", "requeue", job)
    else:
        short = user.script("#!/bin/bash\nsleep 3\n", "urgent.sh")
        for _ in range(2):
            user.slurm.submit(short, "--partition=urgent", "--exclusive")
    real_slurm.wait(lambda: user.slurm.state(job) == "PENDING", 60.0, f"job {job} runs on")
    real_slurm.wait(lambda: not user.slurm.steps(job), 60.0, f"job {job} does not end")
    # Slurm holds a job that it has taken back for two minutes, and fails one that starts in the second of its end.
    user.slurm.call("scontrol", "update", f"JobId={job}", "StartTime=now+2")
    resume_ends_well(user, job, 36)


def test_a_job_at_its_time_limit_ends_in_order_and_the_next_one_goes_on(user):
    source = user.sleeping(seconds=6.0)
    job = user.slurm.submit(user.job_script(source), "--time=1")
    state, said = ended(user, job, 150.0)
    assert state == "TIMEOUT", said
    assert "DUE TO TIME LIMIT" in said
    assert "finished tasks are kept in" in said
    resume_ends_well(user, user.slurm.submit(user.job_script(source)), 36)


def test_a_full_shared_folder_is_said_and_loses_nothing(user, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    os.system(f"mount -t tmpfs -o size=1m tmpfs {place}")
    try:
        with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as filler:
            while filler.write(b"0" * 2**12):
                pass
        source = user.sleeping("water4", seconds=0.05)
        words = list(user.on_nodes(source, "--journal", tmp_path / "journal.db", nodes=1))
        words[words.index("result.json")] = place / "result.json"
        status, _, said = user.call(*words)
        assert status == 2, said
        assert "cannot be written" in said
        assert "Traceback" not in said
        (place / "filler").unlink()
        status, _, said = user.call(*words, "--resume")
        assert status == 0, said
        assert user.result("record.json")["recalled"] == 10
    finally:
        os.system(f"umount {place}")
    assert user.done == 10
