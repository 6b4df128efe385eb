"""What the programs' tunables gain: whole runs with their defaults against runs with the programs left alone.

Both sides are processes `autotune run` of the same input, cold and in turn, without a journal and without stored
tunings; they differ by `--no-program-tuning`. Results are compared task by task, in a further run of each side: the
largest change of an energy, and of a component of a gradient.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import Any

import numpy as np
from comparison import CASES as COMPARED
from harness import Benchmark, Computation, autotune_command, call_in_process, interval, run_command, take_turns

from autotune.compare import judgement

DENSITY_FIT = {"density_fit": True}
CASES = {
    **COMPARED,
    "water4 cp HF/6-31G* (PySCF)": Computation("water4", "hf", "6-31g*", 2, "cp"),
    "water4 cp DF-HF/cc-pVDZ (PySCF)": Computation("water4", "hf", "cc-pvdz", 2, "cp", keywords=DENSITY_FIT),
    "water6 DF-HF/cc-pVDZ (PySCF)": Computation("water6", "hf", "cc-pvdz", 2, keywords=DENSITY_FIT),
    "water4 B3LYP/6-31G* 3-body (PySCF)": Computation("water4", "b3lyp", "6-31g*", 3),
    "water4 B3LYP/def2-SVP (PySCF)": Computation("water4", "b3lyp", "def2-svp", 2),
    "water4 PBE0/6-31G* (PySCF)": Computation("water4", "pbe0", "6-31g*", 2),
    "water4 PBE0/def2-SVP (PySCF)": Computation("water4", "pbe0", "def2-svp", 2),
    "water6 B3LYP/6-31G* (PySCF)": Computation("water6", "b3lyp", "6-31g*", 2),
    "water6 B3LYP/def2-SVP (PySCF)": Computation("water6", "b3lyp", "def2-svp", 2),
    "water6 PBE0/6-31G* (PySCF)": Computation("water6", "pbe0", "6-31g*", 2),
    "water6 PBE0/def2-SVP (PySCF)": Computation("water6", "pbe0", "def2-svp", 2),
    "water6 HF/6-31G* gradient (PySCF)": Computation("water6", "hf", "6-31g*", 2, driver="gradient"),
    "water16 HF/6-31G* 2-body (NWChem)": Computation("water16", "hf", "6-31g*", 2, program="nwchem"),
    "water32 PM6 (MOPAC)": Computation("water32", "pm6", "", 3, program="mopac"),
    "water4 B3LYP/6-31G* gradient (PySCF)": Computation("water4", "b3lyp", "6-31g*", 2, driver="gradient"),
}


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        yield {"case": name, **compare(CASES[name], rounds=arguments.repeats)}


def compare(case: Computation, *, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "AUTOTUNE_HOME": str(Path(folder) / "home")}
        source = Path(folder) / "input.json"
        source.write_text(json.dumps(case.fields))
        command = autotune_command("run", source, "-o", Path(folder) / "answer.json", "--quiet", "--journal", "none")
        sides = {
            side: lambda options=options: round(run_command([*command, *options], environment=environment)[0], 3)
            for side, options in (("tuned", ()), ("left alone", ("--no-program-tuning",)))
        }
        samples = take_turns(sides, repeats=rounds)
        changes = call_in_process(largest_changes, str(source), environment=environment)
    found = judgement.compare_pairs(samples["left alone"], samples["tuned"])
    return {
        "program": case.program,
        "speedup": round(found.speedup, 3),
        "interval": interval(found),
        "mean_s": {side: round(geometric_mean(walls), 3) for side, walls in samples.items()},
        "largest_change": changes,
        "samples_s": samples,
    }


def largest_changes(source: str) -> dict[str, float]:
    """Return the largest change of a result by the tunables, over all tasks: of energies in Eh, gradients in Eh/a0."""
    import autotune

    results = []
    for tuned in (True, False):
        with autotune.Session(autotune.Options(journal="none", program_tuning=tuned)) as session:
            results.append(session.components(json.loads(Path(source).read_text())))
    changes = {"tasks": len(results[0]), "energy": 0.0}
    for label, one in results[0].items():
        for name in ("energy", "gradient"):
            values = [getattr(each.properties, f"return_{name}") for each in (one, results[1][label])]
            if values[0] is not None:
                changes[name] = max(changes.get(name, 0.0), float(np.max(np.abs(np.subtract(*values)))))
    return changes


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the geometric mean by program, and the largest change of an energy."""
    programs = dict.fromkeys(row["program"] for row in rows)
    return {
        "geometric_means": {
            program: round(geometric_mean([row["speedup"] for row in rows if row["program"] == program]), 3)
            for program in programs
        },
        "largest_change_hartree": max(row["largest_change"]["energy"] for row in rows),
    }


BENCHMARK = Benchmark(
    what="whole runs with the programs' tunables at their defaults against runs with the programs left alone, in turn",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
    repeats=5,
    summary=summary,
    fails=lambda record: record["largest_change_hartree"] > 1e-9,
)
