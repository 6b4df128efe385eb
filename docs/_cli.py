"""Write docs/reference/cli.md from the command line's own help: `python docs/_cli.py`; a test compares them."""
# ruff: noqa: INP001 - a folder of pages, not a package

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from autotune.cli.main import cli

PAGE = Path(__file__).parent / "reference" / "cli.md"
HEAD = """# Command line

<!-- Made from the help of the commands by `python docs/_cli.py`; a test compares them. -->

Results go to standard output or to files, everything else to standard error. What was expected to go wrong is one line.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | a task failed, a workload became slower, or a tuning does not hold any more |
| 2 | bad input or usage, or the machine cannot do what was asked |
| 3 | cannot tell: too little was measured (`regress`, `tunings verify`) |
| 130 | interrupted; nothing is left running, and `--resume` goes on |

`autotune --version` prints the version; `--help` (`-h`) works behind every command.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *(section for name, command in commands(cli) for section in _section(name, command))])


def commands(group: click.Group, prefix: str = "autotune") -> Iterator[tuple[str, click.Command]]:
    """Yield every command with its full name, groups before what is in them."""
    for name, command in group.commands.items():
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")


def _section(name: str, command: click.Command) -> Iterator[str]:
    yield f"{'#' * min(4, len(name.split()))} {name}\n"
    arguments = [parameter for parameter in command.params if isinstance(parameter, click.Argument)]
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    if not isinstance(command, click.Group):
        words = [name, *(["[OPTIONS]"] if options else []), *(_shown(argument) for argument in arguments)]
        yield f"```text\n{' '.join(words)}\n```\n"
    yield _help(command)
    if options:
        yield "| option | meaning |\n|---|---|"
        yield from (_row(option) for option in options)
        yield ""


def _shown(argument: click.Argument) -> str:
    return str(argument.make_metavar(click.Context(click.Command("none"))))


def _help(command: click.Command) -> str:
    r"""Return the help as Markdown: what click prints as it is, behind `\b`, is a block of code."""
    blocks = []
    for block in inspect.cleandoc(command.help or "").split("\n\n"):
        as_it_is = block.startswith("\b\n")
        blocks.append(f"```text\n{block.removeprefix(chr(8)).strip()}\n```" if as_it_is else block)
    return "\n\n".join(blocks) + "\n"


def _row(option: click.Option) -> str:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else option.make_metavar(click.Context(click.Command("none"))).replace("|", "\\|")
    default = f" [default: {option.default}]" if option.show_default and option.default is not None else ""
    shown = f" `{value}`" if value else ""
    meaning = f"{option.help}{default}".replace("*", r"\*").replace("|", r"\|")
    return f"| {names}{shown} | {meaning} |"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
