"""Whether results depend on the input alone: the same bits with any number of workers and in any order of the tasks.

Each case is computed with one, two and three workers, in the order of the input, the longest first and the shortest
first, with programs tuned as by default, one core a task, each time in another Python process, which keeps sets in
another order. Compared are all numbers of all components. Runs that are killed and resumed are another benchmark:
`killed`.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import Benchmark, Computation, call_in_process
from tuning_factory import make_tuning

from autotune.tunings import library

WORKERS = (1, 2, 3)
ORDERS = ("input", "longest", "shortest")
CASES = {
    "water5 HF/6-31G* 3-body (PySCF)": Computation("water10", "hf", "6-31g*", 3, atoms=15),
    "water4 B3LYP/6-31G* (PySCF)": Computation("water4", "b3lyp", "6-31g*", 2),
    "sodium_chloride_water6 cp HF/STO-3G (PySCF)": Computation("sodium_chloride_water6", "hf", "sto-3g", 2, "cp"),
    "ammonia5 vmfc HF/STO-3G (PySCF)": Computation("ammonia5", "hf", "sto-3g", 2, "vmfc"),
    "water6 DF-MP2/cc-pVDZ (PySCF)": Computation("water6", "mp2", "cc-pvdz", 2, keywords={"density_fit": True}),
    "water5 HF/6-31G* (NWChem)": Computation("water10", "hf", "6-31g*", 2, program="nwchem", atoms=15),
    "methanol_water6 HF/STO-3G gradient (NWChem)": Computation(
        "methanol_water6", "hf", "sto-3g", 2, program="nwchem", driver="gradient"
    ),
    "water6 PM6 (MOPAC)": Computation("water6", "pm6", "", 3, program="mopac"),
}


def measure(arguments) -> Iterator[dict]:
    for name in arguments.cases:
        digests = {}
        for workers, order in itertools.product(WORKERS, ORDERS):
            digests[f"{workers} workers, {order}"] = call_in_process(digest, CASES[name].fields, workers, order)
        yield {"case": name, "runs": len(digests), "sets_of_bits": len(set(digests.values()))}


def digest(fields: dict, workers: int, order: str) -> str:
    """Return a digest of all numbers of all components."""
    import autotune

    chemistry = next(iter(fields["specification"]["specification"].values()))
    with tempfile.TemporaryDirectory() as folder:
        tuning = Path(folder) / "tuning.json"
        method = {"program": chemistry["program"], "method": chemistry["model"]["method"]}
        method["basis"] = chemistry["model"].get("basis", "")
        method["keywords"] = chemistry.get("keywords") or {}
        library.save(make_tuning(**method, parameters={"dynamic_balancing.order": order}), tuning)
        options = autotune.Options(journal="none", tuning=str(tuning), workers=workers, threads=1)
        with autotune.Session(options) as session:
            results = session.components(fields)
    numbers = {
        label: [json.loads(result.properties.model_dump_json()), np.ravel(result.return_result).tolist()]
        for label, result in results.items()
    }
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


BENCHMARK = Benchmark(
    what="components computed with 1 to 3 workers in three orders: how many different sets of bits there are",
    measure=measure,
    rows="cases",
    key=("case",),
    cases=CASES,
    fails=lambda record: any(row["sets_of_bits"] > 1 for row in record["cases"]),
)
