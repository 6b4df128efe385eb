"""`autotune run`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.base.errors import InputError, ResourceError, TaskError
from autotune.base.text import count
from autotune.cli import interruption, options, outcomes, streams

if TYPE_CHECKING:
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

    from autotune.base.errors import AutotuneError
    from autotune.base.options import Options
    from autotune.base.records import RunRecord, TuningChoice
    from autotune.expansion.inputs import NamedInputs
    from autotune.runtime.monitor import Snapshot
    from autotune.session.lot import Outcome
    from autotune.session.preparation import Preparation
    from autotune.session.session import Session

NOTABLE_CORES, NOTABLE_S = 0.2, 5.0  # less, or in a shorter run, may be the start of our own workers
SHOWN_ROWS = 20  # of the table of many inputs whose results are in files
FORECAST_TASKS = 20_000  # a virtual run of more takes seconds


@click.command("run")
@click.argument("sources", metavar="INPUT...", nargs=-1, required=True)
@options.expansion_options
@options.planning_options
@options.fault_options
@options.fleet_options
@options.omission_options
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Write the ManyBodyResult here instead of standard output; of several inputs, a folder, or FILE.jsonl.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the ManyBodyResult on a terminal, too, not the table.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write the table of n-body energies here.")
@click.option("--record", metavar="FILE", help="Write what happened here: times, memory, bound, efficiency.")
@click.option("--explain", is_flag=True, help="Say first, in words, what will be done and why, and what it may take.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def command(
    sources: tuple[str, ...],
    *,
    output: str | None,
    as_json: bool,
    csv_file: str | None,
    record: str | None,
    explain: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Compute a many-body expansion.

    INPUT is a QCManyBody ManyBodyInput (JSON, schema v1 or v2), or a geometry (XYZ, PDB, QCSchema Molecule, molecule of
    Psi4) together with --program, --method and --basis, or - for standard input. The ManyBodyResult comes back in the
    schema version that came in. On a terminal its energies are shown as a table instead, which `autotune show` makes
    of a stored result, too.

    Several inputs - files, folders of them, XYZ files with the frames of a trajectory - are computed as one run, equal
    tasks once. Each result is named by its input, in a folder or in a line of FILE.jsonl, and is there as soon as it
    can be; an input that fails stops no other.

    \b
    autotune run input.json -o result.json
    autotune run water6.xyz --program pyscf --method mp2 --basis cc-pvdz --bsse cp --max-nbody 2
    autotune run dimers/ frames.xyz --program tblite --method gfn2-xtb -o results/
    """
    from autotune.base.options import Options

    if as_json and output:
        raise InputError("--json prints the result and -o writes it to a file; leave one of them out")
    chosen, in_place = Options(**options.session_options(given)), not output and not as_json and _is_terminal()
    with starting_ahead(chosen):
        from autotune.expansion.inputs import are_several, name_inputs

        if are_several(sources):
            named = name_inputs(sources)
            outcomes.check(output, (record, csv_file), sources=sources, inputs=named.inputs)
            _run_many(named, chosen, output, record, csv_file, in_place=in_place, explain=explain, quiet=quiet, **given)
            return
        (source,) = sources
        options.check_targets((output, record, csv_file), [] if source == "-" else [source])
        with options.noting_earlier_files(output, record, csv_file, f"{output}.partial" if output else None):
            _run(source, chosen, output, record, csv_file, in_place=in_place, explain=explain, quiet=quiet, **given)


def _run(
    source: str,
    chosen: Options,
    output: str | None,
    record: str | None,
    csv_file: str | None,
    *,
    in_place: bool,
    explain: bool,
    quiet: bool,
    **given: Any,
) -> None:
    from autotune.base import json_files
    from autotune.expansion import readers

    text, name = readers.read_text(source)
    expansion = options.expansion(given, text=text, name=name)
    partial = Path(f"{output}.partial")
    with open_session(chosen, explain=explain, quiet=quiet) as session:
        if expansion is not None:
            session.preload(expansion.models)
        fields = readers.many_body_fields(text, name=name, expansion=expansion)
        try:
            result = session.run(fields)
        except TaskError as error:
            if session.record and record:
                json_files.save_run(session.record, Path(record))
            if output and error.failed:
                json_files.save_partial(error.done, error.failed, partial)
                done = count(len(error.done), "component that was computed is", "components that were computed are")
                error.add_note(f"{done} in {partial}" if error.done else f"the failures are in {partial}")
            raise
    try:
        try:
            _give(result, output=output, csv_file=csv_file, table_only=in_place, quiet=quiet)
        finally:
            tell(session.record, record, explain=explain, quiet=quiet)
    except ResourceError as error:
        error.add_note(session.kept)
        raise
    if in_place and not quiet and chosen.journal != "none":
        _say("the whole ManyBodyResult: the same command with `--resume -o FILE` writes it and computes nothing again")


def _run_many(
    named: NamedInputs,
    chosen: Options,
    output: str | None,
    record: str | None,
    csv_file: str | None,
    *,
    in_place: bool,
    explain: bool,
    quiet: bool,
    **given: Any,
) -> None:
    from autotune.base import json_files
    from autotune.reports.outcomes_table import OutcomeRow, OutcomesTable, rows_of
    from autotune.session.many import sum_up

    expansion = options.expansion_of_geometries(given)
    rows: list[OutcomeRow] = []
    errors: dict[str, AutotuneError | None] = {}

    def take(outcome: Outcome) -> None:
        rows.extend(rows_of(outcome))
        errors[outcome.name] = outcome.error
        target.take(outcome)

    with (
        outcomes.Target(output, silent=in_place) as target,
        open_session(chosen, explain=explain, quiet=quiet) as session,
    ):
        if expansion is not None:
            session.preload(expansion.models)
        try:
            session.run_many(named, expansion=expansion, on_outcome=take, keep=False)
        except BaseException as error:
            if errors and output:
                error.add_note(f"{count(len(errors), 'input')} had ended before; their results are in {output}")
            raise
    table = OutcomesTable(tuple(sorted(rows, key=lambda row: row.name)))
    if csv_file:
        json_files.write_text(Path(csv_file), table.csv())
    if in_place:
        streams.deliver(str(table))
    elif not quiet:
        _say(table.text(SHOWN_ROWS))
    failure = sum_up(errors)
    if session.record is not None or failure is None:
        tell(session.record, record, explain=explain, quiet=quiet)
    if failure is not None:
        failure.add_note(session.kept)
        raise failure


@contextlib.contextmanager
def starting_ahead(chosen: Options) -> Iterator[None]:
    """Let the process that becomes the workers start while this one reads its input, unless a resume may need none."""
    from autotune.workers import forks

    with contextlib.ExitStack() as stack:
        if chosen.here and not chosen.resume:
            stack.enter_context(forks.ahead(Path(chosen.scratch) if chosen.scratch else None))
        yield


@contextlib.contextmanager
def open_session(chosen: Options, *, explain: bool, quiet: bool) -> Iterator[Session]:
    """Yield a session that shows and says what it does."""
    from autotune.reports.progress import Progress
    from autotune.session.session import Session

    if explain and not chosen.here:
        raise InputError("--explain says what this machine would do; leave out --backend, or see `autotune simulate`")
    aloud = _Aloud()

    def show(snapshot: Snapshot) -> None:
        interruption.check()
        if not quiet:
            progress.show(snapshot)

    with (
        Progress() as progress,
        Session(
            chosen,
            on_progress=show,
            on_plan=aloud.explain if explain else None,
            on_choice=None if quiet else aloud.choose,
            on_notice=None if quiet else aloud.say,
        ) as session,
    ):
        yield session


def _give(
    result: ManyBodyResult | ManyBodyResultV1,
    *,
    output: str | None,
    csv_file: str | None,
    table_only: bool,
    quiet: bool,
) -> None:
    """Write the result, and show its table: in its place on a terminal, otherwise on standard error.

    Raises:
        ResourceError: A file or standard output cannot be written.
    """
    from autotune.base import json_files
    from autotune.reports.nbody_table import tabulate

    if output:
        json_files.write_text(Path(output), outcomes.json_of(result) + "\n")
        Path(f"{output}.partial").unlink(missing_ok=True)
    elif not table_only:
        streams.deliver(outcomes.json_of(result))
    table = tabulate(result, output=csv_file)
    if table_only:
        streams.deliver(str(table))
    elif not quiet:
        _say(str(replace(table, notes=())))  # which the run has said


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()


def tell(done: RunRecord | None, path: str | None, *, quiet: bool, explain: bool = False) -> None:
    """Store and sum up what happened in a run that ended well."""
    from autotune.base import json_files

    if done is None:
        if explain:
            _say(options.NOTHING)
        if not quiet or path:
            click.echo("nothing had to be computed for this expansion, so there is no record of a run", err=True)
        return
    if path:
        json_files.save_run(done, Path(path))
    if not quiet:
        _say(_summary(done))


class _Aloud:
    """Says lines on standard error, and none of them that the explanation of the run has in it already."""

    def __init__(self) -> None:
        self._explained = ""
        self._chosen: TuningChoice | None = None

    def explain(self, prepared: Preparation) -> None:
        """Say what a run will do and why, as it has planned it."""
        from autotune.reports.explanation import choice_words

        forecast = prepared.simulate() if len(prepared.work.tasks) <= FORECAST_TASKS else None
        self._explained = choice_words(prepared.plan, work=prepared.work, machine=prepared.machine, forecast=forecast)
        _say(self._explained)

    def choose(self, chosen: TuningChoice) -> None:
        """Say which tuning is used, where it is not that of the lot of inputs before."""
        if chosen != self._chosen:
            _say(f"tuning: {chosen.match} - {chosen.reason}")
        self._chosen = chosen

    def say(self, line: str) -> None:
        """Say a line."""
        if line not in self._explained:
            _say(line)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _summary(record: RunRecord) -> str:
    if record.recalled == record.tasks:
        return f"{record.tasks} tasks in {record.wall_s:.2f} s, all from the journal"
    gap = record.gap
    lost = {
        "start-up": gap.startup,
        "the tail": gap.tail,
        "waiting for memory": gap.memory,
        "repeated attempts": gap.retries,
        "between tasks": gap.scheduler,
        "assembly": gap.assembly,
    }
    largest = max(lost, key=lambda name: lost[name])
    others = ""
    if record.other_cores >= NOTABLE_CORES and record.wall_s >= NOTABLE_S:
        others = f"; other programs used {record.other_cores:.1f} of {record.machine.cores} cores meanwhile"
    if record.speeds:
        others += f"; the slowest worker had {min(record.speeds):.2f} of the speed of the fastest"
    return (
        f"{record.tasks} tasks in {record.wall_s:.2f} s; no schedule of these could take less than"
        f" {record.lower_bound_s:.2f} s ({100 * record.efficiency:.0f} %);"
        f" most of the rest went to {largest} ({lost[largest]:.2f} s){others}"
    )
