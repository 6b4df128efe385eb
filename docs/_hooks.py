"""Hooks of mkdocs: links to files outside of docs/, and the examples in the help of commands.

A file of the repository that a page links, such as `../Makefile`, is copied into the site below `repository/`, as are
all records in results/, and the link is turned to the copy; so the site needs no address of the repository. A link to a
file that is not there is left as it is, and strict builds fail.
"""
# ruff: noqa: INP001 - a folder of pages, not a package

from __future__ import annotations

import inspect
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click
from mkdocs.structure.files import File, InclusionLevel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

COPIES = "repository"
_LINK = re.compile(r"(?P<before>\]\()(?P<target>(?:\.\./)+[^)#\s]+)(?=[)#])")
# Python-Markdown shows the backslash of a pipe in code within a table, which other readers of Markdown need.
_PIPE_IN_CODE = re.compile(r"`[^`\n]*`")


def on_startup(*, command: str, dirty: bool) -> None:
    """Mark the examples in the help of our commands, so that mkdocs-click shows them as code."""
    del command, dirty
    from autotune.cli.main import cli

    mark_examples(cli)


def mark_examples(command: click.Command) -> None:
    """Make blocks of code of what click prints as it stands, which is what follows a backspace, in all commands."""
    blocks = inspect.cleandoc(command.help or "").split("\n\n")
    command.help = "\n\n".join(
        f"```text\n{block.removeprefix(chr(8)).strip()}\n```" if block.startswith("\b") else block for block in blocks
    )
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            if inner:
                mark_examples(inner)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files of the repository that pages link."""
    root = Path(config.config_file_path).parent
    names = {path.relative_to(root).as_posix() for path in (root / "results").glob("*.json")}
    for page in files.documentation_pages():
        names.update(outside(Path(page.abs_src_path or "").read_text(encoding="utf-8"), page.src_uri, root))
    for name in sorted(names):
        # Included explicitly, because names with a dot in front are left out otherwise.
        files.append(
            File.generated(config, f"{COPIES}/{name}", abs_src_path=str(root / name), inclusion=InclusionLevel.INCLUDED)
        )
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Return a page whose links to files of the repository lead to the copies."""
    del files
    root, folder = Path(config.config_file_path).parent, posixpath.dirname(page.file.src_uri)

    def turned(match: re.Match[str]) -> str:
        name = within(match["target"], page.file.src_uri, root)
        return match["before"] + (posixpath.relpath(f"{COPIES}/{name}", folder or ".") if name else match["target"])

    lines = _LINK.sub(turned, markdown).split("\n")
    return "\n".join(_plain_pipes(line) if line.startswith("|") else line for line in lines)


def outside(text: str, src_uri: str, root: Path) -> Iterator[str]:
    """Yield the files outside of docs/ that a page links, as paths below the repository's root."""
    names = (within(match["target"], src_uri, root) for match in _LINK.finditer(text))
    yield from (name for name in names if name)


def within(target: str, src_uri: str, root: Path) -> str | None:
    """Return what a link means as a path below the root, or None where it stays in docs/ or is no file there."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(src_uri), target))
    if path.startswith(("docs/", "../")) or not (root / path).is_file():
        return None
    return path


def _plain_pipes(row: str) -> str:
    return _PIPE_IN_CODE.sub(lambda code: code[0].replace("\\|", "|"), row)
