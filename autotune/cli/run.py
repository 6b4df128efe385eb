"""`autotune run`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.base.errors import InputError, TaskError
from autotune.cli import options

if TYPE_CHECKING:
    from autotune.base.options import Options
    from autotune.base.records import RunRecord, TuningChoice
    from autotune.base.types import Machine

FORECAST_TASKS = 20_000  # a virtual run of more takes seconds


@click.command()
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
def run(source: str, output: str | None, record: str | None, explain: bool, quiet: bool, **given: Any) -> None:
    """Compute a many-body expansion.

    INPUT is a QCManyBody ManyBodyInput (JSON, schema v1 or v2), an XYZ file together with --program, --method and
    --basis, or - for standard input. The ManyBodyResult comes back in the schema version that came in.

    \b
    autotune run input.json -o result.json
    autotune run water6.xyz --program pyscf --method mp2 --basis cc-pvdz --bsse cp --max-nbody 2
    """
    from autotune.base import json_files
    from autotune.expansion import readers
    from autotune.reports.progress import Progress
    from autotune.session.session import Session

    options.check_targets((output, record), [] if source == "-" else [source])
    text, name = readers.read_text(source)
    expansion = options.expansion(given, text=text, name=name)
    partial, chosen = Path(f"{output}.partial"), options.session_options(given)
    explained = ""

    def say(line: str) -> None:
        if line not in explained:  # what the explanation says of the input is not said twice
            _say(line)

    with (
        Progress() as progress,
        Session(
            chosen,
            on_progress=None if quiet else progress.show,
            on_choice=None if quiet else _say_choice,
            on_notice=None if quiet else say,
        ) as session,
    ):
        if expansion is not None:
            session.preload([expansion.model])
        fields = readers.many_body_fields(text, name=name, expansion=expansion)
        if explain and not chosen.here:
            raise InputError(
                "--explain says what this machine would do; leave out --backend, or see `autotune simulate`"
            )
        if explain:
            explained = _explained(fields, chosen, session.machine)
            _say(explained)
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
    if output:
        json_files.write_text(Path(output), answer + "\n")
        partial.unlink(missing_ok=True)
    else:
        click.echo(answer)
    _tell(session.record, record, quiet=quiet)


def _tell(done: RunRecord | None, path: str | None, *, quiet: bool) -> None:
    """Store and sum up what happened in a run that ended well."""
    from autotune.base import json_files

    if done is None:
        if not quiet or path:
            click.echo("nothing had to be computed for this expansion, so there is no record of a run", err=True)
        return
    if path:
        json_files.save_run(done, Path(path))
    if not quiet:
        _say(_summary(done))


def _explained(fields: dict[str, Any], chosen: Options, here: Machine) -> str:
    """Return what the run will do and why, planned as the run itself will plan it."""
    from autotune.expansion import workload
    from autotune.plugin.manager import Manager
    from autotune.reports.explanation import choice_words
    from autotune.runtime import planning
    from autotune.schedule import simulator
    from autotune.session import reductions

    work, manager = reductions.plan(workload.load(fields), chosen).work, Manager()
    if not work.tasks:
        return "nothing has to be computed for this expansion"
    plan = planning.make(work, machine=here, manager=manager, options=chosen)
    forecast = None
    if len(work.tasks) <= FORECAST_TASKS:
        estimates = {
            task.number: planning.estimate(task, costs=plan.costs, manager=manager, machine=here) for task in work.tasks
        }
        forecast = simulator.simulate(
            work.tasks, estimates, policy=plan.policy, machine=here, memory_budget_gib=plan.budget_gib
        )
    return choice_words(plan, work=work, machine=here, forecast=forecast)


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
