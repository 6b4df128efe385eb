"""What to change next about a run, derived from what was measured in it.

Rules: pure; every piece of advice gives the number it comes from. What matters most comes first: failures, then what
cost most time, then what would make the next schedule better. Where nothing is worth changing, that is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from autotune.base.records import RunRecord
from autotune.base.text import count, gib, join_words, percent
from autotune.reports.facts import Predictions, failures
from autotune.reports.losses import Loss, is_bound_by_one_task, last_tasks
from autotune.reports.sentences import as_line, reached_percent
from autotune.runtime.failures import cures
from autotune.tunings.library import calibration_of

WORTH_CHANGING = 0.05  # of the wall time
GOOD_EFFICIENCY = 0.9
BAD_PREDICTIONS = 0.2  # half of the tasks are further off
WAITING = 0.75  # CPU time over the time that tasks held cores, below which they waited for something else
SHARED = 0.1  # of the cores
LEAST_WAITED_S = 5.0  # shorter runs cannot tell
MOST_COMMANDS = 3
_ALL_MEMORY = 0.95  # a little has to stay for the rest of the system
_UNMEASURED = ("default", "model", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One thing to change.

    Attributes:
        what: What to do, a sentence.
        why: What was measured that speaks for it, a sentence.
    """

    what: str
    why: str


def advice(run: RunRecord, *, losses: Sequence[Loss], predictions: Predictions | None) -> tuple[Advice, ...]:
    """Return what to change next, the most important first; at least one piece.

    Args:
        run: What was measured.
        losses: Where its time went.
        predictions: How good its predictions were.
    """
    broken = list(_about_failures(run))
    if not run.task_records:
        return (*broken, _nothing(run))
    if broken and all(record.status == "failed" for record in run.task_records):
        return tuple(broken)  # what would be faster is no matter as long as nothing works
    # Where one long task or memory sets the bound, cores may idle for long although nothing else could be scheduled.
    good = run.efficiency >= GOOD_EFFICIENCY and all(
        loss.useful or loss.share <= 1.0 - GOOD_EFFICIENCY for loss in losses
    )
    found = [*broken, *_about_others(run), *([] if good else _about_losses(run, losses)), *_about_waiting(run, losses)]
    found += _about_calibration(run, predictions, good=good)
    return tuple(found) if found else (_nothing(run),)


def _nothing(run: RunRecord) -> Advice:
    if not run.task_records:
        return Advice(what="Nothing: no task had to be computed.", why=_recalled_words(run))
    if run.efficiency >= GOOD_EFFICIENCY:
        why = f"The run reached {reached_percent(run.efficiency)} of what any schedule of its tasks could."
    else:
        why = f"No single loss took {percent(WORTH_CHANGING)} of the time or more."
    return Advice(what="Nothing: leave everything as it is.", why=why)


def _recalled_words(run: RunRecord) -> str:
    if run.recalled:
        return f"The journal of an earlier run had {count(run.recalled, 'task')} of {run.tasks:,}."
    return "The record has no tasks."


# --- what failed ------------------------------------------------------------------------------------------------------


def _about_failures(run: RunRecord) -> Iterator[Advice]:
    failed = failures(run.task_records)
    if not failed:
        return
    kinds = Counter(as_line(record.error_type, code=False) or "an unknown reason" for record in failed)
    named = join_words(f"{kind} ({number})" for kind, number in kinds.most_common())
    helps = _sentence(cures(kind for kind, _ in kinds.most_common()))
    yield Advice(
        what="Mend what failed, then give the same command with `--resume`: only what is missing is computed.",
        why=f"{count(len(failed), 'task')} of {run.tasks:,} failed: {named}.{helps}",
    )


def _sentence(clauses: Sequence[str]) -> str:
    text = "; ".join(clauses)
    return f" {text[0].upper()}{text[1:]}." if text else ""


# --- what cost time ---------------------------------------------------------------------------------------------------


def _about_losses(run: RunRecord, losses: Sequence[Loss]) -> Iterator[Advice]:
    known: dict[str, Callable[[RunRecord], str]] = {
        "start-up": _start_up,
        "tail": _tail,
        "waiting for memory": _memory,
        "failed attempts": _retries,
        "between tasks": _between,
        "price of wide tasks": _wide,
    }
    for loss in losses:
        if loss.name in known and loss.share >= WORTH_CHANGING:
            yield Advice(what=known[loss.name](run), why=loss.sentence)


def _start_up(_: RunRecord) -> str:
    return (
        "Let several inputs share one start: `autotune.Session` keeps workers warm from one to the next; the longer the"
        " run, the less its start counts."
    )


def _tail(run: RunRecord) -> str:
    if run.policy.order != "longest" and not is_bound_by_one_task(run):
        return (
            "Start the longest tasks first: apply the strategy dynamic_balancing, which orders them by predicted time."
        )
    widest = min(run.policy.widest, run.node.cores)
    narrow = [record for record in last_tasks(run)[-1:] if record.width < widest]
    if run.node.cores > 1 and (widest <= run.policy.width or not run.policy.widen_tail):
        return "Let the last tasks take the cores that fall idle: the strategy hybrid with hybrid.widen does."
    if narrow:
        return (
            "Calibrate: the last task was not given the idle cores, because it was not expected to be faster with them"
            " or to be the last; measured times decide that better."
        )
    return "Compute several inputs one after the other in one `autotune.Session`, or use fewer cores for one so small."


def _memory(run: RunRecord) -> str:
    budget_gib, all_gib = run.memory_budget_gib, run.node.memory_gib
    if budget_gib < _ALL_MEMORY * all_gib:
        return f"Allow more memory by `--memory`: tasks might take {gib(budget_gib)} of {gib(all_gib)} together."
    return "Use a machine with more memory for each core, or fewer workers with more threads each."


def _retries(run: RunRecord) -> str:
    repeated = [record for record in run.task_records if record.attempts > 1]
    over = sum(record.peak_gib > record.grant_gib > 0.0 for record in repeated)
    if over:
        return (
            f"Allow more memory by `--memory`: {over} of {count(len(repeated), 'repeated task')} took more than they"
            " were told to."
        )
    return "Find out what ended the attempts that failed: `autotune doctor` looks for memory limits and full disks."


def _between(run: RunRecord) -> str:
    policy = run.policy
    if policy.level_barriers:
        return (
            "Do not wait at the end of each n-body level: the strategy dynamic_balancing mixes levels, as no task needs"
            " the result of another."
        )
    if policy.tasks_per_worker == 1:
        return "Keep programs loaded from one task to the next: the strategy method_tuning does."
    if policy.at_once * policy.width < run.node.cores:
        return (
            f"Use all cores: {count(policy.at_once, 'task')} at once with {count(policy.width, 'core')} each leave"
            f" some of {run.node.cores} idle; leave `--workers` out, or calibrate."
        )
    return (
        "Let fewer nodes share the work: `autotune simulate --nodes` tells how many pay."
        if run.nodes > 1
        else "Tasks may be too short to be handed out one by one: calibrate, so that short ones are known and batched."
    )


def _wide(run: RunRecord) -> str:
    return (
        f"Run more tasks at once with fewer cores each than {run.policy.width}, if memory allows:"
        " a calibration finds the best of these."
    )


def is_shared(run: RunRecord) -> bool:
    """Return whether other programs used so much of the cores that the run's times tell of them as well."""
    return run.wall_s >= LEAST_WAITED_S and run.other_cores >= SHARED * run.machine.cores


def others_words(run: RunRecord) -> str:
    """Return what other programs used, in words."""
    return f"used {run.other_cores:.1f} of {count(run.machine.cores, 'core')}, on average, while tasks ran"


def _about_others(run: RunRecord) -> Iterator[Advice]:
    if is_shared(run):
        yield Advice(
            what="Stop what else runs on this machine, or use fewer cores by `--cores`; then look at what follows.",
            why=f"Other programs {others_words(run)}: tasks took longer than they would alone.",
        )


def _about_waiting(run: RunRecord, losses: Sequence[Loss]) -> Iterator[Advice]:
    """Yield what to do where tasks held cores and did not use them."""
    working = sum(loss.share for loss in losses if loss.useful or loss.name == "price of wide tasks")
    if is_shared(run) or run.wall_s < LEAST_WAITED_S or not working or run.cpu_utilisation >= WAITING * working:
        return
    yield Advice(
        what="Let more tasks run at once: `autotune calibrate` tries that, too. Or put scratch files on a faster disk"
        " by `--scratch`.",
        why=f"Tasks held {percent(working)} of the cores' time, but computed in {percent(run.cpu_utilisation)} of it:"
        " they waited for a disk, for other processes, or for their own threads.",
    )


# --- what would make the next schedule better -------------------------------------------------------------------------


def _about_calibration(run: RunRecord, predictions: Predictions | None, *, good: bool) -> Iterator[Advice]:
    unmeasured = run.tuning.match in _UNMEASURED
    off = predictions is not None and predictions.median > BAD_PREDICTIONS
    if not unmeasured and (good or not off):
        return
    reasons = []
    if unmeasured:
        reasons.append("what is fastest for this method was not measured on this machine")
    if off and predictions:
        reasons.append(f"half of the tasks took {percent(predictions.median)} more or less than predicted, or worse")
    if good:
        what = "Nothing about the schedule; only a calibration can tell whether tasks themselves could be faster: "
    else:
        what = "Calibrate: "
    commands = [f"`{as_line(calibration_of(method), code=False)}`" for method in run.methods[:MOST_COMMANDS]]
    yield Advice(what=f"{what}{join_words(commands or ['`autotune calibrate`'])}.", why=_sentence(reasons).strip())
