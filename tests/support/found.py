"""A plausible calibration for tests of what is said and drawn about one."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import typical
from hypothesis import strategies as st
from tuning_factory import make_tuning

from autotune.base.records import Law, Pair, Trial
from autotune.base.types import Method

DEFAULTS = {
    "adaptive_workers.per_core": 1.0,
    "hybrid.width": 1,
    "hybrid.widen": True,
    "dynamic_balancing.order": "longest",
    "method_tuning.passive_wait": True,
    "method_tuning.newest_blas_kernel": True,
}
MACHINE = replace(
    typical.MACHINE,
    cores=16,
    memory_gib=62.8,
    cpu_model="AMD EPYC 7763 64-Core Processor",
    key="amd-epyc-7763-16",
    cores_limited_by="cgroup v2",
)
METHOD = Method(program="pyscf", method="mp2", basis="cc-pvdz", driver="energy")
LAW = Law(seconds={"start": 0.012, "pairs": 1.8e-10}, spread=0.12, parallel=0.85, half_s=0.8, contention=1.14)


def trial(*, source="search", state="done", speed_up=1.0, per_core=1.0, width=1, **others):
    parameters = {**DEFAULTS, "adaptive_workers.per_core": per_core, "hybrid.width": width, **others}
    workers = max(1, int(16 * per_core) // width)
    return Trial(
        parameters=parameters,
        source=source,
        state=state,
        workers=workers,
        width=width,
        wall_s=() if state == "failed" else (10.0 / speed_up,),
        speed_up=0.0 if state == "failed" else speed_up,
    )


def search():
    """Return 26 trials: the default, three from elsewhere, 22 of the search."""
    rng = random.Random(7)
    trials = [
        trial(source="default"),
        trial(source="transferred", speed_up=1.18, width=2, per_core=1.0),
        trial(source="simulated", speed_up=1.12, width=2, per_core=2.0),
        trial(source="simulated", speed_up=0.87, width=4, per_core=1.0),
    ]
    for number in range(22):
        width, per_core = rng.choice((1, 2, 2, 4, 8, 16)), rng.choice((0.5, 1.0, 1.0, 1.5, 2.0))
        speed_up = 1.34 - 0.16 * abs(math.log2(width) - 1) - 0.22 * abs(per_core - 1.0) + rng.gauss(0, 0.02)
        state = "failed" if number in (4, 15) else "pruned" if speed_up < 0.95 and number % 3 else "done"
        order = {"dynamic_balancing.order": rng.choice(("longest", "input"))}
        trials.append(trial(state=state, speed_up=speed_up, per_core=per_core, width=width, **order))
    return tuple(trials)


def pairs():
    rng = random.Random(3)
    return tuple(
        Pair(workload=workload, default_s=12.0 * rng.gauss(1, 0.02), tuned_s=9.2 * rng.gauss(1, 0.02))
        for workload in ("water8", "benzene2", "nacl-water6")
        for _ in range(4)
    )


def tuning(**changed):
    """Return a calibration that found something; `changed` are fields of the evidence."""
    told = {
        "search_workloads": ("water6", "methanol4"),
        "pairs": pairs(),
        "speed_up": 1.304,
        "interval": (1.281, 1.328),
        "noise": 0.021,
        "noise_s": ((10.1, 9.9, 10.3, 10.0), (5.1, 5.0, 5.05, 4.9)),
        "search_tasks": (21, 10),
        "trials": search(),
        "importances": {
            "hybrid.width": 0.62,
            "adaptive_workers.per_core": 0.21,
            "dynamic_balancing.order": 0.1,
            "method_tuning.passive_wait": 0.04,
            "method_tuning.newest_blas_kernel": 0.02,
            "hybrid.widen": 0.01,
        },
        "stopped": "10 trials in a row brought less than the noise",
        "budget_s": 600.0,
        "spent_s": 431.0,
        "smallest_functions": 24,
        "largest_functions": 228,
    }
    return make_tuning(
        "pyscf", "mp2", "cc-pvdz", machine=MACHINE, parameters={"hybrid.width": 2}, law=LAW, **{**told, **changed}
    )


def odd_tunings():
    """Return a hypothesis strategy of tunings that are allowed and need not make sense."""
    ratio, words = st.floats(0.01, 100.0), st.text("abc $_^{}\\%", max_size=30)
    trials = st.builds(
        Trial,
        parameters=st.dictionaries(st.sampled_from(sorted(DEFAULTS)), st.integers(0, 3), max_size=3),
        source=st.sampled_from(["default", "transferred", "simulated", "search"]),
        state=st.sampled_from(["done", "pruned", "failed"]),
        workers=st.integers(1, 200),
        width=st.sampled_from([1, 2, 64]),
        wall_s=st.just(()),
        speed_up=st.one_of(st.just(0.0), ratio),
    )
    seconds = st.one_of(st.just(0.0), st.floats(1e-3, 1e5))
    evidence = st.builds(
        replace,
        st.just(replace(tuning(smallest_functions=0, largest_functions=0).evidence, candidate={}, stopped="")),
        search_workloads=st.sampled_from([(), ("water6",)]),
        pairs=st.lists(st.builds(Pair, workload=words, default_s=seconds, tuned_s=seconds), max_size=6).map(tuple),
        speed_up=ratio,
        interval=st.one_of(st.none(), st.tuples(ratio, ratio)),
        verdict=st.sampled_from(["faster", "same", "slower", "cannot tell"]),
        noise=st.floats(0.0, 3.0),
        noise_s=st.sampled_from([(), ((),), ((1.0,), (2.0, 2.1))]),
        search_tasks=st.sampled_from([(), (0,), (21,), (21, 10)]),
        trials=st.lists(trials, max_size=12).map(tuple),
        importances=st.dictionaries(words, st.floats(0.0, 1.0), max_size=12),
        budget_s=seconds,
        spent_s=seconds,
    )
    laws = st.builds(Law, seconds=st.just({}), spread=ratio, parallel=st.floats(0, 1), half_s=ratio, contention=ratio)
    machines = st.builds(
        replace,
        st.just(MACHINE),
        cores=st.integers(1, 256),
        cpu_model=st.sampled_from(["", "A $very_odd^2$ CPU"]),
    )
    return st.builds(
        replace,
        st.just(replace(tuning(), strategies=(), versions={})),
        machine=machines,
        program_version=words,
        parameters=st.dictionaries(st.sampled_from(["hybrid.width", "a"]), st.integers(0, 3)),
        law=laws,
        evidence=evidence,
        created=words,
    )
