"""`autotune doctor`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from autotune.base.text import count
from autotune.cli.tunings import verdict

if TYPE_CHECKING:
    from autotune.base.types import Machine
    from autotune.machine.examination import Finding
    from autotune.programs.inventory import ProgramStatus


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Show the machine, its limits, the programs found, the tunings present, and what looks wrong."""
    import dataclasses

    from autotune.machine import detection, examination
    from autotune.plugin.manager import Manager
    from autotune.programs import inventory
    from autotune.tunings import folders

    here = detection.detect()
    Manager().register_programs()
    findings, programs, tunings = examination.examine(here), inventory.programs(), list(folders.everything())
    if as_json:
        click.echo(
            json.dumps(
                {
                    "machine": dataclasses.asdict(here),
                    "programs": [dataclasses.asdict(program) for program in programs],
                    "findings": [dataclasses.asdict(finding) for finding in findings],
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
        click.echo(f"  {found if isinstance(found, str) else f'{found.method}: {verdict(found)}'}  ({path})")
    if not tunings:
        click.echo("  none yet; run `autotune calibrate`")


def _print_doctor(here: Machine, findings: tuple[Finding, ...], programs: tuple[ProgramStatus, ...]) -> None:
    click.echo("Machine")
    click.echo(f"  {here.cpu_model} ({here.architecture}, {here.vector or 'no vector instructions known'})")
    click.echo(f"  {count(here.cores, 'usable core')} (limited by {here.cores_limited_by})")
    click.echo(f"  {here.memory_gib:.1f} GiB usable memory (limited by {here.memory_limited_by})")
    click.echo(f"  {count(here.gpus, 'GPU')}, not used yet" if here.gpus else "  no GPU")
    click.echo(f"  key {here.key}")
    click.echo("\nPrograms")
    for program in programs:
        state = f"{program.version:18} {program.width:10} {program.stays}" if program.found else "not found"
        click.echo(f"  {program.name:12} {state}".rstrip())
        if program.problem:
            click.echo(f"               {program.problem}")
    click.echo("\nFindings")
    for finding in findings:
        click.echo(f"  {finding.severity:8} {finding.topic}: {finding.text}")
        if finding.cure:
            click.echo(f"           {finding.cure}")
