"""A screen by a cheap method: error of the energy, what was estimated, and time, against the full expansion.

Whole commands on a cluster: the full run, then the screened one at each threshold, each without a journal.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from harness import Benchmark, autotune_command, geometry, run_command

from autotune.expansion.nbody_energies import KCAL_PER_HARTREE


class Case(NamedTuple):
    cluster: str
    method: str
    max_nbody: int
    cheap: str
    thresholds: tuple[float, ...]


CASES = {
    "(H2O)16 3-body HF/6-31G* on GFN2-xTB": Case("water16", "hf", 3, "tblite gfn2-xtb", (0.1, 0.02)),
    "(H2O)32 3-body HF/6-31G* on GFN2-xTB": Case("water32", "hf", 3, "tblite gfn2-xtb", (0.05,)),
    "(H2O)32 2-body MP2/6-31G* on HF/6-31G*": Case("water32", "mp2", 2, "hf/6-31g*", (0.1,)),
}


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        case = CASES[name]
        whole = run(case)
        for threshold in case.thresholds:
            part = run(case, "--screen-energy", threshold, "--screen-method", case.cheap)
            said = " ".join(part["doubts"])
            (omitted,) = (each for each in part["omitted"] if each["option"] == "screen_energy")
            yield {
                "case": name,
                "threshold_kcal_mol": threshold,
                "components": whole["tasks"],
                "computed": whole["tasks"] - omitted["tasks"],
                "error_kcal_mol": abs(part["energy_hartree"] - whole["energy_hartree"]) * KCAL_PER_HARTREE,
                "estimate_kcal_mol": float(re.search(r"by less than ([0-9.e+-]+) kcal/mol", said)[1]),
                "share_of_the_time": round(part["command_s"] / whole["command_s"], 3),
                "full_s": round(whole["command_s"], 2),
                "screened_s": round(part["command_s"], 2),
            }


def run(case: Case, *screen: object) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="screen-") as name:
        folder = Path(name)
        source, record = folder / "cluster.xyz", folder / "record.json"
        source.write_text(geometry(case.cluster))
        words = ("--program", "pyscf", "--method", case.method, "--basis", "6-31g*", "--max-nbody", case.max_nbody)
        outputs = ("-o", folder / "result.json", "--record", record, "--journal", "none", "--quiet")
        command_s, _ = run_command(autotune_command("run", source, *words, *screen, *outputs))
        return {"command_s": command_s, **json.loads(record.read_text())}


BENCHMARK = Benchmark(
    what="a screen by a cheap method against the full expansion: error, its estimate, and time",
    measure=measure,
    rows="cases",
    key=("case", "threshold_kcal_mol"),
    cases=CASES,
    fails=lambda record: any(row["error_kcal_mol"] > row["estimate_kcal_mol"] for row in record["cases"]),
)
