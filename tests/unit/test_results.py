"""What the records in results/ have to say, whatever their numbers are; the guide renders the numbers themselves."""

from __future__ import annotations

import json
import re

import pytest
from places import ROOT

RECORDS = {path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "results").glob("*.json"))}
KILLED = ("results_not_bit_equal", "tasks_run_twice_though_recorded", "processes_left", "scratch_left")
NOTHING_LOST = ("tasks_lost", "wrong_results", "processes_left", "scratch_left")


def lost(record):
    return [count for row in record["faults"] for count in NOTHING_LOST if row[count]]


CLAIMS = {
    "ours is not slower than upstream": (
        "against_upstream",
        lambda record: all(case["interval"][0] > 1 for case in record["workloads"]),
    ),
    "calibrations keep their budget": (
        "budgets",
        lambda record: all(study["within_a_tenth"] for study in record["studies"]),
    ),
    "a calibration in which nothing is faster stores something in one of fifty cases at most": (
        "calibration_aa",
        lambda record: record["verdicts"].get("faster", 0) <= 0.02 * record["calibrations"],
    ),
    "tuned runs are within a tenth of the best of a grid, and none is slower than the default": (
        "regret",
        lambda record: (
            record["within_ten_percent"] >= 0.9
            and not any(workload["slower_than_default"] for workload in record["workloads"])
        ),
    ),
    "tunables of programs change no energy by more than 1e-9": (
        "program_tuning",
        lambda record: record["largest_change_hartree"] < 1e-9,
    ),
    "results have the same bits with any number of workers, in any order": (
        "same_bits",
        lambda record: all(case["sets_of_bits"] == 1 for case in record["cases"]),
    ),
    "all sides of the comparison have the same energies": (
        "comparison",
        lambda record: max(case["energies_differ_by"] for case in record["cases"]) < 1e-9,
    ),
    "results are equal to upstream's arithmetic, and within 1e-9 of its runs": (
        "equality",
        lambda record: all(
            case["bit_equal_to_the_replay"] and case["largest_difference"] < 1e-9 for case in record["cases"]
        ),
    ),
    "300 runs with faults lose nothing and leave nothing": (
        "faults",
        lambda record: sum(row["runs"] for row in record["faults"]) >= 300 and not lost(record),
    ),
    "nor do those whose recovery was timed": ("recovery", lambda record: not lost(record)),
    "each method whose energy is reused was compared": (
        "fewer_tasks",
        lambda record: record["largest_contained"].keys() == {"hf", "mp2", "ccsd"},
    ),
    "100,000 damaged files raise nothing and write nothing outside": (
        "fuzz",
        lambda record: all(
            (reader["inputs"] >= 100_000, reader["exceptions"], reader["written_outside"]) == (True, 0, [])
            for reader in record["readers"]
        ),
    ),
    "starting from fragments makes no SCF end higher, and none fail": (
        "hard",
        lambda record: (
            record["tasks"] >= 300 and record["higher_tuned"] == 0 and record["failed_tuned"] <= record["failed_alone"]
        ),
    ),
    "killed runs, resumed, have the same bits, repeat nothing and leave nothing": (
        "killed",
        lambda record: not any(record[count] for count in KILLED),
    ),
    "the scheduler was driven with a thousand tasks to a million": (
        "large",
        lambda record: all(
            [size["tasks"] for size in case["sizes"]] == [10**n for n in range(3, 7)] for case in record["cases"]
        ),
    ),
    "layers were timed with a thousand tasks to a million": (
        "layers",
        lambda record: (
            [round(size["tasks"], -len(str(size["tasks"])) + 1) for size in record["sizes"]]
            == [10**n for n in range(3, 7)]
        ),
    ),
    "a lost node makes no wrong result and leaves no process": (
        "lost_node",
        lambda record: (record["wrong"], record["twice_beyond_in_flight"], record["processes_left"]) == (0, 0, 0),
    ),
    "memory stays within its budget": (
        "memory",
        lambda record: all(run["peak_gib"] <= run["budget_gib"] for run in record["runs"]),
    ),
    "simulated nodes finish all tasks and say that they are simulated": (
        "nodes",
        lambda record: (
            record["simulated"]
            and all(run["done"] == case["tasks"] for case in record["cases"] for run in case["runs"])
        ),
    ),
    "no task needs more memory than predicted": (
        "prediction",
        lambda record: not any(case["tasks_above_predicted_memory"] for case in record["cases"].values()),
    ),
    "no number of any program is wrong without a warning": (
        "properties",
        lambda record: not {case["status"] for cell in record["cells"] for case in cell["cases"]} & {"wrong", "failed"},
    ),
    "a charge or multiplicity that a file states is never read as another": (
        "real_files",
        lambda record: (
            not any(
                found["accepted_with_another_total"] + found["accepted_with_another_spread"]
                for comment, found in record["comments"].items()
                if comment != "none"
            )
        ),
    ),
    "equal sides are never called slower or faster": (
        "regress_aa",
        lambda record: record["against_A"]["A'"]["share_with_any_faster_or_slower"] == 0,
    ),
    "of upstream's own tests only those with embedding charges fail, which Psi4 1.3.2 ignores": (
        "upstream_suite",
        lambda record: all("ignores external potentials" in words for words in record["failures"].values()),
    ),
    "a large expansion, interrupted and resumed, is equal to one that is computed alone": (
        "water64",
        lambda record: (
            record["resumed"]["recalled"] + record["resumed"]["computed"] == record["tasks"] == 43_744
            and record["resumed_bit_equal"]
            and record["differs_hartree"] == 0
        ),
    ),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_holds_in_the_record(claim):
    name, holds = CLAIMS[claim]
    assert holds(RECORDS[name]), claim


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_names_the_program_that_made_it(name):
    programs = re.findall(r"tests(?:/bench/|\.bench )(\w+)", RECORDS[name]["command"])
    assert programs
    assert all((ROOT / "tests" / "bench" / f"{program}.py").is_file() for program in programs)


def test_the_table_in_the_readme_is_the_record():
    readme = (ROOT / "README.md").read_text()
    for workload in RECORDS["against_upstream"]["workloads"]:
        (low, high), (low_2, high_2) = workload["interval"], workload["interval_in_the_same_environment"]
        assert (
            f"| {workload['name']} | {workload['speed_up']:.2f} ({low:.2f} to {high:.2f}) |"
            f" {workload['speed_up_in_the_same_environment']:.2f} ({low_2:.2f} to {high_2:.2f}) |"
            f" {workload['energy_difference_hartree']:.0e} |"
        ) in readme
