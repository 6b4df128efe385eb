"""Text as HTML: escaped, sentences with their commands, and the markdown of plugins in a form that cannot do harm.

Rules: whatever comes in, only tags written here come out. Markdown is laid out by its blocks (headings, lists, tables
and code as they stand, paragraphs) and not read further: no links, no images, no HTML.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from autotune.reports.text import spans

_UNITS = re.compile(r"(?<=\d) (?=(?:%|ms|s|min|h|GiB|Eh|of|cores?|tasks?)\b|%)")
_KEPT = "\N{NO-BREAK SPACE}"
_HEADING = re.compile(r"#{1,6}\s+(?P<text>.*)")
_ITEM = re.compile(r"\s*[-*+]\s+(?P<text>.*)")


def escaped(text: object) -> str:
    """Return text that is safe between tags and inside quoted attributes."""
    shown = "".join(letter if letter.isprintable() or letter == "\n" else "\ufffd" for letter in str(text))
    return html.escape(shown, quote=True)


def sentence(text: str) -> str:
    """Return a sentence with its commands marked as code, and numbers kept beside their units."""
    return "".join(
        f"<code>{escaped(part)}</code>" if code else _UNITS.sub(_KEPT, escaped(part)) for code, part in spans(text)
    )


def markdown(text: str) -> str:
    """Return a plugin's markdown as HTML."""
    return "\n".join(_block(lines) for lines in _blocks(text))


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the blocks of a markdown text as lines; a fenced one begins with its fence and has none at its end."""
    block: list[str] = []
    fenced = False
    for line in text.splitlines():
        fence = line.lstrip().startswith("```")
        if fenced:
            if fence:
                yield block
                block, fenced = [], False
            else:
                block.append(line)
        elif fence or not line.strip():
            if block:
                yield block
            block, fenced = ([line] if fence else []), fence
        else:
            block.append(line)
    if block:
        yield block


def _block(lines: Sequence[str]) -> str:
    first, *rest = lines
    if first.lstrip().startswith("```"):
        return f"<pre>{escaped(chr(10).join(rest))}</pre>"
    if first.lstrip().startswith("|"):
        return f"<pre>{escaped(chr(10).join(lines))}</pre>"
    heading = _HEADING.fullmatch(first)
    if heading:
        below = f"\n{_block(rest)}" if rest else ""
        return f"<h4>{sentence(heading['text'])}</h4>{below}"
    items = [_ITEM.fullmatch(line) for line in lines]
    if all(items):
        listed = "".join(f"<li>{sentence(item['text'])}</li>" for item in items if item)
        return f"<ul>{listed}</ul>"
    return f"<p>{sentence(' '.join(map(str.strip, lines)))}</p>"
