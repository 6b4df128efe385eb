"""The command line: one small function a command; errors become one line and an exit code in `main`.

Rules: results go to standard output or to files, everything else to standard error. Exits: 0 done, 1 a task failed,
2 bad input or usage, 130 interrupted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.errors import AutotuneError, InputError

if TYPE_CHECKING:
    from autotune.doctor import Finding, ProgramStatus
    from autotune.inputs import Expansion
    from autotune.types import Machine, RunRecord, Tuning, TuningChoice

INTERRUPTED = 130
Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def main() -> None:
    """Run the command line and exit."""
    try:
        status = cli.main(standalone_mode=False)
    except AutotuneError as error:
        click.echo(f"autotune: {error}", err=True)
        status = error.exit_code
    except click.UsageError as error:
        error.show()
        status = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("autotune: interrupted; no process was left running", err=True)
        status = INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away, as `head` does.
        sys.stderr.close()
        status = 0
    sys.exit(status if isinstance(status, int) else 0)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="qc-autotune", prog_name="autotune")
def cli() -> None:
    r"""Many-body (fragment) quantum chemistry as fast as this machine allows.

    \b
    Once per machine:   autotune calibrate
    Then:               autotune run water6.xyz --program pyscf --method hf --basis '6-31g*' --max-nbody 3
    or, from a file:    autotune run manybody_input.json -o result.json
    """


def _options(*decorators: Any) -> Decorator:
    def apply(function: Callable[..., None]) -> Callable[..., None]:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply


_expansion_options = _options(
    click.option("--program", metavar="NAME", help="QCEngine program, such as pyscf."),
    click.option("--method", metavar="NAME", help="Method, such as hf, b3lyp, mp2, ccsd(t)."),
    click.option("--basis", metavar="NAME", default="", help="Basis set, such as '6-31g*'."),
    click.option("--bsse", metavar="LIST", help="nocp, cp, vmfc, or several with commas. [default: nocp]"),
    click.option("--max-nbody", type=int, metavar="N", help="Largest n-body level. [default: all fragments]"),
    click.option("--driver", type=click.Choice(["energy", "gradient", "hessian"]), help="What to compute."),
    click.option("--keywords", metavar="LIST", default="", help="Program keywords: name=value,... or a JSON object."),
    click.option("--fragments", metavar="LIST", default="", help="Atoms of fragments: 6x3, 3,3,6 or 1-3;4-6."),
    click.option("--charges", metavar="LIST", default="", help="Fragment charges: 1:+1,2:-1 or one for each."),
    click.option("--multiplicities", metavar="LIST", default="", help="Fragment multiplicities: 1:2 or one for each."),
)

_runtime_options = _options(
    click.option("--workers", type=int, metavar="N", help="Tasks that run at once."),
    click.option("--threads", type=int, metavar="N", help="Cores of each task."),
    click.option("--cores", type=int, metavar="N", help="Cores to use of those usable."),
    click.option("--memory", type=float, metavar="GIB", help="Memory of all tasks together. [default: 80 % of usable]"),
    click.option("--tuning", default="auto", metavar="FILE|none", help="A tuning file, or none for the defaults."),
    click.option("--strategies", metavar="LIST", help="Strategies to apply, in order, with commas."),
    click.option("--no-strategy", multiple=True, metavar="NAME", help="Leave a strategy out; may be repeated."),
    click.option("--timeout", type=float, metavar="SECONDS", help="Kill a task that runs longer."),
    click.option("--scratch", metavar="DIR", help="Folder for scratch files. [default: the system's]"),
)


@cli.command()
@click.argument("source", metavar="INPUT")
@_expansion_options
@_runtime_options
@click.option("-o", "--output", metavar="FILE", help="Write the ManyBodyResult here instead of standard output.")
@click.option("--record", metavar="FILE", help="Write what happened here: times, memory, bound, efficiency.")
@click.option("--quiet", is_flag=True, help="Say nothing but errors.")
def run(source: str, output: str | None, record: str | None, quiet: bool, **given: Any) -> None:
    r"""Compute a many-body expansion.

    INPUT is a QCManyBody ManyBodyInput (JSON, schema v1 or v2), an XYZ file together with --program, --method and
    --basis, or - for standard input. The ManyBodyResult comes back in the schema version that came in.

    \b
    autotune run input.json -o result.json
    autotune run water6.xyz --program pyscf --method mp2 --basis cc-pvdz --bsse cp --max-nbody 2
    """
    from autotune import inputs, store
    from autotune.api import Session
    from autotune.progress import Progress

    text, name = inputs.read_text(source)
    fields = inputs.many_body_fields(text, name=name, expansion=_expansion(given))
    for path in (output, record):
        if path and not Path(path).parent.is_dir():
            raise InputError(f"{path} cannot be written: there is no folder {Path(path).parent}")
    with (
        Progress() as progress,
        Session(
            _session_options(given),
            on_progress=None if quiet else progress.show,
            on_choice=None if quiet else _say_choice,
        ) as session,
    ):
        try:
            result = session.run(fields)
        finally:
            if session.record and record:
                store.save_run(session.record, Path(record))
    # QCSchema v1 models are pydantic v1.
    answer = result.json() if getattr(result, "schema_version", 2) == 1 else result.model_dump_json()
    if output:
        store.write_text(Path(output), answer + "\n")
    else:
        click.echo(answer)
    if not quiet and session.record:
        click.echo(_summary(session.record), err=True)


@cli.command()
@click.option("--study", "study_name", default="quick", show_default=True, metavar="NAME|FILE", help="What to run.")
@click.option("--program", metavar="NAME", help="QCEngine program, instead of the study's.")
@click.option("--method", metavar="NAME", help="Method, instead of the study's.")
@click.option("--basis", metavar="NAME", help="Basis set, instead of the study's.")
@click.option("--driver", type=click.Choice(["energy", "gradient", "hessian"]), help="Driver, instead of the study's.")
@click.option("--keywords", metavar="LIST", default="", help="Program keywords: name=value,... or a JSON object.")
@click.option("--budget", metavar="TIME", help="Time allowed: 90s, 2m, 1h. [default: the study's]")
@click.option("--strategies", metavar="LIST", help="Strategies to search, with commas. [default: the five built in]")
@click.option("-o", "--output", metavar="FILE", help="Store the tuning here instead of the user's folder.")
@click.option("--quiet", is_flag=True, help="Say only the outcome.")
def calibrate(
    study_name: str, budget: str | None, strategies: str | None, output: str | None, quiet: bool, **method: Any
) -> None:
    r"""Measure what is fastest on this machine, and remember it.

    Runs a calibration workload with the real program, lets Optuna search the strategies' parameters, proves the winner
    against the default on a workload the search did not see, and stores a tuning that `autotune run` finds by itself.

    \b
    autotune calibrate
    autotune calibrate --method mp2 --basis cc-pvdz --budget 5m
    """
    from autotune import inputs, machine, policy, store, study
    from autotune.calibrate import Calibration
    from autotune.manager import Manager

    keywords = inputs.parse_keywords(method.pop("keywords"))
    chosen = study.with_method(study.load(study_name), keywords=keywords or None, **method)
    manager = Manager()
    with Calibration(
        chosen,
        machine=machine.detect(),
        manager=manager,
        strategies=policy.choose(manager.strategies, strategies.split(",") if strategies else None),
        budget_s=study.parse_duration(budget) if budget else None,
        say=(lambda _: None) if quiet else (lambda line: click.echo(line, err=True)),
    ) as calibration:
        tuning = calibration.run()
    path = store.save_tuning(tuning, Path(output) if output else None)
    click.echo(_verdict(tuning))
    click.echo(f"stored in {path}")


@cli.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Show the machine, its limits, the programs found, the tunings present, and what looks wrong."""
    import dataclasses

    from autotune import doctor as examination
    from autotune import machine, store
    from autotune.manager import Manager

    here = machine.detect()
    Manager().register_programs()
    findings, programs, tunings = examination.examine(here), examination.programs(), list(store.tunings())
    if as_json:
        click.echo(
            json.dumps(
                {
                    "machine": dataclasses.asdict(here),
                    "programs": [examination.as_dict(program) for program in programs],
                    "findings": [examination.as_dict(finding) for finding in findings],
                    "tunings": [
                        {"path": str(path), "problem": found if isinstance(found, str) else ""}
                        for path, found in tunings
                    ],
                },
                indent=1,
            )
        )
        return
    _print_doctor(here, findings, programs)
    click.echo("\nTunings")
    for path, found in tunings:
        click.echo(f"  {found if isinstance(found, str) else f'{found.method}: {_verdict(found)}'}  ({path})")
    if not tunings:
        click.echo("  none yet; run `autotune calibrate`")


@cli.group()
def tunings() -> None:
    """List and show stored tunings."""


@tunings.command("list")
def tunings_list() -> None:
    """List the stored tunings, one on a line: machine, method, what calibration found."""
    from autotune import store

    for path, found in store.tunings():
        click.echo(
            found if isinstance(found, str) else f"{found.machine.key}  {found.method}  {_verdict(found)}  {path}"
        )


@tunings.command("show")
@click.argument("path", metavar="FILE")
def tunings_show(path: str) -> None:
    """Show one tuning in words: what was chosen, and the evidence."""
    from autotune import store

    tuning = store.load_tuning(Path(path))
    evidence = tuning.evidence
    click.echo(f"{tuning.method} on {tuning.machine.cpu_model}, {tuning.machine.cores} cores, {tuning.created[:10]}")
    click.echo(f"  {_verdict(tuning)}")
    click.echo(
        f"  searched {evidence.trials} configurations on {evidence.search_workload}, confirmed on {evidence.workload}"
    )
    for name, value in sorted(tuning.parameters.items()):
        click.echo(f"  {name} = {value}")
    if not tuning.parameters:
        click.echo("  all parameters at their defaults")


def _expansion(given: dict[str, Any]) -> Expansion | None:
    from autotune.inputs import Expansion, parse_keywords

    names = ("program", "method", "basis", "bsse", "max_nbody", "driver", "keywords", "fragments", "charges")
    if not any(given[name] for name in (*names, "multiplicities")):
        return None
    if not given["program"] or not given["method"]:
        raise InputError(
            "an XYZ file needs --program and --method, such as --program pyscf --method hf --basis '6-31g*'"
        )
    return Expansion(
        program=given["program"],
        method=given["method"],
        basis=given["basis"],
        bsse=tuple((given["bsse"] or "nocp").split(",")),
        max_nbody=given["max_nbody"],
        driver=given["driver"] or "energy",
        keywords=parse_keywords(given["keywords"]),
        fragments=given["fragments"],
        charges=given["charges"],
        multiplicities=given["multiplicities"],
    )


def _session_options(given: dict[str, Any]) -> Any:
    from autotune.api import Options

    return Options(
        workers=given["workers"],
        threads=given["threads"],
        cores=given["cores"],
        memory_gib=given["memory"],
        tuning=given["tuning"],
        strategies=None if given["strategies"] is None else tuple(filter(None, given["strategies"].split(","))),
        without=given["no_strategy"],
        task_limit_s=given["timeout"],
        scratch=given["scratch"],
    )


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


def _verdict(tuning: Tuning) -> str:
    evidence = tuning.evidence
    if evidence.verdict == "faster" and evidence.interval:
        low, high = evidence.interval
        return f"{evidence.speed_up:.2f}× the default's speed (95 % interval {low:.2f} to {high:.2f})"
    return f"the default is kept: nothing was shown to be faster in {evidence.trials} trials"


def _print_doctor(here: Machine, findings: tuple[Finding, ...], programs: tuple[ProgramStatus, ...]) -> None:
    click.echo("Machine")
    click.echo(f"  {here.cpu_model} ({here.architecture}, {here.vector or 'no vector instructions known'})")
    click.echo(f"  {here.cores} usable cores (limited by {here.cores_limited_by})")
    click.echo(f"  {here.memory_gib:.1f} GiB usable memory (limited by {here.memory_limited_by})")
    click.echo(f"  key {here.key}")
    click.echo("\nPrograms")
    for program in programs:
        state = f"{program.version}" if program.found else "not found"
        click.echo(f"  {program.name:12} {state}")
    click.echo("\nFindings")
    for finding in findings:
        click.echo(f"  {finding.severity:8} {finding.topic}: {finding.text}")
        if finding.cure:
            click.echo(f"           {finding.cure}")
