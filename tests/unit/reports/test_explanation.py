"""What is said of a policy, a tuning and a run is true, and nothing odd in a record keeps it from being said."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import found
import pytest
from click.testing import CliRunner
from found import odd_tunings
from hypothesis import given
from hypothesis import strategies as st
from planned_tasks import Planned, scheduler_of

from autotune.base.options import Options
from autotune.base.text import count, join_words
from autotune.base.types import Context, Estimate, Policy
from autotune.cli.main import cli
from autotune.costs.cost_law import Costs
from autotune.expansion import workload
from autotune.plugin import composition
from autotune.plugin.manager import Manager
from autotune.reports.decisions import changes_words, policy_words
from autotune.reports.explanation import choice_words, tuning_words
from autotune.runtime import planning
from autotune.schedule import simulator


def composed(parameters=None, *, cores=16, tasks=1000, without=()):
    machine = replace(found.MACHINE, cores=cores)
    strategies = composition.choose(Manager().strategies, None, without)
    return composition.compose(
        strategies, parameters or {}, Context(machine=machine, methods=(found.METHOD,), tasks=tasks)
    ), machine


def said(parameters=None, **options):
    return " ".join(policy_words(*composed(parameters, **options)))


def test_what_a_program_is_told_is_said_where_it_is_not_its_own_way():
    plan, machine = composed()
    tunables = (("pyscf.guess", "monomers"), ("pyscf.conv_check", True), ("nwchem.tasks_per_start", 1))
    words = policy_words(replace(plan, tunables=tunables), machine)
    assert "To be faster, pyscf computes with guess = monomers; its results stay the same." in words
    assert not any("nwchem" in sentence or "conv_check" in sentence for sentence in words)
    assert not any("To be faster" in sentence for sentence in policy_words(plan, machine))


# --- policies ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "options", "sentence"),
    [
        ({}, {}, "Up to 16 tasks run at once, with 1 thread each, which fills all 16 cores."),
        ({}, {"cores": 1}, "One task runs at a time, with 1 thread, which fills the only core."),
        ({"hybrid.width": 4}, {}, "Up to 4 tasks run at once, with 4 threads each, which fills all 16 cores."),
        ({"hybrid.width": 16}, {}, "One task runs at a time, with 16 threads, which fills all 16 cores."),
        ({"adaptive_workers.per_core": 2.0}, {}, "with 1 thread each: 32 threads on 16 cores"),
        ({"adaptive_workers.per_core": 0.5}, {}, "; of 16 cores that leaves 8 for tasks that get more."),
        ({"adaptive_workers.per_core": 0.5, "hybrid.widen": False}, {}, "; 8 cores of 16 stay idle."),
        ({"hybrid.widen": False}, {"tasks": 15}, "; 1 core of 16 stays idle."),
        (
            {},
            {"tasks": 1},
            "One task runs at a time, with 1 thread; of 16 cores that leaves 15 for tasks that get more.",
        ),
        ({"hybrid.width": 4}, {"cores": 6}, "A task may start with fewer threads where that many cores are left"),
        ({}, {}, "gets up to 16 threads. The last tasks share the cores that fall idle."),
        ({}, {}, "up to 32 may run"),
        ({}, {}, "Tasks that are predicted to take longest start first"),
        ({"dynamic_balancing.order": "input"}, {}, "Tasks start in the order of the input."),
        ({"memory_scheduling.fraction": 0.5}, {}, "50 % of the memory that is free here, at most 31.4 GiB"),
        ({"memory_scheduling.grant": "share"}, {}, "an even share of that memory"),
        ({"method_tuning.resident": False}, {}, "Each task gets a new process."),
        ({}, {}, "A process is replaced after 2,000 tasks or when it holds 0.5 GiB more than at first or when"),
        ({}, {}, "up to 100 ms of them"),
        ({}, {}, "its Haswell kernels"),
        ({}, {}, "all of this is decided again"),
        ({}, {"without": ("dynamic_balancing",)}, "An n-body level is finished before the next one starts"),
        ({}, {"without": ("memory_scheduling",)}, "a task starts whether or not its memory fits"),
        ({}, {"without": ("dynamic_balancing",)}, "it goes on as planned for 16 cores"),
    ],
)
def test_a_policy_of_the_strategies_is_said_in_words(parameters, options, sentence):
    assert sentence in said(parameters, **options)


@pytest.mark.parametrize(
    ("parameters", "silence"),
    [
        ({"hybrid.widen": False}, "Threads of a task"),
        ({"hybrid.widen": False}, "The last tasks"),
        ({"dynamic_balancing.learn": False}, "Predicted times follow"),
        ({"method_tuning.newest_blas_kernel": False}, "OpenBLAS"),
        ({}, "An n-body level"),
    ],
)
def test_what_has_no_effect_is_not_mentioned(parameters, silence):
    assert silence not in said(parameters)


@pytest.mark.parametrize("cores", [1, 2, 6, 16])
def test_as_many_tasks_as_the_words_say_start_at_once(cores):
    estimate = Estimate(alone_s=10.0, parallel=0.0, memory_gib=0.1)
    widths = [2**power for power in range(5) if 2**power <= cores]
    for per_core, width in product((0.5, 1.0, 1.5, 2.0), widths):
        plan, _ = composed({"adaptive_workers.per_core": per_core, "hybrid.width": width}, cores=cores)
        tasks = [Planned(n, estimate) for n in range(200)]
        starts = scheduler_of(tasks, plan, cores=cores, memory_gib=64.0).decide(0.0)
        assert plan.at_once == sum(start.resources.cores == width for start in starts)


def test_the_budget_takes_the_place_of_the_share_where_it_is_known():
    plan, machine = composed()
    assert "are to take 7.5 GiB of 62.8 GiB" in " ".join(policy_words(plan, machine, budget_gib=7.5))


def test_only_parameters_that_differ_are_named_with_both_values():
    defaults = {"hybrid.width": 1, "hybrid.widen": True}
    assert changes_words({"hybrid.width": 2, "hybrid.widen": True}, defaults) == ["hybrid.width = 2 (default 1)"]
    assert changes_words({"new.one": 3}, defaults) == ["new.one = 3"]


def test_numbers_and_lists_read_as_english():
    assert [count(1, "task"), count(2000, "task"), count(2, "process", "processes")] == [
        "1 task",
        "2,000 tasks",
        "2 processes",
    ]
    assert [join_words([]), join_words(["a"]), join_words("ab"), join_words("abc")] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]


# --- tunings ----------------------------------------------------------------------------------------------------------


def test_a_tuning_is_told_with_its_numbers():
    text = " ".join(tuning_words(found.tuning()).split())
    for claim in (
        "pyscf mp2/cc-pvdz energy on AMD EPYC 7763 64-Core Processor, 16 cores, 62.8 GiB",
        "measured 2026-11-25T00:00:00+00:00 with pyscf 2.14.0 libraries: qc-autotune 0.1.0 and qcengine 0.52.0",
        "1.30× the speed of the default (95 % interval 1.28 to 1.33), from 12 pairs of runs: 4 on water8, 4",
        "takes 2.1 % more or less from one time to the next, from 8 runs of the default",
        "a single trial within 4.2 % of the default says nothing",
        "parameters hybrid.width = 2 (default 1) search",
        "26 trials on water6 and methanol4: 1 default, 1 transferred, 2 simulated and 22 search; of these 21 done, 3",
        "the search ended: 10 trials in a row brought less than the noise",
        "took 7 min 11 s of the 10 min 0 s allowed (72 %)",
        "1.35× 8 2 hybrid.width = 2 (default 1)",
        "62 %",
        "tasks of 24 to 228 basis functions",
        "of a long task 85 % divide over more threads; of one that takes 0.8 s on one core, half as much",
        "1.14 times as long while all cores work",
    ):
        assert claim in text
    assert "verified" not in text


def test_the_five_best_trials_are_those_that_ran_to_the_end():
    text = tuning_words(found.tuning())
    done = sorted((t.speed_up for t in found.search() if t.state == "done"), reverse=True)
    rows = [line.split()[0] for line in text.splitlines() if line.strip().startswith(tuple("0123456789"))]
    assert [row for row in rows if row.endswith("×")][-5:] == [f"{speed_up:.2f}×" for speed_up in done[:5]]


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        (
            replace(found.tuning(verdict="not confirmed", pairs=(), interval=None, speed_up=1.0), parameters={}),
            (
                "not confirmed: the search found nothing that is faster than the default",
                "no pairs were run",
                "all parameters are at their defaults",
            ),
        ),
        (found.tuning(cautions=("the cores were taken",)), ("what speaks against it the cores were taken",)),
        (found.tuning(deviations={"pyscf.guess=monomers": 3e-11}), ("pyscf.guess=monomers: 3.0e-11 Eh",)),
        (
            found.tuning(verdict="cannot tell", pairs=found.pairs()[:1], interval=None),
            ("from 1 pair of runs: 1 on water8", "so few pairs cannot show any difference"),
        ),
        (replace(found.tuning(), verified="2026-12-01T10:00:00+00:00"), ("verified 2026-12-01",)),
    ],
)
def test_what_is_special_in_a_tuning_is_said_and_nothing_of_it_else(tuning, words):
    text, usual = (" ".join(tuning_words(each).split()) for each in (tuning, found.tuning()))
    for each in words:
        assert each in text
        assert each not in usual


@given(odd_tunings())
def test_nothing_odd_in_a_tuning_keeps_it_from_being_told(tuning):
    text = tuning_words(tuning)
    assert text.startswith(str(tuning.method))
    assert not text.endswith("\n")


@given(
    st.builds(
        Policy, workers=st.integers(1, 99), width=st.integers(1, 9), widest=st.integers(1, 99), batch_s=st.just(0.1)
    ),
    st.integers(1, 256),
)
def test_any_policy_can_be_told(plan, cores):
    assert all(sentence.endswith(".") for sentence in policy_words(plan, replace(found.MACHINE, cores=cores)))


# --- runs -------------------------------------------------------------------------------------------------------------


def planned(cluster, **options):
    """Return an input as a workload, and the plan for it."""
    work = workload.load(cluster("water4", max_nbody=2))
    return work, planning.make(
        work, machine=found.MACHINE, manager=Manager(), options=Options(tuning="none", memory_gib=8.0, **options)
    )


def explained(work, plan, forecast=None):
    return choice_words(plan, work=work, machine=found.MACHINE, forecast=forecast)


def test_a_run_says_machine_tuning_parameters_and_what_it_will_do(cluster):
    lines = explained(*planned(cluster)).splitlines()
    assert lines[:7] == [
        "input",
        "  4 fragments: 4 H2O; in all 12 atoms, charge 0, singlet; coordinates in ångström",
        "machine",
        "  AMD EPYC 7763 64-Core Processor, 16 cores, 62.8 GiB (limited: cores by cgroup v2)",
        "tuning",
        "  none: you asked for no tuning, so the defaults are used",
        "  asked for no tuning; the defaults are used",
    ]
    assert lines[7:10] == ["parameters", "  all parameters are at their defaults", "10 tasks"]
    assert lines[10].startswith("  Up to 10 tasks run at once, with 1 thread each")
    assert "Predicted: " not in "\n".join(lines)


def told(cluster, tuning, match):
    """Return what is said of a plan with a tuning that was chosen for this reason."""
    work, plan = planned(cluster)
    return explained(work, replace(plan, tuning=tuning, chosen=replace(plan.chosen, match=match)))


@pytest.mark.parametrize("match", ["exact", "near", "given"])
def test_a_run_says_what_the_calibration_found_whose_tuning_it_uses(cluster, match):
    text = told(cluster, found.tuning(), match)
    assert "\nwhat its calibration found\n" in text
    text = " ".join(text.split())
    assert "1.30× the speed of the default (95 % interval 1.28 to 1.33), from 12 pairs of runs" in text
    assert (
        "of the differences between trials came from hybrid.width 62 %, adaptive_workers.per_core 21 % and"
        " dynamic_balancing.order 10 %" in text
    )


def test_a_run_says_nothing_of_a_calibration_where_no_tuning_is_used_or_nothing_mattered(cluster):
    assert "calibration found" not in told(cluster, None, "none")
    text = told(cluster, found.tuning(importances={}), "exact")
    assert "what its calibration found" in text
    assert "of the differences" not in text


def test_a_run_says_which_of_the_users_numbers_came_last(cluster):
    text = " ".join(explained(*planned(cluster, workers=3)).split())
    assert "your own numbers come last: workers = 3 (instead of 10)" in text
    assert "8.0 GiB of 62.8 GiB of memory" in text


def test_a_run_without_strategies_says_so(cluster):
    text = explained(*planned(cluster, strategies=()))
    assert "no strategy is applied" in text
    assert "own numbers" not in text


def test_a_forecast_is_called_a_guess_where_nothing_was_measured(cluster):
    work, plan = planned(cluster)
    estimates = {task.number: plan.costs.estimate(task) for task in work.tasks}
    run = simulator.simulate(
        work.tasks, estimates, policy=plan.policy, machine=found.MACHINE, memory_budget_gib=plan.budget_gib
    )
    text = " ".join(explained(work, plan, run).split())
    assert f"Predicted: {run.makespan_s:.2g} s, start-up not counted, by guessed times" in text
    assert f"ends before {run.lower_bound_s:.2g} s." in text
    measured = replace(plan, costs=Costs({work.methods[0]: found.tuning().law}))
    run = simulator.Simulation(makespan_s=200.0, lower_bound_s=190.0, records=())
    text = " ".join(explained(work, measured, run).split())
    assert "Predicted: 3 min 20 s, start-up not counted. No" in text


def test_the_command_explains_that_there_is_nothing_to_compute(tmp_path, faulty):
    fields = faulty("water4", max_nbody=1)
    fields["specification"]["keywords"]["bsse_type"] = ["cp"]
    path = tmp_path / "input.json"
    path.write_text(json.dumps(fields))
    done = CliRunner().invoke(cli, ["run", str(path), "--explain", "--quiet"])
    assert (done.exit_code, done.stderr) == (0, "nothing has to be computed for this expansion\n")
