"""`autotune doctor`."""

from __future__ import annotations

import json
import platform
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from autotune.base.errors import InputError
from autotune.base.text import count
from autotune.cli.tunings import verdict

if TYPE_CHECKING:
    from autotune.base.types import Machine
    from autotune.machine.examination import Finding
    from autotune.programs.inventory import ProgramStatus


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--compare",
    is_flag=True,
    help="Say instead whether nodes are alike, of which each FILE has the output of `autotune doctor --json`.",
)
@click.argument("files", nargs=-1, metavar="[FILE]...", type=click.Path(path_type=Path))
def command(as_json: bool, compare: bool, files: tuple[Path, ...]) -> None:
    """Show the machine, its limits, the programs found, the tunings present, and what looks wrong.

    With --compare, exit status 1 says that nodes are not alike.

    \b
    autotune doctor
    srun --nodes=8 sh -c 'autotune doctor --json > doctor-$SLURMD_NODENAME.json'
    autotune doctor --compare doctor-*.json
    """
    if compare != bool(files):
        raise InputError("give files with --compare, which compares what `autotune doctor --json` wrote on each node")
    if compare:
        _compare(files, as_json=as_json)
        return
    import dataclasses

    from autotune import __version__
    from autotune.machine import detection, examination, likeness
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
                    "schema": likeness.SCHEMA,
                    "host": platform.node(),
                    "autotune": __version__,
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


def _compare(files: tuple[Path, ...], *, as_json: bool) -> None:
    """Say whether nodes are alike, and end with status 1 where they are not."""
    from autotune.machine import likeness

    found = likeness.compare(files)
    if as_json:
        kinds = [kind._asdict() for kind in found.kinds]
        click.echo(json.dumps({"alike": len(kinds) == 1, "kinds": kinds, "warnings": found.warnings}, indent=1))
    else:
        for kind in found.kinds:
            click.echo(f"{count(len(kind.nodes), 'node')} {kind.key}: {', '.join(kind.nodes)}")
            for name, (usual, other) in kind.differences.items():
                click.echo(f"  {name}: {other} instead of {usual}")
        for node, texts in found.warnings.items():
            for text in texts:
                click.echo(f"{node}: {text}")
        if len(found.kinds) == 1:
            click.echo("they are alike")
        elif any("key" in kind.differences for kind in found.kinds):
            click.echo("they are not alike: calibrate on each key")
        else:
            click.echo("they are not alike")
    if len(found.kinds) > 1:
        raise SystemExit(1)


def _gpus(here: Machine) -> str:
    from autotune.machine import gpus

    if not here.gpus:
        return "no GPU"
    named = ", ".join(gpus.models()) or "of which the driver does not say the model"
    memory = f", {min(here.gpu_memory_gib):.0f} GiB each" if here.gpu_memory_gib else ""
    return f"{count(here.gpus, 'GPU')} ({named}{memory}), for programs that compute on them"


def _print_doctor(here: Machine, findings: tuple[Finding, ...], programs: tuple[ProgramStatus, ...]) -> None:
    from autotune.machine import detection

    click.echo("Machine")
    click.echo(f"  {here.cpu_model} ({here.architecture}, {here.vector or 'no vector instructions known'})")
    click.echo(f"  {count(here.cores, 'usable core')} (limited by {here.cores_limited_by})")
    if speeds := Counter(f"{speed:.2f}" for speed in detection.core_speeds()):
        some = ", ".join(f"{count(number, 'core')} of speed {speed}" for speed, number in speeds.items())
        click.echo(f"  {some}, says the kernel")
    click.echo(f"  {here.memory_gib:.1f} GiB usable memory (limited by {here.memory_limited_by})")
    click.echo(f"  {_gpus(here)}")
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
