"""A regression's answer, and the history of workloads: as text for terminals, markdown, JUnit for CI, and pictures.

Rules: all say the same of the same object; nothing is decided here. Names come from files: they are escaped for where
they go, so that none can change the table or the page that it stands in. Where a picture cannot show all workloads, it
shows those that changed, and says how many it does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from autotune.base.text import count, one_line, seconds
from autotune.compare.history import Trace
from autotune.compare.regression import Regression, Row
from autotune.reports import figures
from autotune.reports.tables import text_table

MARKS = {"faster": "+", "same": "=", "slower": "!", "cannot tell": "?", "missing": "?", "new": " "}
_TENFOLD = 10.0  # relative change beyond which digits say nothing
_HEADLINES = {
    "slower": "REGRESSION",
    "cannot tell": "CANNOT TELL",
    "same": "NO REGRESSION",
}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no letters for
_SHAPES = {"faster": ("v", figures.COLOURS[2]), "slower": ("^", figures.COLOURS[3]), "same": ("o", figures.COLOURS[0])}
_UNCLEAR = ("D", "#8c8c8c")
_URGENCY = {verdict: rank for rank, verdict in enumerate(("slower", "faster", "cannot tell", "same"))}
_MOST_ROWS = 60  # of a picture
_T = TypeVar("_T")


def headline(found: Regression) -> str:
    """Return the answer in one line, such as `REGRESSION: 1 of 5 workloads is slower, 4 are the same`."""
    counts = {verdict: sum(row.verdict == verdict for row in found.rows) for verdict in MARKS}
    parts = [f"{number} {verdict}" for verdict, number in counts.items() if number]
    changed = sum(row.energy_changed for row in found.rows)
    if changed:
        parts.insert(0, f"ENERGIES CHANGED in {changed}")
    all_of = count(len(found.rows), "workload")
    return f"{_HEADLINES[found.verdict]}: of {all_of}, {', '.join(parts) or 'none was compared'}"


def table(found: Regression) -> str:
    """Return the answer as a table for a terminal."""
    rows = [
        (f"{MARKS[row.verdict]} {one_line(row.workload)}", row.verdict, _times(row), _change(row)) for row in found.rows
    ]
    width = max((len(name) for name, *_ in rows), default=0)
    lines = [headline(found), ""]
    for line, row in zip(text_table(("",) * 4, rows, words=range(4)), found.rows, strict=True):
        lines += [line, *(f"{'':<{width}}  {note}" for note in _remarks(row))]
    return "\n".join([*lines, "", _terms(found)])


def markdown(found: Regression) -> str:
    """Return the answer as markdown, for a pull request or `$GITHUB_STEP_SUMMARY`."""
    lines = [f"### {headline(found)}", "", "| workload | verdict | time | change | remarks |", "|---|---|---|---|---|"]
    for row in found.rows:
        verdict = f"**{row.verdict}**" if row.verdict == "slower" or row.energy_changed else row.verdict
        cells = [_escape(row.workload), verdict, _times(row), _change(row), _escape("; ".join(_remarks(row)))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _escape(_terms(found))]) + "\n"


def junit(found: Regression) -> str:
    """Return the answer as JUnit XML, a case for each workload; what cannot be told is skipped."""
    failed = [row for row in found.rows if row.verdict == "slower" or row.energy_changed]
    unclear = [row for row in found.rows if row not in failed and row.verdict in ("cannot tell", "missing")]
    counts = {"tests": len(found.rows), "failures": len(failed), "skipped": len(unclear), "errors": 0}
    totals = {name: str(number) for name, number in counts.items()}
    suite = Element("testsuite", {"name": "autotune regress"} | totals)
    for row in found.rows:
        case = SubElement(suite, "testcase", classname="autotune.regress", name=_printable(row.workload))
        case.set("time", f"{row.head_s or 0.0:.6f}")
        text = _printable("; ".join(filter(None, [_times(row), _change(row), *_remarks(row)])))
        if row in failed:
            SubElement(case, "failure", message=text, type="energy" if row.energy_changed else "slower").text = text
        elif row in unclear:
            SubElement(case, "skipped", message=text)
        SubElement(case, "system-out").text = text
    indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suite, encoding="unicode") + "\n"


def history_table(traces: Sequence[Trace]) -> str:
    """Return where workloads changed, for a terminal; machines are named where there are several."""
    several = len({trace.machine for trace in traces}) > 1
    lines = []
    for trace in traces:
        where = f" on {one_line(trace.machine)}" if several else ""
        lines.append(
            f"{one_line(trace.workload)}{where}: {count(len(trace.samples), 'record')}, now at {seconds(trace.level_s)}"
        )
        lines += [
            f"  {change.created[:19]}  {abs(change.change):.1%} {'slower' if change.change > 0 else 'faster'} from"
            f" here on ({one_line(change.source)})"
            for change in trace.changes
        ]
        if len(trace.samples) < trace.needed:
            lines.append(f"  too few to tell a change of its level; from {trace.needed} on it can be told")
        elif not trace.changes:
            lines.append("  no change of its level")
    return "\n".join(lines)


# --- pictures ---------------------------------------------------------------------------------------------------------


def draw_changes(found: Regression, path: Path) -> None:
    """Draw the change of each workload with its interval; raises as `figures.save`."""
    timed = [row for row in found.rows if row.change is not None]
    rows = _foremost(timed, key=lambda row: (not row.energy_changed, _URGENCY[row.verdict], -abs(row.change or 0.0)))
    with figures.figure(size=(9, 1.6 + 0.35 * len(rows))) as drawn:
        axes = drawn.subplots()
        limit = 100 * found.threshold
        axes.axvspan(100 * (1 / (1 + found.threshold) - 1), limit, color="#eeeeee", label="does not count")
        axes.axvline(0.0, color="black", linewidth=0.8)
        for place, row in enumerate(reversed(rows)):
            shape, colour = _SHAPES.get(row.verdict, _UNCLEAR)
            if row.low is not None and row.high is not None:
                axes.plot([100 * row.low, 100 * row.high], [place, place], color=colour, linewidth=2)
            axes.plot([100 * (row.change or 0.0)], [place], marker=shape, color=colour, markersize=7, linestyle="none")
            axes.annotate(
                row.verdict, (1.01, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=colour
            )
        left_out = f"; {len(timed) - len(rows)} more that changed less" if len(rows) < len(timed) else ""
        xlabel = f"change of the time in %, slower to the right{left_out}"
        axes.set(yticks=range(len(rows)), xlabel=xlabel, title=headline(found))
        axes.set_yticklabels([row.workload[:70] for row in reversed(rows)], fontsize=8)
        axes.set_ylim(-0.7, len(rows) - 0.3)
        figures.save(drawn, path, 120)


def draw_histories(traces: Sequence[Trace], path: Path) -> None:
    """Draw the times of each workload over its records, its levels and where they change; raises as `figures.save`."""
    shown = _foremost(traces, key=lambda trace: -len(trace.changes))
    with figures.figure(size=(9, 0.6 + 1.8 * max(len(shown), 1))) as drawn:
        panels = drawn.subplots(max(len(shown), 1), 1, squeeze=False)[:, 0]
        for axes, trace in zip(panels, shown, strict=False):
            times = [sample.wall_s for sample in trace.samples]
            axes.plot(range(len(times)), times, marker="o", markersize=3, linewidth=0.6, color=figures.COLOURS[0])
            for change in trace.changes:
                where = change.position - 0.5
                axes.axvline(
                    where, color=figures.COLOURS[3] if change.change > 0 else figures.COLOURS[2], linestyle="--"
                )
                axes.annotate(f"{change.change:+.0%}", (where, max(times)), fontsize=8, va="top")
            axes.set(ylabel="seconds", ylim=(0, 1.1 * max(times)))
            axes.set_title(trace.workload[:90], fontsize=9)
        left_out = f"; {len(traces) - len(shown)} more workloads without a change" if len(shown) < len(traces) else ""
        panels[-1].set_xlabel(f"record, oldest first{left_out}")
        figures.save(drawn, path, 120)


def _foremost(of: Sequence[_T], *, key: Callable[[_T], Any]) -> list[_T]:
    """Return the first so many by a key, in the order they had."""
    chosen = sorted(range(len(of)), key=lambda place: key(of[place]))[:_MOST_ROWS]
    return [of[place] for place in sorted(chosen)]


# --- parts ------------------------------------------------------------------------------------------------------------


def _times(row: Row) -> str:
    sides = [f"{seconds(s)} ({n})" for s, n in ((row.base_s, row.base_runs), (row.head_s, row.head_runs)) if s]
    return " → ".join(sides)


def _change(row: Row) -> str:
    if row.change is None:
        return ""
    interval = f" ({_sign(row.low)} to {_sign(row.high)})" if row.low is not None and row.high is not None else ""
    return f"{_sign(row.change)}{interval}"


def _sign(change: float) -> str:
    return f"{change:+.1%}" if change < _TENFOLD else "over +1000%"


def _remarks(row: Row) -> list[str]:
    remarks = [row.note] if row.note else []
    if row.verdict in ("cannot tell", "same") and row.detectable is not None:
        few = row.detectable >= _TENFOLD
        remarks.append(
            "not even a change of 1000% would have shown"
            if few
            else f"a change of {row.detectable:.1%} would have shown"
        )
    return remarks


def _terms(found: Regression) -> str:
    known = f"; equal runs are taken to differ by {found.noise:.1%}" if found.noise else ""
    how = "measured in turn" if found.paired else "as recorded"
    return (
        f"{found.base} → {found.head}, {how}. Change of the wall time, + is slower, with its {found.confidence:.0%}"
        f" confidence interval. Changes below {found.threshold:.1%} are ignored. All verdicts together are free of"
        f" false alarms in {found.confidence:.0%} of comparisons (Holm's procedure){known}."
    )


def _escape(text: str) -> str:
    """Return a text that markdown shows as it is, in one cell of a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#!&~])", r"\\\1", _printable(" ".join(text.split())))


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
