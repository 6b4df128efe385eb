"""What was chosen and why, in words: the evidence of a tuning, and what a run is about to do.

Rules: pure, returns text; nothing is claimed that the records do not say. Odd records (no default among the trials, no
pairs, all failed) give shorter text, never an error.
"""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from autotune.base.records import Evidence, Law, Trial, Tuning
from autotune.base.text import count, duration, finite, join_words
from autotune.base.types import Context, Machine, Parameter, Policy
from autotune.calibration import confirmation
from autotune.expansion.joint import Joint
from autotune.expansion.summary import describe
from autotune.expansion.workload import Workload
from autotune.plugin import composition
from autotune.reports.decisions import changes_words, defaults_of, policy_words
from autotune.reports.tables import text_table
from autotune.runtime.planning import Plan

if TYPE_CHECKING:
    from autotune.schedule.simulator import Simulation

LINE = 100  # characters
_CHANGED = 66  # of these, for what a trial changed
BEST = 5  # trials in the table
_KEPT = "\N{NO-BREAK SPACE}"
BAR = 30  # characters of an importance of 1
_FINDINGS = {
    "faster": "the winner of the search is faster than the default, and is used",
    "same": "the winner of the search is no faster than the default, which is used",
    "slower": "the winner of the search turned out slower than the default, which is used",
    "cannot tell": "the winner of the search was not shown to be faster than the default, which is used",
    "not confirmed": "the search found nothing that is faster than the default, which is used",
}
_MOST_SHARES = 3  # of importances, where only the largest are said
_MATCHES = {
    "exact": "measured on this machine for this very method",
    "near": "measured on this processor for a related method or other memory; no better parameters are known",
    "model": "measured on this processor for other sizes, methods or cores, so the parameters are the defaults",
    "default": "nothing that was measured fits, so the defaults are used",
    "given": "the file that you named, whether or not it was measured on this machine",
    "none": "you asked for no tuning, so the defaults are used",
}


# --- a tuning ---------------------------------------------------------------------------------------------------------


def tuning_words(tuning: Tuning) -> str:
    """Return a tuning and its evidence as text of several lines, without a line break at the end."""
    evidence = tuning.evidence
    blocks = {
        "": _origin(tuning),
        "verdict": [*_verdict(evidence), *_noise(evidence)],
        "what speaks against it": [line for caution in evidence.cautions for line in _wrap(caution)],
        "largest change of an energy by a program's tunable": _deviations(evidence),
        "parameters": _choice(tuning.parameters, defaults_of(evidence.trials)),
        "search": _search(evidence),
        f"the best of {count(len(evidence.trials), 'trial')}": _table(evidence.trials),
        "share of the differences between trials that a parameter explains": _bars(evidence.importances),
        "times of tasks": _law(tuning.law, evidence),
    }
    return "\n\n".join("\n".join(_block(title, lines)) for title, lines in blocks.items() if lines)


def _block(title: str, lines: Sequence[str]) -> list[str]:
    return [*([title] if title else []), *(f"  {line}" if title else line for line in lines)]


def _wrap(text: str, *, letters: int = LINE) -> list[str]:
    return textwrap.wrap(text, letters, break_long_words=False, break_on_hyphens=False)


def _origin(tuning: Tuning) -> list[str]:
    here, program = tuning.machine, tuning.method.program
    libraries = join_words(f"{name} {version}" for name, version in sorted(tuning.versions.items()))
    lines = [
        str(tuning.method),
        f"on {here.cpu_model}, {count(here.cores, 'core')}, {here.memory_gib:.1f} GiB",
        *_wrap(f"measured {tuning.created} with {program} {tuning.program_version}"),
        *_wrap(f"libraries: {libraries}" if libraries else ""),
    ]
    return [*lines, f"verified {tuning.verified}"] if tuning.verified else lines


def _verdict(evidence: Evidence) -> list[str]:
    finding = f"{evidence.verdict}: {_FINDINGS.get(evidence.verdict, 'see the numbers')}"
    if not evidence.pairs:
        return _wrap(f"{finding}; no pairs were run")
    measured = f"{evidence.speed_up:.2f}× the speed of the default"
    if evidence.interval:
        measured += f" (95 % interval {evidence.interval[0]:.2f} to {evidence.interval[1]:.2f})"
    on = [f"{n} on {name}" for name, n in Counter(pair.workload for pair in evidence.pairs).items()]
    from_pairs = f"{measured}, from {count(len(evidence.pairs), 'pair')} of runs: {join_words(on)}"
    return [*_wrap(finding), *_wrap(from_pairs), *_wrap(_detectable(evidence))]


def _detectable(evidence: Evidence) -> str:
    timed = [pair for pair in evidence.pairs if finite(pair.default_s) and finite(pair.tuned_s)]
    least = confirmation.compare(timed, confirmation.CONFIDENCE).detectable
    if not math.isfinite(least):
        return "so few pairs cannot show any difference"
    return f"a speed-up of {1.0 + least:.3g} or more would have shown in such pairs, four times out of five"


def _noise(evidence: Evidence) -> list[str]:
    if not finite(evidence.noise):
        return ["noise: it was not measured"]
    total = sum(map(len, evidence.noise_s))
    runs = f", from {count(total, 'run')} of the default" if total else ""
    return _wrap(
        f"noise: the same run takes {100 * evidence.noise:.1f} % more or less from one time to the next{runs}; a single"
        f" trial within {200 * evidence.noise:.1f} % of the default says nothing"
    )


def _deviations(evidence: Evidence) -> list[str]:
    return [f"{name}: {largest:.1e} Eh" for name, largest in sorted(evidence.deviations.items())]


def _choice(parameters: Mapping[str, Parameter], defaults: Mapping[str, Parameter]) -> list[str]:
    return changes_words(parameters, defaults) or ["all parameters are at their defaults"]


def _search(evidence: Evidence) -> list[str]:
    trials = evidence.trials
    sources = Counter(trial.source for trial in trials)
    states = Counter(trial.state for trial in trials)
    counted = [f"{n} {name}" for name, n in sources.items()]
    ended = [f"{states[name]} {name}" for name in ("done", "pruned", "failed") if states[name]]
    where = f" on {join_words(evidence.search_workloads)}" if evidence.search_workloads else ""
    ran = f"{count(len(trials), 'trial')}{where}"
    share = f" ({100 * evidence.spent_s / evidence.budget_s:.0f} %)" if finite(evidence.budget_s) else ""
    return [
        *_wrap(f"{ran}: {join_words(counted)}; of these {join_words(ended)}" if trials else f"no trials{where}"),
        *_wrap(f"the search ended: {evidence.stopped}" if evidence.stopped else ""),
        f"took {duration(evidence.spent_s)} of the {duration(evidence.budget_s)} allowed{share}",
    ]


def _table(trials: Sequence[Trial]) -> list[str]:
    """Return the fastest trials that ran to the end, as lines of a table."""
    best = sorted((t for t in trials if t.state == "done"), key=lambda trial: -trial.speed_up)[:BEST]
    if not best:
        return []
    defaults, rows = defaults_of(trials), []
    for trial in best:
        phrases = [phrase.replace(" ", _KEPT) for phrase in changes_words(trial.parameters, defaults)]
        changed = _wrap("; ".join(phrases) or "nothing: the default", letters=_CHANGED)
        rows.append((f"{trial.speed_up:.2f}×", f"{trial.workers}", f"{trial.width}", "\n".join(changed)))
    headings = ("speed-up", "tasks at once", "threads", "differs from the default in")
    return [line.replace(_KEPT, " ") for line in text_table(headings, rows, words=(3,))]


def _bars(importances: Mapping[str, float]) -> list[str]:
    return text_table(
        ("", "", ""),
        [
            (name, f"{'█' * round(BAR * min(1.0, share)):{BAR}}", f"{100 * share:.0f} %")
            for name, share in sorted(importances.items(), key=lambda item: -item[1])
        ],
        words=(0, 1, 2),
    )


def _law(law: Law, evidence: Evidence) -> list[str]:
    smallest, largest = evidence.smallest_functions, evidence.largest_functions
    terms = join_words(f"{name} {seconds:.2g}" for name, seconds in law.seconds.items())
    sentences = [f"fitted to tasks of {smallest} to {largest} basis functions; beyond, they are extrapolations"]
    sentences.append(f"two of three tasks take their predicted time within a factor of {math.exp(law.spread):.2f}")
    if terms:
        sentences.append(f"seconds of one operation of each kind: {terms}")
    if law.parallel > 0.0:
        divides = f"of a long task {100 * law.parallel:.0f} % divide over more threads"
        sentences.append(f"{divides}; of one that takes {law.half_s:.2g} s on one core, half as much")
    else:
        sentences.append("more threads make no task faster")
    if law.contention != 1.0:
        sentences.append(f"a task takes {law.contention:.2f} times as long while all cores work as it does alone")
    return [line for sentence in sentences for line in _wrap(sentence)]


# --- a run ------------------------------------------------------------------------------------------------------------


def choice_words(plan: Plan, *, work: Workload | Joint, machine: Machine, forecast: Simulation | None = None) -> str:
    """Return what a run is about to do and why, as text of several lines, without a line break at the end.

    Args:
        plan: The run's plan.
        work: What is computed.
        machine: Where.
        forecast: The schedule on a virtual clock, where one was made.
    """
    context = Context(machine=machine, methods=work.methods, tasks=len(work.tasks))
    defaults = composition.default_parameters(plan.strategies, context)
    changed = {k: v for k, v in plan.chosen.parameters.items() if k not in defaults or defaults[k] != v}
    composed = composition.compose(plan.strategies, changed, context)
    does = [*policy_words(plan.policy, machine, budget_gib=plan.budget_gib), *_forecast(plan, work, forecast)]
    blocks = {
        # As the run says it, in one line.
        "input": [] if isinstance(work, Joint) else [describe(work.recipe.molecule)],
        "machine": [_machine(machine)],
        "tuning": _match(plan),
        "what its calibration found": _found(plan),
        "parameters": [*_given_parameters(plan, defaults), *_overrides(plan.policy, composed)],
        count(len(work.tasks), "task"): [line for sentence in does for line in _wrap(sentence)],
    }
    return "\n".join(line for title, lines in blocks.items() if lines for line in _block(title, lines))


def _machine(machine: Machine) -> str:
    limits = [
        f"{what} by {limit}"
        for what, limit in (("cores", machine.cores_limited_by), ("memory", machine.memory_limited_by))
        if limit != "physical"
    ]
    limited = f" (limited: {join_words(limits)})" if limits else ""
    return f"{machine.cpu_model}, {count(machine.cores, 'core')}, {machine.memory_gib:.1f} GiB{limited}"


def _match(plan: Plan) -> list[str]:
    chosen = plan.chosen
    meaning = f"{chosen.match}: {_MATCHES.get(chosen.match, 'see the reason')}"
    source = [f"from {chosen.source}"] if chosen.source else []
    # A command to copy, a path: not to be broken over lines.
    return [*_wrap(meaning), chosen.reason, *source]


def _found(plan: Plan) -> list[str]:
    if plan.tuning is None or plan.chosen.match not in ("exact", "near", "given"):
        return []
    evidence = plan.tuning.evidence
    shares = [f"{name} {100 * share:.0f} %" for name, share in list(evidence.importances.items())[:_MOST_SHARES]]
    mattered = f"of the differences between trials came from {join_words(shares)}" if shares else ""
    return [*_verdict(evidence), *_wrap(mattered)]


def _given_parameters(plan: Plan, defaults: Mapping[str, Parameter]) -> list[str]:
    return _choice(plan.chosen.parameters, defaults) if plan.strategies else ["there are none: no strategy is applied"]


def _overrides(policy: Policy, composed: Policy) -> list[str]:
    """Return what the user's own numbers changed in the policy, if anything."""
    changed = [
        f"{field.name} = {getattr(policy, field.name)} (instead of {getattr(composed, field.name)})"
        for field in fields(policy)
        if getattr(policy, field.name) != getattr(composed, field.name)
    ]
    return _wrap(f"your own numbers come last: {join_words(changed)}") if changed else []


def _forecast(plan: Plan, work: Workload | Joint, forecast: Simulation | None) -> list[str]:
    if forecast is None:
        return []
    measured = all(map(plan.costs.is_measured, work.methods))
    guessed = "" if measured else ", by guessed times: only relative times are meaningful"
    predicted = f"Predicted: {_seconds(forecast.makespan_s)}, start-up not counted{guessed}."
    bound = f"No schedule of tasks that take so long ends before {_seconds(forecast.lower_bound_s)}."
    return [f"{predicted} {bound}"]


def _seconds(seconds: float) -> str:
    """Return a duration for people that does not make a short one 0."""
    return duration(seconds) if seconds >= 10.0 else f"{seconds:.2g} s"  # noqa: PLR2004 - two digits then
