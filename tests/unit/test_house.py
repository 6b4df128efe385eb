"""The house rules that a machine can check: few flat files, lazy imports, documentation, packaging."""

from __future__ import annotations

import ast
import json
import math
import re
import statistics
import subprocess
import sys
import tomllib

import click
import pytest
from places import ROOT

import autotune
from autotune.cli.main import cli
from autotune.plugin import hookspecs


def test_modules_are_in_rooms_each_of_which_says_what_it_is_for():
    assert {path.name for path in (ROOT / "autotune").glob("*.py")} == {"__init__.py", "__main__.py", "parallel.py"}
    rooms = [path for path in (ROOT / "autotune").iterdir() if any(path.glob("*.py"))]
    assert len(rooms) == 17
    assert all(ast.get_docstring(ast.parse((room / "__init__.py").read_text())) for room in rooms)


def test_importing_autotune_loads_none_of_the_heavy_libraries():
    heavy = [
        "numpy",
        "optuna",
        "qcengine",
        "qcelemental",
        "qcmanybody",
        "matplotlib",
        "psutil",
        "pydantic",
        "pluggy",
        "click",
        "rich",
    ]
    code = f"import sys, autotune; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_help_loads_no_chemistry_and_no_numpy():
    code = (
        "import sys; sys.argv = ['autotune', '--help']\n"
        "import autotune.cli.main\n"
        "autotune.cli.main.invoke()\n"
        "print([n for n in ('numpy', 'optuna', 'qcengine', 'qcelemental') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def documents():
    return "\n".join(path.read_text() for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])


def test_every_hook_is_documented():
    hooks = [name for name in vars(hookspecs) if name.startswith("autotune_")]
    assert len(hooks) == 9
    assert [name for name in hooks if f"`{name}" not in documents()] == []


def commands():
    yield from ((name, command) for name, command in cli.commands.items() if not isinstance(command, click.Group))
    for name, group in cli.commands.items():
        if isinstance(group, click.Group):
            yield from ((f"{name} {inner}", command) for inner, command in group.commands.items())


@pytest.mark.parametrize(("name", "command"), list(commands()))
def test_every_command_and_option_is_documented(name, command):
    text = documents()
    assert f"autotune {name}" in text
    for parameter in command.params:
        for option in parameter.opts:
            assert option in text or not option.startswith("--"), f"{name} {option} is in no document"


def test_every_option_has_a_help_text():
    bare = [f"{n} {p.name}" for n, c in commands() for p in c.params if isinstance(p, click.Option) and not p.help]
    assert bare == []


def test_the_public_names_exist_and_have_docstrings():
    for name in autotune.__all__:
        assert getattr(autotune, name).__doc__


def test_packages_are_listed_explicitly_and_exist():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert set(setuptools["packages"]) == set(setuptools["package-dir"])
    assert all((ROOT / folder / "__init__.py").is_file() for folder in setuptools["package-dir"].values())


def test_nothing_imports_the_mapped_folders_by_their_folder_names():
    for path in [*(ROOT / "autotune").rglob("*.py"), *(ROOT / "plugins").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] in ("plugins", "studies", "results") for name in names), path


def test_the_tables_in_the_readme_are_the_records_in_results():
    readme = (ROOT / "README.md").read_text()
    record = json.loads((ROOT / "results" / "against_upstream.json").read_text())
    for workload in record["workloads"]:
        (low, high), (low_2, high_2) = workload["interval"], workload["interval_in_the_same_environment"]
        row = (
            f"| {workload['name']} | {workload['tasks']} | {workload['speed_up']:.2f} ({low:.2f} to {high:.2f}) |"
            f" {workload['speed_up_in_the_same_environment']:.2f} ({low_2:.2f} to {high_2:.2f}) |"
            f" {workload['energy_difference_hartree']:.0e} |"
        )
        assert row in readme, row
    overhead = json.loads((ROOT / "results" / "overhead.json").read_text())["measured"]
    assert f"takes {overhead['wall_ms_per_task']:.2f} ms on two cores" in readme
    assert f"{overhead['qcengine_ms_per_task']:.2f} ms. A run of tasks" in readme
    for size in ("20 ms", "100 ms"):
        assert f"{100 * overhead['over_plain_processes_at_tasks_of'][size]['share']:.1f} %" in readme


def test_the_table_of_predictions_in_the_docs_is_the_record_in_results():
    document = (ROOT / "docs" / "scheduling.md").read_text()
    for name, case in json.loads((ROOT / "results" / "prediction.json").read_text())["cases"].items():
        row = (
            f"| {name} | {case['tasks_fitted']} | {case['tasks_predicted']} |"
            f" {100 * case['median_relative_error']:.1f} % | {100 * case['quantile_90_relative_error']:.1f} % |"
            f" {case['rank_correlation']:.2f} | {case['rank_correlation_of_sizes']:.2f} |"
        )
        assert row in document, row
        assert case["tasks_above_predicted_memory"] == 0.0


def test_the_table_of_equality_in_the_docs_is_the_record_in_results():
    document, cases = (ROOT / "docs" / "accuracy.md").read_text(), {}
    for case in json.loads((ROOT / "results" / "equality.json").read_text())["cases"]:
        cases.setdefault((case["case"], case["driver"], case["tasks"]), []).append(case)
    for (name, driver, tasks), runs in cases.items():
        assert all(run["bit_equal_to_the_replay"] for run in runs)
        versions = ", ".join(f"v{run['schema_version']}" for run in runs)
        largest = max(run["largest_difference"] for run in runs)
        assert largest < 1e-9
        assert f"| {name} | {driver} | {tasks} | {versions} | yes | {largest:.0e} |" in document


def record_of(name):
    return json.loads((ROOT / "results" / f"{name}.json").read_text())


def test_the_tables_of_the_ablation_in_the_docs_are_the_record_in_results():
    document = (ROOT / "docs" / "scheduling.md").read_text()
    for load in record_of("ablation")["loads"]:
        sides = dict(load["sides"])
        on = sides.pop("all on")["simulated_s"]
        measured = [
            f"{side['gain_of_all_on']:.2f} ({side['interval'][0]:.2f} to {side['interval'][1]:.2f})"
            for side in sides.values()
        ]
        simulated = [
            " / ".join(f"{side['simulated_s'][cores] / on[cores]:.2f}" for cores in ("16", "64"))
            for side in sides.values()
        ]
        assert f"| {load['name']} | {load['tasks']} | {' | '.join(measured)} |" in document
        assert f"| {load['name']} | {' | '.join(simulated)} |" in document


def test_the_table_of_efficiency_in_the_docs_is_the_record_in_results():
    document = (ROOT / "docs" / "scheduling.md").read_text()
    for load in record_of("efficiency")["loads"]:
        row = (
            f"| {load['name']} | {load['tasks']} | {load['wall_s']:.1f} s | {max(load['bounds_s'].values()):.1f} s |"
            f" {load['efficiency']:.2f} | {load['cpu_utilisation']:.2f} |"
            f" {load['peak_memory_gib']:.2f} of {load['memory_budget_gib']:.2f} GiB |"
        )
        assert row in document, row


def test_the_table_of_faults_in_the_docs_is_the_record_in_results_and_nothing_is_lost_or_left():
    document, faults = (ROOT / "docs" / "faults.md").read_text(), record_of("faults")["faults"]
    recovery = {row["fault"]: row for row in record_of("recovery")["faults"]}
    for row in [*faults, *recovery.values()]:
        counts = ("tasks_lost", "wrong_results", "processes_left", "scratch_left")
        assert [row[count] for count in counts] == [0, 0, 0, 0]
    for row in faults:
        seconds = [recovery[row["fault"]][name] for name in ("recovery_median_s", "recovery_worst_s")]
        line = (
            f"| {row['fault']} | {row['runs']} | {row['tasks']} | {row['tasks_struck']} | 0 | 0 | 0 | 0 |"
            f" {seconds[0]:.1f} s | {seconds[1]:.1f} s |"
        )
        assert line in document, line
    assert sum(row["runs"] for row in faults) >= 300


def test_the_table_of_memory_limits_in_the_docs_is_the_record_in_results():
    document = (ROOT / "docs" / "faults.md").read_text()
    for run in record_of("memory")["runs"]:
        line = (
            f"| {run['case']} | {run['predicted_over_true']:g} | {'yes' if run['kernel_enforces'] else 'no'} |"
            f" {run['tasks']} | {run['attempts']} | {run['budget_gib']:.1f} GiB | {run['peak_gib']:.2f} GiB |"
        )
        assert line in document, line
        assert run["peak_gib"] <= run["budget_gib"]


def test_the_table_of_calibrations_in_the_docs_is_the_record_in_results():
    document = (ROOT / "docs" / "calibration.md").read_text()
    for case in record_of("calibration")["cases"]:
        regret, low, high = (100 * value for value in (case["regret"], *case["regret_interval"]))
        between = "{:.2f} to {:.2f}".format(*case["speed_up_interval"])
        line = (
            f"| {case['case']} | {case['held_out']} | {case['verdict']} | {case['trials']} |"
            f" {case['calibration_s']:.0f} s | {case['grid_s']:.0f} s |"
            f" {100 * case['share_of_the_grids_time']:.0f} % | {regret:.1f} % ({low:.1f} to {high:.1f}) |"
            f" {case['speed_up_over_default']:.2f} ({between}) |"
        )
        assert line in document, line


def test_the_table_of_programs_in_the_docs_is_the_record_in_results():
    document = (ROOT / "docs" / "programs.md").read_text()
    for case in record_of("programs")["cases"]:
        mean_s, tuned = case["mean_s"], case["verdict"] == "faster"
        upstream, pool = (
            "{:.1f} ({:.1f} to {:.1f})".format(case[name], *case[f"{name}_interval"])
            for name in ("against_upstream", "against_pool")
        )
        line = (
            f"| {case['case']} | {case['workload']} | {case['tasks']} | {mean_s['upstream']:.1f} s |"
            f" {mean_s[case['best_pool']]:.1f} s ({case['best_pool']}) | {mean_s['tuned']:.1f} s |"
            f" {upstream} | {pool} | {'a tuning' if tuned else 'the default'} |"
        )
        assert line in document, line


def test_what_the_docs_say_of_regressions_is_the_record_in_results():
    record, document = record_of("regress_aa"), (ROOT / "docs" / "regress.md").read_text()
    for side, words in (
        ("A'", "nothing"),
        ("+5%", "a twentieth slower"),
        ("+10%", "a tenth slower"),
        ("one worker less", "one core less"),
    ):
        found = record["against_A"][side]
        shares = [100 * found["shares"].get(verdict, 0.0) for verdict in ("slower", "faster", "same", "cannot tell")]
        row = f"| {words} | {' | '.join(f'{share:.1f} %' for share in shares)} |"
        assert f"{row} {100 * found['median_detectable']:.1f} % |" in document, row
    largest, smallest = (f"{100 * pick(of['of_runs'] for of in record['noise'].values()):.0f}" for pick in (max, min))
    assert f"differed by {smallest} to {largest} % from run to run" in document


def test_what_the_docs_say_of_upstreams_own_suite_is_the_record_in_results():
    record, document = record_of("upstream_suite"), (ROOT / "docs" / "accuracy.md").read_text()
    for words in (
        f"{record['passed']} pass",
        f"{record['skipped']} are skipped",
        f"{record['failed']} fail",
        f"{record['passed_and_routed']} of those that pass",
        f"{record['tasks']:,} tasks",
    ):
        assert words in document, words
    # Psi4 1.3.2 ignores embedding charges, so they are refused.
    assert all("ignores external potentials" in words for words in record["failures"].values())


def test_what_the_docs_say_of_real_files_is_the_record_in_results():
    record, document = record_of("real_files"), (ROOT / "docs" / "accuracy.md").read_text()
    for comment, found in record["comments"].items():
        wrong = found["accepted_with_another_total"] + found["accepted_with_another_spread"]
        line = f"| {comment} | {found['read']:,} | {found['accepted']:,} | {found['refused']:,} | {wrong} |"
        assert line in document, line
        assert wrong == 0 or comment == "none"
    asked = record["comments"]["none"]["refused_though_neutral_singlets"]
    for words in (
        f"{len(record['sets'])} benchmark sets",
        f"{record['geometries']:,} geometries, {record['charged']} with ions, {record['open_shell']} with",
        f"{record['neutral_singlets']:,} neutral singlets {asked} were asked about needlessly",
    ):
        assert words in " ".join(document.split()), words


def test_the_regrets_in_the_docs_are_the_record_in_results():
    record, document = record_of("regret"), (ROOT / "docs" / "calibration.md").read_text()
    for row in record["workloads"]:
        regret, low, high = (100 * value for value in (row["regret"], *row["regret_interval"]))
        line = f"| {row['method']} | {row['workload']} | {row['tasks']} | {regret:.1f} % ({low:.1f} to {high:.1f}) |"
        assert line in document, line
    assert record["within_ten_percent"] >= 0.9
    assert not any(row["slower_than_default"] for row in record["workloads"])


def test_the_budgets_in_the_docs_are_the_record_in_results():
    document = (ROOT / "docs" / "calibration.md").read_text()
    for row in record_of("budgets")["studies"]:
        assert f"`{row['study']}` ({row['method']}) {row['wall_s']:.0f} of {row['budget_s']:.0f} s" in document
        assert row["within_a_tenth"]


def test_what_the_docs_say_of_calibrations_in_which_nothing_is_faster_is_the_record_in_results():
    record, document = record_of("calibration_aa"), (ROOT / "docs" / "calibration.md").read_text()
    installed = record["verdicts"].get("faster", 0)
    assert installed <= 0.02 * record["calibrations"]
    assert f"{installed} of {record['calibrations']} simulated calibrations" in document
    assert f"{100 * record['noise']:.1f} %" in document


def test_what_the_docs_say_of_killed_runs_is_the_record_in_results():
    record = record_of("killed")
    said = (ROOT / "docs" / "faults.md").read_text()
    assert f"{record['kills']} times" in said
    assert f"{record['kills_in_the_middle_of_computing']} of them" in said
    faults = ("results_not_bit_equal", "tasks_run_twice_though_recorded", "processes_left", "scratch_left")
    assert [record[fault] for fault in faults] == [0, 0, 0, 0]


def test_what_the_docs_say_of_fuzzing_is_the_record_in_results():
    document = (ROOT / "docs" / "faults.md").read_text()
    for reader in record_of("fuzz")["readers"]:
        assert reader["inputs"] >= 100_000
        assert (reader["exceptions"], reader["written_outside"]) == (0, [])
        line = f"| {reader['reader']} | {reader['inputs']:,} | {reader['accepted']:,} | {reader['slowest_s']:.2f} s |"
        assert line in document, line


def test_the_table_of_simulated_nodes_in_the_docs_is_the_record_in_results():
    document, record = (ROOT / "docs" / "scheduling.md").read_text(), record_of("nodes")
    assert record["simulated"] is True
    for case in record["cases"]:
        runs = {run["nodes"]: run for run in case["runs"]}
        assert all(run["done"] == case["tasks"] for run in case["runs"])
        times = [f"{runs[1]['makespan_s']:,.1f} s"] + [
            f"{runs[nodes]['makespan_s']:,.1f} s ({runs[nodes]['parallel_efficiency']:.2f})"
            for nodes in (10, 100, 1000)
        ]
        line = (
            f"| {case['case']} | {case['tasks']:,} | {case['core_s'] / case['tasks']:.2f} s |"
            f" {' | '.join(times)} | {case['worth_it']:,} |"
        )
        assert line in document, line


def test_the_table_of_layers_in_the_docs_is_the_record_in_results():
    record, document = record_of("layers"), (ROOT / "docs" / "scheduling.md").read_text()
    for layer, what in {**record["layers"], "together": ""}.items():
        cells = [size["us_per_task"][layer] for size in record["sizes"]]
        shown = " | ".join(f"{c['median']:.0f} ({c['low']:.0f} to {c['high']:.0f}) µs" for c in cells)
        assert f"| {layer} | {what} | {shown} |" in document, shown
    assert " | ".join(f"{size['peak_gib']:.2f} GiB" for size in record["sizes"]) in document
    assert [round(math.log10(size["tasks"])) for size in record["sizes"]] == [3, 4, 5]


def test_the_table_of_large_runs_in_the_docs_is_the_record_in_results():
    record, document = record_of("large"), (ROOT / "docs" / "scheduling.md").read_text()
    for case in record["cases"]:
        costs = " | ".join(f"{size['scheduler_us_per_task']:.1f} µs" for size in case["sizes"])
        held = f"{case['sizes'][-1]['bytes_per_task']:.0f} bytes"
        assert f"| {case['case']} | {costs} | {case['growth']:.2f} | {held} |" in document, costs
        assert [size["tasks"] for size in case["sizes"]] == [10**power for power in (3, 4, 5, 6)]


def test_what_the_readme_says_of_everyone_else_is_the_record_in_results():
    readme, document = (" ".join((ROOT / name).read_text().split()) for name in ("README.md", "docs/comparison.md"))
    upstream, older, cold = (
        record_of("comparison")["geometric_means"][f"against_{name}"]
        for name in ("upstream", "older_best", "best_engine_cold")
    )
    assert f"Over {len(record_of('comparison')['cases'])} workloads" in readme
    assert f"{upstream:.1f} times as fast as upstream, {older:.1f} times as fast as the older" in readme
    assert f"{cold:.1f} times as fast as the best of" in readme
    row = re.search(r"all but Psi4\*\* \| \| \| \| \*\*([\d.]+)\*\* \| \*\*([\d.]+)\*\* \| \*\*([\d.]+)", document)
    assert "which autotune keeps loaded, {:.1f}, {:.1f} and {:.1f}".format(*map(float, row.groups())) in readme


def test_the_tables_of_the_comparison_in_the_docs_are_the_record_in_results():
    command = [sys.executable, "tests/bench/comparison_tables.py", "results/comparison.json"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    document = (ROOT / "docs" / "comparison.md").read_text()
    first, *simulated = printed.strip().split("\n\nSimulated")
    assert first in document
    assert all(each in document for each in simulated)
    assert max(case["energies_differ_by"] for case in record_of("comparison")["cases"]) < 1e-9


@pytest.mark.parametrize(
    ("name", "page"), [("layers", "scheduling"), ("large", "scheduling"), ("properties", "accuracy")]
)
def test_a_benchmark_prints_the_table_of_its_record_as_it_is_in_the_docs(name, page):
    command = [sys.executable, f"tests/bench/{name}.py", "--table", f"results/{name}.json"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert printed in (ROOT / "docs" / f"{page}.md").read_text()


def test_what_the_docs_say_of_a_large_expansion_is_the_record_in_results():
    record, document = record_of("water64"), (ROOT / "docs" / "scheduling.md").read_text()
    resumed = record["resumed"]
    assert (record["tasks"], resumed["recalled"] + resumed["computed"]) == (43_744, 43_744)
    assert (record["resumed_bit_equal"], record["differs_hartree"]) == (True, 0.0)
    wall_s = statistics.median(run["wall_s"] for run in record["runs"])
    bound = f"{record['wall_over_bound']:.2f} times the bound"
    for line in (
        f"| first task | {record['first_task_s']:.1f} s after the command |",
        f"| to the result | {wall_s:.1f} s, {bound} of the measured task times |",
        f"| memory of the command's own process | {record['parent_peak_mib']:.0f} MiB at most |",
        f"| {resumed['recalled']:,} tasks recalled, {resumed['computed']:,} computed, the same result",
        f"| {record['independent_total_energy']:.10f} Eh; the sum of components that tblite computed alone is the same",
    ):
        assert line in document, line


def test_what_the_docs_say_of_lost_nodes_is_the_record_in_results():
    record, document = record_of("lost_node"), " ".join((ROOT / "docs" / "nodes.md").read_text().split())
    said = (
        f"{record['runs']} runs of 41 tasks on two blocks of Parsl, one of them killed at a random moment, in"
        f" {record['killed_at_work']} of them with bundles at work"
    )
    assert said in document, said
    assert (record["wrong"], record["twice_beyond_in_flight"], record["processes_left"]) == (0, 0, 0)
    assert f"{record['computed_twice']} tasks were computed twice" in document
