"""What pages take from records: `results` has every record of results/ by its name; filters write numbers.

mkdocs-macros renders each page with Jinja before it becomes HTML. A name that no record has fails the build.
"""
# ruff: noqa: INP001 - a folder of pages, not a package

from __future__ import annotations

import ast
import json
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mkdocs_macros.plugin import MacrosPlugin

LANGUAGES = {".py": "python", ".toml": "toml", ".yml": "yaml", ".dockerfile": "dockerfile", ".def": "text"}
# What a case of `tests/bench/properties.py` ended with, worst first, as the table writes it.
ENDS = {
    "wrong": "**wrong by {}**",
    "failed": "**failed**",
    "cautioned": "off by {}, with a warning",
    "agrees": "{}",
    "did not converge": "reported as not converged",
    "refused": "refused",
}


def define_env(env: MacrosPlugin) -> None:
    """Add the variables, filters and functions that pages use; mkdocs-macros calls it."""
    root = Path(env.project_dir)
    env.variables["results"] = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((root / "results").glob("*.json"))
    }
    env.variables["rooms"] = list(rooms(root))
    sys.path.append(str(root / "tests" / "bench"))
    import speedups

    env.macro(speedups.older_best)
    env.macro(geometric_mean, "mean")
    env.macro(properties_cell)
    env.macro(largest_difference)

    @env.macro
    def included(name: str) -> str:
        """Return a file of the repository as a block of code."""
        path = root / name
        return f"```{LANGUAGES[path.suffix]}\n{path.read_text(encoding='utf-8')}```"

    for written in (count, fixed, percent, power, within, simulated_speedup, speedups.speedups):
        env.filter(written)


def largest_difference(rows: Sequence[Mapping[str, Any]]) -> float:
    """Return how far a term of `crystals.json` is from the published one, Eh, at most."""
    return max(abs(row["term_hartree"] - row["published_hartree"]) for row in rows if "replicas" in row)


def rooms(root: Path) -> Iterator[tuple[str, str]]:
    """Yield each room of `autotune/` that has a contract on imports, highest first, with what it says it is for."""
    contract = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    for layer in contract["layers"]:
        package = root / "autotune" / layer / "__init__.py"
        if package.is_file():
            purpose = ast.get_docstring(ast.parse(package.read_text(encoding="utf-8"))) or ""
            yield layer, purpose.splitlines()[0]


def count(number: float) -> str:
    """Return a whole number with commas between thousands."""
    return f"{number:,.0f}"


def fixed(number: float, digits: int = 2) -> str:
    """Return a number with so many digits behind the point."""
    return f"{number:,.{digits}f}"


def percent(share: float, digits: int = 1) -> str:
    """Return a share as per cent."""
    return f"{100 * share:.{digits}f} %"


def power(number: float) -> str:
    """Return the order of magnitude of a small number, such as 4e-12."""
    return f"{number:.0e}"


def within(number: float, interval: Sequence[float], digits: int = 2) -> str:
    """Return a number with its interval in brackets."""
    low, high = interval
    return f"{number:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def simulated_speedup(case: Mapping[str, Any], cores: str, side: str) -> float:
    """Return how many times as fast autotune is as a side of the comparison, simulated on so many cores."""
    return float(case["simulated_s"][cores][side] / case["simulated_s"][cores]["autotune"])


def properties_cell(property_name: str, program: str, cells: Sequence[Mapping[str, Any]]) -> str:
    """Return what all cases of one property and one program came to, and the largest deviation among them."""
    (cases,) = [each["cases"] for each in cells if (each["property"], each["program"]) == (property_name, program)]
    counts = Counter(case["status"] for case in cases)
    words = []
    for status, text in ENDS.items():
        deviations = [
            max(case.get("deviation", 0.0), case.get("deviation_of_components", 0.0))
            for case in cases
            if case["status"] == status
        ]
        if deviations:
            share = "" if counts[status] == len(cases) else f" ({counts[status]} of {len(cases)})"
            words.append(text.format(power(max(deviations))) + share)
    return "; ".join(words) or "–"
