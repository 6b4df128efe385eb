"""`autotune crystal`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from autotune.base.errors import InputError, TaskError
from autotune.base.options import METRICS
from autotune.cli import options, outcomes, run, streams

if TYPE_CHECKING:
    from autotune.expansion.lattice import Nmer


@click.command("crystal")
@click.argument("source", metavar="FILE")
@click.option("--cutoff", metavar="LIST", required=True, help="Å within which n-mers count, by their size: 2=12,3=6.")
@click.option(
    "--metric",
    type=click.Choice(METRICS),
    default=METRICS[0],
    show_default=True,
    help="What distances are of: nearest atoms, centres of mass, farthest atoms.",
)
@options.chemistry_options
@options.planning_options
@options.fault_options
@options.fleet_options
@click.option(
    "--reuse/--no-reuse",
    "reuse_equal_fragments",
    default=True,
    show_default=True,
    help="Compute components of one shape once, where energies turn with the molecule.",
)
@click.option("-o", "--output", metavar="FILE", help="Write the lattice energy and all its terms here as JSON.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write the terms of all distinct n-mers here.")
@click.option("--results", metavar="DIR", help="Write the ManyBodyResult of each distinct n-mer here, or to DIR.jsonl.")
@click.option("--inputs", metavar="DIR", help="Write the ManyBodyInput of each distinct n-mer here; compute nothing.")
@click.option("--record", metavar="FILE", help="Write what happened here: times, memory, bound, efficiency.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--quiet", is_flag=True, help="Show neither progress nor notes, nor tables where -o has the answer.")
def command(
    source: str,
    *,
    cutoff: str,
    metric: str,
    output: str | None,
    csv_file: str | None,
    results: str | None,
    inputs: str | None,
    record: str | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Compute the lattice energy of a molecular crystal by its pairs, triples and so on.

    FILE is a CIF, an extended XYZ file with a lattice, or a POSCAR. Molecules that the cell cuts are made whole, n-mers
    that are equal by symmetry are computed once, and each counts as often as it occurs. Every distinct n-mer is a
    many-body expansion in its own basis functions, by nocp, cp or vmfc.

    Without --program the distinct n-mers within the cutoffs are listed, and nothing is computed.

    \b
    autotune crystal benzene.cif --cutoff 2=20,3=12 --metric centres
    autotune crystal benzene.cif --cutoff 2=12 --program pyscf --method mp2 --basis cc-pvdz --bsse cp -o lattice.json
    """
    given |= {"fragments": "", "max_nbody": None, "driver": None}  # which geometries have, and crystals have not
    cutoffs = options.distances_by_level(cutoff, option="--cutoff")
    options.check_targets((output, csv_file, record), [source])
    expansion = options.expansion_of_geometries(given)
    if expansion is None:
        if wanted := [name for name, value in _targets(output, csv_file, results, inputs, record) if value]:
            raise InputError(f"{wanted[0]} needs to know what to compute: give --program and --method")
        _list(source, cutoffs, metric, as_json=as_json)
        return
    if inputs:
        written = [name for name, value in _targets(output, csv_file, results, None, record) if value]
        if written or as_json:
            raise InputError(
                f"--inputs computes nothing, and {(*written, '--json')[0]} is of what was computed; leave one out"
            )
        _write_inputs(source, inputs, cutoffs, metric, expansion)
        return
    _compute(
        source,
        cutoffs=cutoffs,
        metric=metric,
        expansion=expansion,
        output=output,
        csv_file=csv_file,
        results=results,
        record=record,
        as_json=as_json,
        quiet=quiet,
        given=given,
    )


def _targets(*values: str | None) -> list[tuple[str, str | None]]:
    return list(zip(("-o", "--csv", "--results", "--inputs", "--record"), values, strict=True))


def _compute(
    source: str,
    *,
    cutoffs: dict[int, float],
    metric: str,
    expansion: Any,
    output: str | None,
    csv_file: str | None,
    results: str | None,
    record: str | None,
    as_json: bool,
    quiet: bool,
    given: dict[str, Any],
) -> None:
    from autotune.base import json_files
    from autotune.base.options import Options
    from autotune.expansion.crystal import read_crystal
    from autotune.reports.lattice_table import tabulate_lattice

    if as_json and output:
        raise InputError("--json prints the result and -o writes it to a file; leave one of them out")
    chosen = Options(**options.session_options(given))
    if results:
        outcomes.check(results, (output, csv_file, record), sources=[source], inputs=())
    with (
        run.starting_ahead(chosen),
        options.noting_earlier_files(output, csv_file, record),
        outcomes.Target(results, silent=True) as target,
        run.open_session(chosen, explain=False, quiet=quiet) as session,
    ):
        session.preload(expansion.models)
        try:
            lattice = session.run_crystal(
                read_crystal(source),
                expansion=expansion,
                cutoffs_angstrom=cutoffs,
                metric=metric,
                on_outcome=target.take if results else None,
            )
        except TaskError:
            if session.record and record:
                json_files.save_run(session.record, Path(record))
            raise
    table = tabulate_lattice(lattice, output=csv_file)
    if output:
        json_files.write_text(Path(output), json.dumps(table.fields(), indent=1) + "\n")
    if as_json:
        streams.deliver(json.dumps(table.fields(), indent=1))
    elif not (quiet and output):
        streams.deliver(str(table))
    run.tell(session.record, record, quiet=quiet)


def _list(source: str, cutoffs: dict[int, float], metric: str, *, as_json: bool) -> None:
    """Print the distinct n-mers of a crystal."""
    from autotune.expansion.crystal import read_crystal
    from autotune.expansion.lattice import find_nmers
    from autotune.reports.lattice_table import nmers_table
    from autotune.session.lattice_terms import describe_nmers

    crystal = read_crystal(source)
    nmers = find_nmers(crystal, cutoffs, metric=metric)
    if as_json:
        click.echo(json.dumps([_fields(nmer) for nmer in nmers], indent=1))
        return
    click.echo(f"{crystal.name}: {crystal.describe()}\n{describe_nmers(nmers)}\n\n{nmers_table(nmers)}")


def _fields(nmer: Nmer) -> dict[str, Any]:
    return {
        "name": nmer.name,
        "per_cell": nmer.per_cell,
        "sites": [[molecule, *cell] for molecule, cell in nmer.sites],
        "distances_angstrom": list(nmer.distances_angstrom),
    }


def _write_inputs(source: str, folder: str, cutoffs: dict[int, float], metric: str, expansion: Any) -> None:
    """Write the many-body input of each distinct n-mer."""
    from autotune.base import json_files
    from autotune.base.text import count
    from autotune.session.lattice_terms import prepare

    found = prepare(source, expansion=expansion, cutoffs_angstrom=cutoffs, metric=metric)
    json_files.check_writable(Path(folder), cure="")
    if earlier := sorted(Path(folder).glob("*mer-*.json")):
        raise InputError(f"{folder} has n-mers already, {earlier[0].name} first; name another folder, or remove them")
    for name, fields in found.inputs.items():
        json_files.write_text(Path(folder) / f"{name}.json", json.dumps(fields) + "\n", durable=False)
    click.echo(
        f"{count(len(found.inputs), 'input')} in {folder}; `autotune run {folder} -o RESULTS/` computes them", err=True
    )
