"""Compare autotune's results with upstream's at full size: replay to the last bit, independent run to 1e-9 Eh.

Each case runs four times: by autotune and by upstream's `qcengine.compute(input, "qcmanybody")` at its defaults, in
schema 1 and 2. What autotune returns must equal, in every number, what upstream's own loop makes of the same component
results; what upstream computes by itself must agree within 1e-9 in every number of the result's properties. Takes
about two hours on two cores. The exit status is 1 where a case fails.

With `--components-once` each component is computed once by autotune and once by upstream's serial loop (in schema 2);
both schema 1 results are assembled from the same components, by autotune from its journal, by upstream's own schema 1
computer. That halves the time.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator

import numpy as np
import qcengine
from harness import Benchmark, cluster
from qcmanybody.models import v2
from replay import assert_bit_equal, replayed

import autotune
from autotune.plugin.manager import Manager

METHODS = (("hf", "6-31g*"), ("mp2", "cc-pvdz"))
TOLERANCE = 1e-9  # hartree, hartree/bohr
CASES = {
    f"{method} {bsse} {driver} {version}": (method, basis, bsse, driver, version)
    for driver, (method, basis), bsse, version in itertools.product(
        ("energy", "gradient"), METHODS, ("nocp", "cp"), (2, 1)
    )
}


def measure(arguments) -> Iterator[dict]:
    Manager().register_programs()
    once: v2.ManyBodyResult | None = None
    for name in arguments.cases:
        method, basis, bsse, driver, version = CASES[name]
        fields = cluster(arguments.geometry, method=method, basis=basis, bsse=bsse, driver=driver, max_nbody=3)
        fields["specification"]["protocols"] = {"cluster_results": "all"}
        row, upstreams = compare(fields, version, once if version == 1 else None)
        once = upstreams if arguments.components_once and version == 2 else None
        yield row


def compare(
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


BENCHMARK = Benchmark(
    what="autotune's ManyBodyResult against upstream's: its replay of our components, and its own serial run",
    measure=measure,
    rows="cases",
    key=("case", "driver", "schema_version"),
    cases=CASES,
    options={
        "--geometry": {"default": "water6"},
        "--components-once": {"action": "store_true", "help": "compute once for both schema versions"},
    },
    summary=lambda _: {"tolerance": TOLERANCE},
    fails=lambda record: (
        not all(row["bit_equal_to_the_replay"] and row["largest_difference"] < TOLERANCE for row in record["cases"])
    ),
)
