"""A tuning with something in every field, as calibration would store it; for tests."""

from __future__ import annotations

import dataclasses
import json

from autotune.base.records import Evidence, Law, Pair, Trial, Tuning
from autotune.base.types import Method
from autotune.costs.terms import prior
from autotune.machine import detection as machines
from autotune.plugin.composition import STANDARD

WINNER = {"adaptive_workers.per_core": 2.0, "hybrid.widen": False}
DEFAULT = {"adaptive_workers.per_core": 1.0, "hybrid.widen": True}


def make_tuning(
    program="pyscf",
    method="hf",
    basis="6-31g*",
    driver="energy",
    *,
    keywords=None,
    machine=None,
    parameters=None,
    strategies=STANDARD,
    verdict="faster",
    created="2026-11-25T00:00:00+00:00",
    verified="",
    program_version="2.14.0",
    smallest_functions=19,
    largest_functions=75,
    law=None,
    **evidence,
):
    """Return a tuning; without `machine` of the one the test runs on, without `parameters` what fits the verdict.

    Further arguments replace fields of the evidence.
    """
    of = Method(
        program=program,
        method=method,
        basis=basis,
        driver=driver,
        keywords=json.dumps(keywords or {}, sort_keys=True, separators=(",", ":")),
    )
    if parameters is None:
        parameters = WINNER if verdict == "faster" else {}
    return Tuning(
        machine=machine or machines.detect(),
        method=of,
        program_version=program_version,
        strategies=tuple(strategies),
        parameters=parameters,
        law=law or Law(seconds=dict(prior(of)), spread=0.1, parallel=0.8, half_s=0.2, contention=0.9),
        evidence=dataclasses.replace(
            make_evidence(verdict, smallest_functions=smallest_functions, largest_functions=largest_functions),
            **evidence,
        ),
        versions={"qcengine": "0.52.0", "qc-autotune": "0.1.0"},
        created=created,
        verified=verified,
    )


def make_evidence(verdict="faster", *, smallest_functions=19, largest_functions=75):
    """Return evidence of a search of three trials and, for `faster`, three pairs."""
    faster = verdict == "faster"
    return Evidence(
        study="quick",
        search_workloads=("water6 nocp 2-body", "methanol_water6 nocp 2-body"),
        pairs=tuple(Pair(workload="water8 nocp 2-body", default_s=d, tuned_s=t) for d, t in PAIRS) if faster else (),
        speed_up=1.27 if faster else 1.0,
        interval=(1.1, 1.4) if faster else None,
        verdict=verdict,
        noise=0.02,
        noise_s=((1.0, 1.02, 0.99), (2.0, 2.03, 1.99)),
        search_tasks=(21, 27),
        candidate={name: value for name, value in WINNER.items() if DEFAULT.get(name) != value} if faster else {},
        trials=(
            _trial(DEFAULT, "default", 1.0, wall_s=(1.0, 2.0)),
            _trial(WINNER, "search", 1.25, wall_s=(0.8, 1.6)),
            _trial({**WINNER, "hybrid.widen": True}, "search", 0.7, wall_s=(1.4,), state="pruned"),
        ),
        importances={"adaptive_workers.per_core": 0.9, "hybrid.widen": 0.1},
        stopped="nothing better is expected",
        budget_s=120.0,
        spent_s=100.0,
        smallest_functions=smallest_functions,
        largest_functions=largest_functions,
    )


PAIRS = ((10.0, 8.0), (11.0, 8.5), (10.5, 8.4))


def _trial(parameters, source, speed_up, *, wall_s, state="done"):
    return Trial(
        parameters=parameters, source=source, state=state, workers=4, width=1, wall_s=wall_s, speed_up=speed_up
    )
