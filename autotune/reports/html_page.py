"""A report as one HTML file that needs nothing else: no scripts, no fonts, no pictures from elsewhere.

Rules: the layout is `page.html`, its looks `page.css`. Everything is escaped that is not marked
as safe here. The file forbids itself scripts and the network, so that even a mistake could load and run nothing. The
markdown of plugins may hold links to other pages, but no HTML and no pictures.
"""

from __future__ import annotations

import functools
import itertools
import re
from typing import TYPE_CHECKING

from autotune.base.text import printable
from autotune.reports.content import Report
from autotune.reports.figures import COLOURS, LOSS_COLOURS
from autotune.reports.panels import PANELS, side_by_side, tiles
from autotune.reports.sentences import spans

if TYPE_CHECKING:
    from jinja2 import Environment
    from markdown_it import MarkdownIt
    from markupsafe import Markup

_UNITS = re.compile(r"(?<=\d) (?=(?:%|ms|s|min|h|GiB|Eh|of|cores?|tasks?)\b|%)")
_KEPT = "\N{NO-BREAK SPACE}"
_LINKS = ("http://", "https://", "mailto:")


def html(report: Report) -> str:
    """Return the whole file."""
    number = itertools.count(1).__next__
    template = _environment().get_template("page.html")
    together = side_by_side(report)
    return template.render(
        report=report,
        together=together,
        panels=PANELS,
        tiles=tiles,
        colours=COLOURS,
        loss_colours=LOSS_COLOURS,
        number=number,
    )


def sentence(text: str) -> Markup:
    """Return a sentence with its commands marked as code, and numbers kept beside their units."""
    from markupsafe import Markup, escape

    parts = [(code, escape(printable(part))) for code, part in spans(text)]
    return Markup().join(
        Markup("<code>{}</code>").format(part) if code else Markup(_UNITS.sub(_KEPT, part))  # noqa: S704 - is escaped
        for code, part in parts
    )


def markdown(text: str) -> Markup:
    """Return a plugin's markdown as HTML; its headings are below those of the report."""
    from markupsafe import Markup

    return Markup(_reader().render(printable(text)))  # noqa: S704 - the reader lets no HTML through


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("autotune.reports", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: value if isinstance(value, Markup) else printable(str(value)),
    )
    environment.filters |= {"sentence": sentence, "markdown": markdown, "kind": lambda block: type(block).__name__}
    return environment


@functools.cache
def _reader() -> MarkdownIt:
    from markdown_it import MarkdownIt

    reader = MarkdownIt("js-default").disable("image")
    reader.validateLink = lambda url: url.lower().startswith(_LINKS)  # type: ignore[method-assign]

    def lower(state: object) -> None:
        for token in state.tokens:  # type: ignore[attr-defined]
            if token.type in ("heading_open", "heading_close"):
                token.tag = "h4"

    reader.core.ruler.push("lower_headings", lower)
    return reader
