"""What NWChem says when it fails: the line that is the cause, and what kind of failure it is.

NWChem ends in `errquit`, which prints one sentence between two lines of dashes, the input line it has reached, and the
sentence of a category (src/util/errquit.F); MPI then prints four lines of its own for each rank. The sentence is the
cause. Where a basis set is the fault, the line before names it.
"""

from __future__ import annotations

import re

from qcengine.exceptions import (
    ConvergenceError,
    InputError,
    QCEngineException,
    RandomError,
    ResourceError,
    UnknownError,
)

_DASHES = r"^ -{72}\n"
_ENDING = re.compile(
    rf"{_DASHES} *(?P<cause>\S.*?) +-?\d+ *\n{_DASHES}(?:[^\n]*\n)*?"
    rf" +current input line : *\n *\d+: *(?P<line>[^\n]*)\n{_DASHES}{_DASHES} *(?P<category>[^\n]*)",
    re.MULTILINE,
)
# Words of the category or the cause, with what they mean to QCEngine; the first that fit.
_KINDS: tuple[tuple[re.Pattern[str], type[QCEngineException]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), kind)
    for words, kind in (
        (r"memory|ma_push|ma_alloc|ma_init|ga_create", ResourceError),
        (r"disk space|no space left", ResourceError),
        (r"error in the input file|error in the specified basis set|specified geometry", InputError),
        (r"not yet been implemented|not compiled|not implemented", InputError),
        (r"convergence criteria|not converge|failed to converge", ConvergenceError),
    )
)
_LIBRARY = re.compile(r"(?:bq)?(?P<tag>\w+) +library +(?:(?P<element>[a-z]{1,2}) +)?(?P<name>\S.*)", re.IGNORECASE)
_LIBRARY_ERROR = re.compile(r"ARMCI Error: \d+:(.*)")  # of its array library, which ends without `errquit`
_NOT_STARTED = re.compile(r"orte_init failed|MPI_INIT failed|orte_session_dir failed")


def failure(stdout: str, stderr: str) -> QCEngineException | None:
    """Return what an output says went wrong, in one line; None where it does not say."""
    ending = _ENDING.search(stdout)
    if ending is None:
        if words := _NOT_STARTED.search(stdout + stderr):
            return RandomError(f"MPI did not start NWChem: {words[0]}")
        return UnknownError(f"NWChem: {words[1].strip(' :')}") if (words := _LIBRARY_ERROR.search(stderr)) else None
    cause, reached = " ".join(ending["cause"].split()).rstrip(":"), " ".join(ending["line"].split())
    kind = next((kind for words, kind in _KINDS if words.search(f"{ending['category']} {cause}")), UnknownError)
    if kind is ConvergenceError:
        return ConvergenceError(f"NWChem did not converge: {cause}")
    if kind is not InputError:
        return kind(f"NWChem: {cause}")
    wanted = _LIBRARY.fullmatch(reached)
    if wanted and "bas_tag_lib" in cause:
        element = (wanted["element"] or wanted["tag"]).title()
        return InputError(f"NWChem's library has no basis set {wanted['name']!r} for {element} ({cause})")
    return InputError(f"NWChem: {cause}, at the input line {reached!r}")
