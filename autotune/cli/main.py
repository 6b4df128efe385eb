"""The command line: each verb is a module of this room; errors become one line and an exit code in `main`.

Rules: results go to standard output or to files, everything else to standard error. Exits: 0 done, 1 a task failed or
something became slower, 2 bad input or usage or output that cannot be written, 3 cannot tell, 130 interrupted, 143
ended by SIGTERM.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module

import click

from autotune.base import garbage
from autotune.base.errors import AutotuneError, ResourceError
from autotune.base.text import one_line
from autotune.cli import interruption, streams
from autotune.machine.process import describe_limits

INTERRUPTED = 130  # where nobody sent a signal: a question that was not answered
VERBS = (
    "run",
    "crystal",
    "show",
    "terms",
    "calibrate",
    "estimate",
    "simulate",
    "report",
    "regress",
    "doctor",
    "tunings",
)


@garbage.search_seldom()  # to the end: what is put back is searched at once
def main() -> None:
    """Run the command line and exit at once.

    Taking down an interpreter with the libraries of the field in it takes a tenth of a second, in which nothing happens
    that the end of the process would not do.
    """
    streams.secure()
    status = invoke()
    atexit._run_exitfuncs()  # noqa: SLF001 - no public way; what libraries want done at the end
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def invoke() -> int:
    """Run the command line and return its exit code."""
    interruption.listen()
    try:
        try:
            status = cli.main(prog_name="autotune", standalone_mode=False)
        except SystemExit as end:
            status = end.code
        _check_output(status)
        interruption.check()
    except AutotuneError as error:
        click.echo(f"autotune: {error}", err=True)
        _echo_notes(error)
        status = error.exit_code
    except MemoryError:
        limits = "; ".join(filter(None, ["there is not enough memory for this command itself", describe_limits()]))
        click.echo(f"autotune: {limits}", err=True)
        status = ResourceError.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        status = 2
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "autotune"
        said = one_line(error.format_message()).rstrip(".")
        click.echo(f"autotune: {said[:1].lower()}{said[1:]}; see `{command} --help`", err=True)
        status = 2
    except (click.Abort, KeyboardInterrupt) as stop:
        click.echo(f"autotune: {interruption.words()}; no process was left running", err=True)
        _echo_notes(stop.__cause__ if isinstance(stop, click.Abort) else stop)
        status = interruption.status() or INTERRUPTED
    except Exception as error:
        # A signal may also end what the command waits for, which then fails.
        if not interruption.status():
            raise
        click.echo(f"autotune: {interruption.words()}; no process was left running", err=True)
        _echo_notes(error)
    return interruption.status() or (status if isinstance(status, int) else 0)


def _check_output(status: object) -> None:
    """Say that an answer is lost; raises ResourceError where the status does not tell already what it was."""
    try:
        streams.check()
    except ResourceError as error:
        if not status:
            raise
        click.echo(f"autotune: {error}", err=True)


def _echo_notes(error: BaseException | None) -> None:
    """Say what was added to an error on its way up: what is kept, and how to go on."""
    for note in getattr(error, "__notes__", []):
        if note:
            click.echo(f"autotune: {note}", err=True)


class _Verbs(Mapping[str, click.Command]):
    """The verbs by name; a verb's module, which has its name, is loaded when the verb is asked for."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in VERBS:
            raise KeyError(name)
        verb: click.Command = import_module(f"autotune.cli.{name}").command
        return verb

    def __iter__(self) -> Iterator[str]:
        return iter(VERBS)

    def __len__(self) -> int:
        return len(VERBS)


@click.group(commands=_Verbs(), context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="qc-autotune", prog_name="autotune")
def cli() -> None:
    """Many-body (fragment) quantum chemistry as fast as this machine allows.

    \b
    Once per machine:   autotune calibrate
    Then:               autotune run water6.xyz --program pyscf --method hf --basis '6-31g*' --max-nbody 3
    or, from a file:    autotune run manybody_input.json -o result.json
    """
