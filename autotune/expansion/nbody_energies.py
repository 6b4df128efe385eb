"""What a ManyBodyResult says of each n-body level, as rows: energies, gradients, and what they are.

Rules: reads a result of either schema version, as a model or as the fields of its JSON, by the names that QCManyBody
gives its properties. Nothing is summed again here: what the result does not hold is None.
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autotune.base.errors import InputError
from autotune.base.json_files import read_bytes
from autotune.base.records import NBodyEnergies
from autotune.base.text import one_line, quote

if TYPE_CHECKING:
    from qcmanybody.models.v1 import ManyBodyResult as ManyBodyResultV1
    from qcmanybody.models.v2 import ManyBodyResult

KCAL_PER_HARTREE = 627.5094737775374  # of CODATA 2014, as QCElemental and QCManyBody have it
MAX_RESULT_BYTES = 2 * 2**30  # whole results of components may be in it
RESULT_SCHEMAS = ("qcschema_many_body_result", "qcschema_manybodyresult")
_THROUGH = re.compile(r"(nocp|cp|vmfc)_corrected_(total|interaction)_(energy|gradient)_through_([0-9]+)_body")
_ADDED = re.compile(r"(nocp|cp|vmfc)_corrected_([0-9]+)_body_contribution_to_(energy|gradient)")
_FIELDS = {
    ("total", "energy"): "total_hartree",
    ("interaction", "energy"): "interaction_hartree",
    ("contribution", "energy"): "contribution_hartree",
    ("total", "gradient"): "gradient_norm",
    ("contribution", "gradient"): "contribution_gradient_norm",
}


def read_result(source: str) -> Mapping[str, Any]:
    """Return the fields of the ManyBodyResult in a JSON file, or on standard input for `-`.

    Raises:
        InputError: There is none; the message says what is there instead.
    """
    name = "standard input" if source == "-" else source
    try:
        if source == "-":
            text = sys.stdin.read(MAX_RESULT_BYTES + 1)
        else:
            text = read_bytes(Path(source), most=MAX_RESULT_BYTES, kind="a result", cure="; check the path").decode()
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} is not valid JSON ({one_line(error)}); give a ManyBodyResult") from error
    if not isinstance(fields, dict):
        raise InputError(f"{name} holds a JSON {type(fields).__name__}, not a ManyBodyResult object")
    if str(fields.get("schema", "")).startswith("autotune.run/"):
        raise InputError(f"{name} is a run record, not a ManyBodyResult; `autotune report {name}` shows it")
    if str(fields.get("schema", "")).startswith("autotune.partial/"):
        raise InputError(f"{name} has what a failed run finished, which adds up to no result; run again with --resume")
    if str(fields.get("schema", "")).startswith("autotune.lattice/"):
        raise InputError(f"{name} is a lattice energy, not a ManyBodyResult; `autotune crystal --csv` makes its table")
    if fields.get("success") is False:
        raise InputError(f"{name} is a calculation that failed; there are no energies in it")
    if fields.get("schema_name") not in RESULT_SCHEMAS:
        found = fields.get("schema_name")
        raise InputError(f"{name} has schema_name {quote(found)}; give a ManyBodyResult, as `autotune run` writes it")
    return fields


def nbody_energies(result: ManyBodyResult | ManyBodyResultV1 | Mapping[str, Any]) -> tuple[NBodyEnergies, ...]:
    """Return the rows of a result: by BSSE treatment in the order of the input, then by n-body level.

    Args:
        result: A ManyBodyResult of schema version 1 or 2, or its fields as a mapping.

    Raises:
        InputError: The mapping is no ManyBodyResult.
    """
    try:
        specification = fields_of(_get(_get(result, "input_data"), "specification"))
        keywords, properties = specification["keywords"], fields_of(_get(result, "properties"))
        treatments = list(dict.fromkeys(text_of(bsse) for bsse in keywords["bsse_type"]))
        method_of = _methods(specification, fragments=int(properties["calcinfo_nfr"]))
        whole = keywords.get("return_total_data")
        if whole is None:  # upstream's default
            whole = text_of(specification["driver"]) != "energy"
        values: defaultdict[tuple[str, int], dict[str, float]] = defaultdict(dict)
        for bsse, nbody, field, value in _values(properties):
            values[bsse, nbody][field] = value
        rows = []
        for bsse in treatments:
            levels = sorted(nbody for treatment, nbody in values if treatment == bsse)
            for nbody in levels:
                is_result = bsse == treatments[0] and nbody == levels[-1]
                rows.append(
                    NBodyEnergies(
                        bsse=bsse,
                        nbody=nbody,
                        method=method_of[nbody],
                        returned=("total" if whole else "interaction") if is_result else "",
                        **values[bsse, nbody],
                    )
                )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"this is no ManyBodyResult: {type(error).__name__}: {one_line(error)}") from error
    return tuple(rows)


def _values(properties: Mapping[str, Any]) -> Iterator[tuple[str, int, str, float]]:
    """Yield BSSE treatment, n-body level, field of a row and its value."""
    for name, value in properties.items():
        if value is None:
            continue
        if found := _THROUGH.fullmatch(name):
            bsse, kind, quantity, nbody = found.groups()
        elif found := _ADDED.fullmatch(name):
            (bsse, nbody, quantity), kind = found.groups(), "contribution"
        else:
            continue
        field = _FIELDS.get((kind, quantity))
        if field:
            yield bsse, int(nbody), field, _norm(value) if quantity == "gradient" else float(value)


def _norm(gradient: Any) -> float:
    """Return the Euclidean norm of an array, or of numbers in lists of any depth."""
    return math.hypot(*_flat(gradient.tolist() if hasattr(gradient, "tolist") else gradient))


def _flat(numbers: Any) -> Iterator[float]:
    for each in numbers:
        if isinstance(each, Iterable):
            yield from _flat(each)
        else:
            yield float(each)


def _methods(specification: Mapping[str, Any], *, fragments: int) -> dict[int, str]:
    """Return the model chemistry of each n-body level; one fills in for lower levels that none is named for."""
    chemistries = specification["specification"]
    words = {label: _method_words(each) for label, each in chemistries.items()}
    levels = specification["keywords"].get("levels") or {}
    stated = sorted((int(body), words[label]) for body, label in levels.items() if str(body) != "supersystem")
    if not stated:
        stated = [(fragments, next(iter(words.values())))]
    found = {}
    for nbody in range(1, fragments + 1):
        above = [method for body, method in stated if body >= nbody]
        found[nbody] = above[0] if above else stated[-1][1]
    if "supersystem" in levels:
        found[fragments] = f"{words[levels['supersystem']]}, all fragments at once"
    return found


def _method_words(chemistry: Mapping[str, Any]) -> str:
    model = chemistry["model"]
    basis = model.get("basis")
    return f"{chemistry['program']} {model['method']}{f'/{basis}' if basis else ''}"


def _get(parent: Any, name: str) -> Any:
    return parent[name] if isinstance(parent, Mapping) else getattr(parent, name)


def fields_of(part: Any) -> Mapping[str, Any]:
    """Return the fields of a mapping, or of a model of pydantic 1 or 2."""
    if isinstance(part, Mapping):
        return part
    fields: Mapping[str, Any] = part.model_dump() if hasattr(part, "model_dump") else part.dict()
    return fields


def text_of(value: Any) -> str:
    """Return a text, or the one that a member of an enumeration stands for."""
    return str(getattr(value, "value", value))
