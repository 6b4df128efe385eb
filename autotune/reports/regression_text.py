"""A regression's answer as text: a table for terminals, markdown for pull requests, JUnit for CI services.

Rules: all three say the same of the same object; nothing is decided here. Names come from files: they are escaped for
where they go, so that none can change the table or the page that it stands in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from autotune.base.errors import one_line
from autotune.base.wording import count
from autotune.compare.history import Trace
from autotune.compare.regression import Regression, Row
from autotune.reports.text import seconds

MARKS = {"faster": "+", "same": "=", "slower": "!", "cannot tell": "?", "missing": "?", "new": " "}
_TENFOLD = 10.0  # relative change beyond which digits say nothing
_HEADLINES = {
    "slower": "REGRESSION",
    "cannot tell": "CANNOT TELL",
    "same": "NO REGRESSION",
}
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML 1.0 has no letters for


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
    names = [one_line(row.workload) for row in found.rows]
    width = max(map(len, names), default=0)
    lines = [headline(found), ""]
    for name, row in zip(names, found.rows, strict=True):
        lines.append(f"{MARKS[row.verdict]} {name:<{width}}  {row.verdict:<11}  {_times(row):<22}  {_change(row)}")
        lines += [f"  {'':<{width}}  {note}" for note in _remarks(row)]
    return "\n".join([*lines, "", _terms(found)])


def markdown(found: Regression) -> str:
    """Return the answer as markdown, for a pull request or `$GITHUB_STEP_SUMMARY`."""
    lines = [f"### {headline(found)}", "", "| workload | verdict | time | change | remarks |", "|---|---|---|---|---|"]
    for row in found.rows:
        verdict = f"**{row.verdict}**" if row.verdict == "slower" or row.energy_changed else row.verdict
        cells = [_escaped(row.workload), verdict, _times(row), _change(row), _escaped("; ".join(_remarks(row)))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", _escaped(_terms(found))]) + "\n"


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


# --- parts ------------------------------------------------------------------------------------------------------------


def _times(row: Row) -> str:
    sides = [f"{seconds(s)} ({n})" for s, n in ((row.base_s, row.base_runs), (row.head_s, row.head_runs)) if s]
    return " → ".join(sides)


def _change(row: Row) -> str:
    if row.change is None:
        return ""
    interval = f" ({_signed(row.low)} to {_signed(row.high)})" if row.low is not None and row.high is not None else ""
    return f"{_signed(row.change)}{interval}"


def _signed(change: float) -> str:
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
    how = "measured in turn" if found.paired else "compared as they are"
    return (
        f"{found.base} → {found.head}, {how}. Changes are of the time, + is slower, with {found.confidence:.0%}"
        f" intervals; that none is called slower or faster by chance holds at {found.confidence:.0%} for all together"
        f" (Holm); below {found.threshold:.1%} no change counts{known}."
    )


def _escaped(text: str) -> str:
    """Return a text that markdown shows as it is, in one cell of a table."""
    return re.sub(r"([\\`*_{}\[\]<>|#!&~])", r"\\\1", _printable(" ".join(text.split())))


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
