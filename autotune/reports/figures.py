"""Figures drawn by matplotlib without a display: their frame, saving one to a file, and one as SVG within a page.

Rules: whatever a record says is drawn, however odd; only the file (its ending, its folder) can be wrong. Colours can be
told apart by the colour-blind, and no meaning hangs on colour alone. Within a page, text stays text, and ink, rules and
paper take the page's colours, so that a figure can be read in a dark room, too.
"""

from __future__ import annotations

import io
import logging
import math
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from autotune.base.errors import InputError, ResourceError

COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#b279a2")
# Of losses: darker, so that no loss has the colour of an n-body level; white letters stand on them.
LOSS_COLOURS = ("#7a3b69", "#8c5a13", "#2f5f5b", "#5b4b9e", "#8f3a3a", "#4d5b2a", "#3d4f6b", "#6b4a3d")
INK, SOFT, RULE, PAPER = "#17212b", "#586573", "#dfe4ea", "#ffffff"
_IN_PAGE = {INK: "var(--ink)", SOFT: "var(--soft)", RULE: "var(--rule)", PAPER: "var(--card)"}
_STYLE = {
    "text.parse_math": False,  # a $ in a name is no formula
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
_XLINK = "{http://www.w3.org/1999/xlink}href"
_FONT = re.compile(r"font-family: [^;]*;? ?")
_TOO_FINE = re.compile(r"(\.\d\d)\d+")  # hundredths of a point are finer than any screen
_SPACE = re.compile(r"\s*([A-Za-z])\s*")  # around the commands of a path
_LEAST_SCALE = 1.12  # pixels of a point, so that letters of 10 points can be read on a phone
_FEW_DECADES = 2.0
_NO_METADATA = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def check(path: Path) -> None:
    """Raise what saving to a file would raise for want of a known ending or of a folder."""
    with figure(size=(1, 1)) as drawn:
        known = drawn.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in known:
        raise InputError(f"{path} cannot be drawn: its ending must be one of {', '.join(sorted(known))}")
    if not path.parent.is_dir():
        raise ResourceError(f"{path} cannot be written: there is no folder {path.parent}")


@contextmanager
def figure(*, size: tuple[float, float], constrained: bool = True) -> Iterator[Any]:
    """Give a figure of a size in inches to draw on, which is to be saved within the context.

    Args:
        size: Width and height.
        constrained: Matplotlib finds the room that labels need; without, which is faster, the margins are to be given.
    """
    # Where a user has no home, it says that it keeps its cache elsewhere, which nobody asked.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_STYLE):
        yield Figure(figsize=size, layout="constrained" if constrained else None)


def save(drawn: Any, path: Path, dpi: int) -> None:
    """Replace a file by a figure at once.

    Raises:
        InputError: Matplotlib does not know the file's ending.
        ResourceError: The file cannot be written; the old one is untouched.
    """
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
            whole = Path(folder) / path.name
            drawn.savefig(whole, dpi=dpi)
            whole.replace(path)
    except ValueError as error:
        raise InputError(f"{path} cannot be drawn: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise ResourceError(f"{path} cannot be written: {error.strerror}") from error


def tick_decades(axis: Any, low: float, high: float) -> None:
    """Put plain numbers at the ticks of an axis with a logarithmic scale, at 2 and 5, too, where it has few decades."""
    from matplotlib.ticker import LogLocator

    few = math.log10(high / low) < _FEW_DECADES
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(lambda *_: "")


def svg(drawn: Any, *, name: str, description: str, titles: Mapping[str, Sequence[str]], number: int) -> str:
    """Return a figure as an SVG element for a page.

    Args:
        drawn: The figure.
        name: What it is, for those who cannot see it.
        description: What it shows, for the same.
        titles: What is said of each mark where the pointer rests on it, by the group id of the marks' collection.
        number: A figure's own number in its page, so that no two of them define the same name.
    """
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": f"{number}"}):
        drawn.savefig(file, format="svg", transparent=True, metadata=_NO_METADATA)
    root = fromstring(file.getvalue())  # noqa: S314 - written by matplotlib a line above
    for group in root.iter():
        marks = [child for child in group.iter() if child.tag.endswith(("}use", "}path"))]
        marks = [mark for mark in marks if mark.get("id") is None]  # not the shape that others use
        for mark, text in zip(marks, titles.get(group.get("id", ""), ()), strict=False):
            SubElement(mark, "title").text = text
    for element in root.iter():
        _fit_into_page(element)
    root.remove(root[0])  # a style sheet that would hold for all of the page
    least = _LEAST_SCALE * 72 * drawn.get_figwidth()
    root.attrib = {"viewBox": root.attrib["viewBox"], "role": "img", "style": f"min-width:{least:.0f}px"}
    for place, (tag, text) in enumerate((("title", name), ("desc", description))):
        root.insert(place, Element(tag))
        root[place].text = text
    return tostring(root, encoding="unicode")


def _fit_into_page(element: Element) -> None:
    """Take from an element what a page does not need or must not have twice, and give it the page's colours."""
    element.tag = element.tag.partition("}")[2] or element.tag
    element.tail = None
    if element.tag == "g":
        element.attrib.pop("id", None)
        element.text = None
        styles = {child.get("style") for child in element}
        if len(styles) == 1 and (style := styles.pop()):
            element.set("style", style)
            for child in element:
                del child.attrib["style"]
    if _XLINK in element.attrib:
        element.set("href", element.attrib.pop(_XLINK))
    for name in {"x", "y", "d"}.intersection(element.attrib):
        element.set(name, _SPACE.sub(r"\1", _TOO_FINE.sub(r"\1", element.attrib[name])))
    if "style" in element.attrib:
        style = _FONT.sub("", element.attrib["style"])
        for colour, variable in _IN_PAGE.items():
            style = style.replace(colour, variable)
        element.set("style", style)
