"""Many inputs as one run: what it costs over its tasks alone, against one after another, and after a kill.

Each case is a trajectory of one XYZ file whose frames are a packaged cluster with every coordinate moved at random, so
that no task is equal to another. The whole command `autotune run frames.xyz -o FOLDER` is compared with what no
schedule of its measured tasks can beat, and with a warm `Session.run` for one frame after another. The same command is
killed in the middle and resumed; every number of every result is compared with those of the single runs.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import Benchmark, autotune_command, call_in_process, geometry, run_command

CASES = {
    "1,000 water dimers HF/6-31G*": ("water2", 1000, {"program": "pyscf", "method": "hf", "basis": "6-31g*"}),
    "200 frames of (H2O)6 GFN2-xTB 2-body": ("water6", 200, {"program": "tblite", "method": "gfn2-xtb"}),
}
MOVED_ANGSTROM = 0.05  # at most, along each axis
KILLED_AT = 0.5  # of the time of the whole run


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        with tempfile.TemporaryDirectory(prefix="many-") as folder:
            yield {"case": name, **compare(Path(folder), *CASES[name])}


def compare(folder: Path, cluster: str, frames: int, expansion: dict[str, str]) -> dict[str, Any]:
    source = folder / "frames.xyz"
    source.write_text("".join(trajectory(geometry(cluster), frames)))
    wall_s, record = run(folder / "whole", source, expansion)
    single = call_in_process(one_by_one, str(source), expansion)
    killed = kill(folder / "killed", source, expansion, after_s=KILLED_AT * wall_s)
    results = {name: read(folder / name / "out") for name in ("whole", "killed")}
    return {
        "inputs": frames,
        "tasks": record["tasks"],
        "wall_s": round(wall_s, 2),
        "tasks_alone_s": round(record["lower_bound_s"], 2),
        "over_tasks_alone": round(wall_s / record["lower_bound_s"], 3),
        "one_by_one_s": round(single["wall_s"], 2),
        "times_faster_than_one_by_one": round(single["wall_s"] / wall_s, 3),
        **killed,
        "results": len(results["whole"]),
        "not_bit_equal_to_single_runs": sum(
            results[side][name] != properties for side in results for name, properties in single["properties"].items()
        ),
    }


def trajectory(text: str, frames: int) -> Iterator[str]:
    chance = random.Random(0)
    head, atoms = text.splitlines()[:2], [line.split() for line in text.splitlines()[2:]]
    for number in range(frames):
        moved = (
            " ".join([symbol, *(f"{float(x) + chance.uniform(-MOVED_ANGSTROM, MOVED_ANGSTROM):.8f}" for x in position)])
            for symbol, *position in atoms
        )
        yield "\n".join([head[0], f"frame {number + 1}", *moved]) + "\n"


def command(folder: Path, source: Path, expansion: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    words = [word for name, value in expansion.items() for word in (f"--{name}", value)]
    outputs = ("-o", folder / "out", "--record", folder / "record.json")
    line = autotune_command("run", source, *words, "--max-nbody", 2, "--threads", 1, "--resume", "--quiet", *outputs)
    return line, {**os.environ, "AUTOTUNE_HOME": str(folder / "home")}


def run(folder: Path, source: Path, expansion: dict[str, str]) -> tuple[float, dict]:
    folder.mkdir(exist_ok=True)
    line, environment = command(folder, source, expansion)
    wall_s, _ = run_command(line, environment=environment)
    return wall_s, json.loads((folder / "record.json").read_text())


def kill(folder: Path, source: Path, expansion: dict[str, str], *, after_s: float) -> dict[str, Any]:
    folder.mkdir()
    line, environment = command(folder, source, expansion)
    with subprocess.Popen(line, env=environment) as process:
        time.sleep(after_s)
        process.kill()
    before = len(read(folder / "out"))
    _, record = run(folder, source, expansion)
    return {"results_when_killed": before, "tasks_in_the_journal_when_killed": record["recalled"]}


def read(folder: Path) -> dict[str, dict]:
    """Return the properties of each result in a folder."""
    return {path.stem: json.loads(path.read_text())["properties"] for path in sorted(folder.glob("*.json"))}


def one_by_one(source: str, expansion: dict[str, str]) -> dict[str, Any]:
    """Return the seconds that frames take one after another in one session, and the properties of each."""
    import autotune
    from autotune.expansion.inputs import name_inputs

    stated = autotune.Expansion(**expansion, max_nbody=2)
    properties = {}
    started = time.perf_counter()
    with autotune.Session(autotune.Options(journal="none", threads=1)) as session:
        for named in name_inputs([source]).inputs:
            result = session.run(named.content, expansion=stated)
            properties[named.name] = json.loads(result.model_dump_json())["properties"]
    return {"wall_s": time.perf_counter() - started, "properties": properties}


BENCHMARK = Benchmark(
    what="many inputs as one run, against its tasks alone and one input after another; killed once and resumed",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
    fails=lambda record: any(row["not_bit_equal_to_single_runs"] for row in record["cases"]),
)
