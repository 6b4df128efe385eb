"""`autotune run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.base.errors import InputError, ResourceError, TaskError
from autotune.cli import interruption, options, streams

if TYPE_CHECKING:
    from autotune.base.records import RunRecord, TuningChoice
    from autotune.runtime.monitor import Snapshot
    from autotune.session.preparation import Preparation

FORECAST_TASKS = 20_000  # a virtual run of more takes seconds


@click.command("run")
@click.argument("source", metavar="INPUT")
@options.expansion_options
@options.planning_options
@options.fault_options
@options.fleet_options
@options.omission_options
@click.option("-o", "--output", metavar="FILE", help="Write the ManyBodyResult here instead of standard output.")
@click.option("--record", metavar="FILE", help="Write what happened here: times, memory, bound, efficiency.")
@click.option("--explain", is_flag=True, help="Say first, in words, what will be done and why, and what it may take.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def command(source: str, output: str | None, record: str | None, explain: bool, quiet: bool, **given: Any) -> None:
    """Compute a many-body expansion.

    INPUT is a QCManyBody ManyBodyInput (JSON, schema v1 or v2), an XYZ file together with --program, --method and
    --basis, or - for standard input. The ManyBodyResult comes back in the schema version that came in.

    \b
    autotune run input.json -o result.json
    autotune run water6.xyz --program pyscf --method mp2 --basis cc-pvdz --bsse cp --max-nbody 2
    """
    with options.noting_earlier_files(output, record, f"{output}.partial" if output else None):
        _run(source, output, record, explain=explain, quiet=quiet, **given)


def _run(source: str, output: str | None, record: str | None, *, explain: bool, quiet: bool, **given: Any) -> None:
    from autotune.base import json_files
    from autotune.base.options import Options
    from autotune.expansion import readers
    from autotune.reports.progress import Progress
    from autotune.session.session import Session

    options.check_targets((output, record), [] if source == "-" else [source])
    text, name = readers.read_text(source)
    expansion = options.expansion(given, text=text, name=name)
    partial, chosen = Path(f"{output}.partial"), Options(**options.session_options(given))
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
            on_choice=None if quiet else _say_choice,
            on_notice=None if quiet else aloud.say,
        ) as session,
    ):
        if expansion is not None:
            session.preload([expansion.model])
        fields = readers.many_body_fields(text, name=name, expansion=expansion)
        try:
            result = session.run(fields)
        except TaskError as error:
            if session.record and record:
                json_files.save_run(session.record, Path(record))
            if output:
                json_files.save_partial(error.done, error.failed, partial)
                error.add_note(f"the {len(error.done)} components that were computed are in {partial}")
            raise
    # QCSchema v1 models are pydantic v1.
    answer = result.json() if getattr(result, "schema_version", 2) == 1 else result.model_dump_json()
    try:
        try:
            if output:
                json_files.write_text(Path(output), answer + "\n")
                partial.unlink(missing_ok=True)
            else:
                streams.deliver(answer)
        finally:
            _tell(session.record, record, explain=explain, quiet=quiet)
    except ResourceError as error:
        error.add_note(session.kept)
        raise


def _tell(done: RunRecord | None, path: str | None, *, explain: bool, quiet: bool) -> None:
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

    def explain(self, prepared: Preparation) -> None:
        """Say what a run will do and why, as it has planned it."""
        from autotune.reports.explanation import choice_words

        forecast = prepared.simulate() if len(prepared.work.tasks) <= FORECAST_TASKS else None
        self._explained = choice_words(prepared.plan, work=prepared.work, machine=prepared.machine, forecast=forecast)
        _say(self._explained)

    def say(self, line: str) -> None:
        """Say a line."""
        if line not in self._explained:
            _say(line)


def _say(line: str) -> None:
    click.echo(line, err=True)


def _say_choice(chosen: TuningChoice) -> None:
    click.echo(f"tuning: {chosen.match} - {chosen.reason}", err=True)


def _summary(record: RunRecord) -> str:
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
    return (
        f"{record.tasks} tasks in {record.wall_s:.2f} s; no schedule of these could take less than"
        f" {record.lower_bound_s:.2f} s ({100 * record.efficiency:.0f} %);"
        f" most of the rest went to {largest} ({lost[largest]:.2f} s)"
    )
