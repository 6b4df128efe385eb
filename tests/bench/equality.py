"""Compare autotune's results with upstream's at full size: replay to the last bit, independent run to 1e-9 Eh.

Each case runs four times: by autotune and by upstream's `qcengine.compute(input, "qcmanybody")` at its defaults, in
schema 1 and 2. What autotune returns must equal, in every number, what upstream's own loop makes of the same component
results; what upstream computes by itself must agree within 1e-9 in every number of the result's properties. Takes
about two hours on two cores. Prints a line for each case, writes a record, exits 1 where a case fails.

With `--components-once` each component is computed once by autotune and once by upstream's serial loop (in schema 2);
both schema 1 results are assembled from the same components, by autotune from its journal, by upstream's own schema 1
computer. That halves the time.

    python tests/bench/equality.py --output results/equality.json
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

import numpy as np
import qcengine
from qcmanybody.models import v2

import autotune
from autotune.base.versions import library_versions
from autotune.expansion.readers import Expansion, from_xyz
from autotune.machine import detection
from autotune.plugin.manager import Manager

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from replay import assert_bit_equal, replayed

METHODS = (("hf", "6-31g*"), ("mp2", "cc-pvdz"))
TOLERANCE = 1e-9  # hartree, hartree/bohr


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", default="water6")
    parser.add_argument(
        "--case", default="", metavar="TEXT", help="only cases whose name has this: 'mp2 cp gradient 2'"
    )
    parser.add_argument("--components-once", action="store_true", help="compute once for both schema versions")
    parser.add_argument("--output", type=Path, help="write the record here, beside the cases that are there already")
    arguments = parser.parse_args()
    Manager().register_programs()
    rows = json.loads(arguments.output.read_text())["cases"] if arguments.output and arguments.output.exists() else []
    for driver, (method, basis), bsse in itertools.product(("energy", "gradient"), METHODS, ("nocp", "cp")):
        fields = made(arguments.geometry, method, basis, bsse, driver)
        once: v2.ManyBodyResult | None = None
        for version in (2, 1):
            if arguments.case not in f"{method} {bsse} {driver} {version}":
                continue
            row, once = compared(fields, version, once if arguments.components_once else None)
            same = ("case", "driver", "schema_version")
            rows = [each for each in rows if any(each[name] != row[name] for name in same)] + [row]
            print(json.dumps(rows[-1]), flush=True)
            if arguments.output:
                write(arguments.output, rows)
    if not all(row["bit_equal_to_the_replay"] and row["largest_difference"] < TOLERANCE for row in rows):
        sys.exit(1)


def made(geometry: str, method: str, basis: str, bsse: str, driver: str) -> dict[str, object]:
    text = (files("autotune.studies") / "workloads" / f"{geometry}.xyz").read_text()
    expansion = Expansion(program="pyscf", method=method, basis=basis, bsse=(bsse,), max_nbody=3, driver=driver)
    fields = from_xyz(text, name=geometry, expansion=expansion)
    fields["specification"]["protocols"] = {"cluster_results": "all"}
    return fields


def compared(
    fields: dict[str, object], version: int, once: v2.ManyBodyResult | None
) -> tuple[dict[str, object], v2.ManyBodyResult | None]:
    """Return what a case shows, and upstream's schema 2 result; `once` is that of an earlier call."""
    model = v2.ManyBodyInput(**fields)
    model = model.convert_v(1) if version == 1 else model
    ours = autotune.run(model, resume=once is not None)
    if once is not None:
        upstreams = replayed(model, once.convert_v(1) if version == 1 else once)
    else:
        upstreams = qcengine.compute(model, "qcmanybody", raise_error=True)
    try:
        assert_bit_equal(ours, replayed(model, ours))
        equal = True
    except AssertionError:
        equal = False
    mine, theirs = (dict(numbers(as_json(result)["properties"])) for result in (ours, upstreams))
    assert mine.keys() == theirs.keys()
    differences = {name: abs(mine[name] - theirs[name]) for name in mine}
    worst = max(differences, key=lambda name: differences[name])
    specification = v2.ManyBodyInput(**fields).specification
    only = next(iter(specification.specification.values()))
    row = {
        "case": f"{only.model.method}/{only.model.basis} {specification.keywords.bsse_type[0].value}",
        "driver": only.driver.value,
        "schema_version": version,
        "tasks": len(ours.component_results if version == 1 else ours.cluster_results),
        "bit_equal_to_the_replay": equal,
        "numbers_compared": len(mine),
        "largest_difference": differences[worst],
        "where": worst,
        "return_result_difference": float(
            np.max(np.abs(np.asarray(ours.return_result) - np.asarray(upstreams.return_result)))
        ),
        "components_of_the_schema_2_run": once is not None,
    }
    return row, upstreams if version == 2 else once


def as_json(result: object) -> dict[str, object]:
    fields: dict[str, object] = json.loads(
        result.model_dump_json() if hasattr(type(result), "model_fields") else result.json()  # type: ignore[attr-defined]
    )
    return fields


def numbers(value: object, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number of a JSON value with its path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers(inner, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from numbers(inner, f"{path}[{index}]")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, float(value)


def write(output: Path, rows: list[dict[str, object]]) -> None:
    record = {
        "schema": "autotune.benchmark/1",
        "what": "autotune's ManyBodyResult against upstream's: its replay of our components, and its own serial run",
        "command": "python tests/bench/equality.py " + " ".join(sys.argv[1:]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dataclasses.asdict(detection.detect()),
        "versions": library_versions(),
        "tolerance": TOLERANCE,
        "cases": rows,
    }
    output.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
