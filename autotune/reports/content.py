"""A report on runs: everything it says, as one frozen record, which `panels.py` arranges and the pages lay out.

Rules: pure. Words and numbers are made here and in the modules below; a renderer decides on nothing but looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap

from autotune.base.errors import InputError
from autotune.base.records import RunRecord, TaskRecord
from autotune.base.text import count, gib, join_words, percent, seconds
from autotune.expansion.nbody_energies import KCAL_PER_HARTREE
from autotune.reports.advice import Advice, advice, is_shared, others_words
from autotune.reports.decisions import changes_words, policy_words
from autotune.reports.facts import NEAR, Level, Predictions, failures, levels, predictions
from autotune.reports.losses import Loss, bound_words, losses
from autotune.reports.nbody_table import total_or_interaction
from autotune.reports.sentences import as_line, reached_percent, task_name
from autotune.reports.timeline import MOST_BARS, Timeline, timeline

MOST_RUNS = 50
_ALL_BARS = 4 * MOST_BARS  # of all timelines of a report together
_LEAST_BARS = 100
_SAME_ENERGY = 1e-8  # hartree


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """What a report says of one run.

    Attributes:
        name: What it is called in the report.
        run: The record.
        headline: What happened, one or two sentences.
        facts: What ran, on what: name and value.
        tuning: Which tuning was used and why, and the parameters, sentences.
        does: What the policy made the run do, sentences.
        timeline: Who ran where when.
        bound: What the lower bound means, a sentence or nothing.
        losses: Where the time went.
        predictions: Predicted against measured; None where there is too little.
        prediction_words: The same in sentences.
        levels: Cost by n-body level.
        failed: The tasks that failed for good.
        advice: What to change next.
    """

    name: str
    run: RunRecord
    headline: str
    facts: tuple[tuple[str, str], ...]
    tuning: tuple[str, ...]
    does: tuple[str, ...]
    timeline: Timeline
    bound: str
    losses: tuple[Loss, ...]
    predictions: Predictions | None
    prediction_words: tuple[str, ...]
    levels: tuple[Level, ...]
    failed: tuple[TaskRecord, ...]
    advice: tuple[Advice, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report on one or several runs.

    Attributes:
        title: Its title.
        runs: One after the other.
        remarks: What has to be known before the runs are compared, sentences; none for one run.
        sections: What plugins add: title and markdown.
    """

    title: str
    runs: tuple[RunReport, ...]
    remarks: tuple[str, ...]
    sections: tuple[tuple[str, str], ...]


def _exactness(off_hartree: float | None) -> Iterator[tuple[str, str]]:
    """Yield the fact of how exact the sum is, where that is known."""
    if off_hartree is not None:
        yield "Sum exact to", f"about {off_hartree * KCAL_PER_HARTREE:.1g} kcal/mol, by the thresholds of its energies"


def report(named: Sequence[tuple[str, RunRecord]], *, sections: Sequence[tuple[str, str]] = ()) -> Report:
    """Return the report on runs, each with what it is to be called.

    Raises:
        InputError: There are more runs than one report can show, or one has a number that no run can have.
    """
    for name, run in named:
        _check(name, run)
    if len(named) > MOST_RUNS:
        raise InputError(f"a report shows at most {MOST_RUNS} runs, not {len(named)}; make several")
    most_bars = max(_LEAST_BARS, min(MOST_BARS, _ALL_BARS // max(len(named), 1)))
    runs = tuple(_of_run(name, run, most_bars=most_bars) for name, run in named)
    title = as_line(named[0][1].workload) if len(named) == 1 else count(len(named), "run")
    return Report(title=title, runs=runs, remarks=tuple(_remarks([run for _, run in named])), sections=tuple(sections))


def _check(name: str, run: RunRecord) -> None:
    """Refuse what no run can have and much depends on."""
    least = (
        ("nodes", run.nodes),
        ("machine.cores", run.machine.cores // max(1, run.nodes)),
        ("policy.width", run.policy.width),
    )
    for field, value in least:
        if value < 1:
            raise InputError(
                f"{as_line(name)}: field {field} is {value}, but must be above 0; restore or remove the file"
            )


def _of_run(name: str, run: RunRecord, *, most_bars: int) -> RunReport:
    found, lost = predictions(run.task_records), losses(run)
    budget_gib = run.memory_budget_gib
    return RunReport(
        name=as_line(name, code=False),
        run=run,
        headline=_headline(run),
        facts=tuple(_facts(run)),
        tuning=tuple(_tuning(run)),
        does=tuple(map(as_line, policy_words(run.policy, run.node, budget_gib=budget_gib))),
        timeline=timeline(run.task_records, cores=run.machine.cores, wall_s=run.wall_s, most_bars=most_bars),
        bound=bound_words(run),
        losses=lost,
        predictions=found,
        prediction_words=tuple(_prediction_words(found)),
        levels=levels(run.task_records),
        failed=failures(run.task_records),
        advice=advice(run, losses=lost, predictions=found),
    )


def _headline(run: RunRecord) -> str:
    failed, here = len(failures(run.task_records)), run.machine
    took = f"in {seconds(run.wall_s)} on {count(here.cores, 'core')}"
    if not run.task_records:
        return f"Nothing was computed {took}: the journal had {count(run.recalled, 'task')}."
    computed = len(run.task_records)
    recalled = f"; {run.recalled:,} more came from the journal" if run.recalled else ""
    if failed:
        return f"{count(failed, 'task')} of {computed:,} failed, {took}{recalled}."
    share = f"{reached_percent(run.efficiency)} of what any schedule of them could reach"
    return f"{count(computed, 'task')} {took}{recalled}: {share}."


def _machine(run: RunRecord) -> str:
    one = f"{as_line(run.node.cpu_model)}, {count(run.node.cores, 'core')}, {gib(run.node.memory_gib)}"
    return one if run.nodes == 1 else f"{run.nodes} nodes, each {one}"


def _speeds(run: RunRecord) -> str:
    return f"{', '.join(f'{speed:.2f}' for speed in run.speeds)} of that of the fastest, as they were at the end"


def _facts(run: RunRecord) -> list[tuple[str, str]]:
    here, ended = run.machine, len(run.task_records)
    again = sum(record.attempts - 1 for record in run.task_records if record.attempts > 1)
    missing = run.tasks - run.recalled - ended
    tasks = [
        f"{ended:,} computed",
        f"{run.recalled:,} from the journal" if run.recalled else "",
        f"{missing:,} not started" if missing > 0 else "",
        f"{again:,} repeated attempts" if again else "",
    ]
    limits = [
        f"{what} by {as_line(limit, code=False)}"
        for what, limit in (("cores", here.cores_limited_by), ("memory", here.memory_limited_by))
        if limit != "physical"
    ]
    energy = "none" if run.energy_hartree is None else f"{run.energy_hartree:.10f} Eh"
    # Records from before the table do not say of which kind it is.
    kind = total_or_interaction(run.energies).capitalize() or "Energy of the result, total or interaction"
    return [
        ("Computed", as_line(run.workload)),
        *([("Fragments", as_line(run.understood))] if run.understood else []),
        (kind, energy),
        *(("Doubt", as_line(doubt)) for doubt in run.doubts),
        ("Tasks", join_words(filter(None, tasks))),
        ("Ended", as_line(run.created)),
        ("Machine", _machine(run)),
        *([("Limited", join_words(limits))] if limits else []),
        *([("Other programs", others_words(run))] if is_shared(run) else []),
        *([("Speed of workers", _speeds(run))] if run.speeds else []),
        *(("Not computed", as_line(each.words)) for each in run.omitted if each.tasks),
        *_exactness(run.sum_off_hartree),
        ("Memory", f"at most {gib(run.peak_memory_gib)} held, of {gib(run.memory_budget_gib)} that tasks might take"),
        (
            "Versions",
            ", ".join(f"{as_line(name)} {as_line(version)}" for name, version in sorted(run.versions.items())),
        ),
        ("Digest of the work", as_line(run.content)),
    ]


def _tuning(run: RunRecord) -> list[str]:
    chosen = run.tuning
    sentences = [f"{as_line(chosen.match)}: {as_line(chosen.reason)}"]
    if chosen.source:
        sentences.append(f"From {as_line(chosen.source)}.")
    if chosen.parameters:
        named = (f"`{as_line(words, code=False)}`" for words in changes_words(chosen.parameters, {}))
        sentences.append(f"Parameters: {join_words(named)}.")
    if not chosen.strategies:
        sentences.append("No strategy was applied.")
    return sentences


def _prediction_words(found: Predictions | None) -> list[str]:
    if found is None:
        return ["Too few tasks with a prediction finished to say how good predictions are."]
    within = f"within {percent(found.median)}, nine of ten within {percent(found.quantile_90)}, up or down"
    band = f"{percent(found.near)} lie in the band of ±{percent(NEAR)}"
    sentences = [f"Half of {count(found.tasks, 'task')} took what was predicted {within}; {band}."]
    if abs(found.factor - 1.0) > NEAR / 4:
        sentences.append(f"On the whole a task took {found.factor:.2f} times what was predicted.")
    worst = found.worst[0]
    sentences.append(
        f"The furthest off is {task_name(worst)}: {seconds(worst.wall_s)} instead of {seconds(worst.predicted_s)}."
    )
    return sentences


def _remarks(runs: Sequence[RunRecord]) -> list[str]:
    """Return what has to be known before these runs are compared."""
    remarks = []
    if len({run.content for run in runs}) > 1:
        remarks.append("These runs did not compute the same, so their times say nothing about each other.")
    elif len(energies := [run.energy_hartree for run in runs if run.energy_hartree is not None]) > 1:
        apart = max(energies) - min(energies)
        agree = f"{'agree' if apart < _SAME_ENERGY else 'differ'} ({apart:.0e} Eh apart)" if apart else "are equal"
        remarks.append(f"All runs computed the same; their energies {agree}.")
    if len({run.machine.key for run in runs}) > 1:
        remarks.append("They ran on different machines.")
    if any(run.recalled for run in runs):
        remarks.append("Some took tasks from a journal: their times are of the rest only.")
    return remarks


def names_of(paths: Sequence[str]) -> list[str]:
    """Return what runs are called by the files of their records: the file's name, or its path where names repeat."""
    names = [path.rsplit("/", 1)[-1] for path in paths]
    return list(starmap(lambda name, path: name if names.count(name) == 1 else path, zip(names, paths, strict=True)))
