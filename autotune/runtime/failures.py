"""Why an attempt at a task failed, and what is done about it.

Rules: pure. A failure has one kind, told by QCEngine's error type, by how the worker ended, or by the program's words;
the answer to it depends on the kind and on how often the task has failed before, and is never to compute something
else than was asked.

    kind          told by                                        answer
    input         QCEngine's input_error                        fail
    convergence   QCEngine's convergence_error, its words        fail; once more with other keywords where the user
                                                                 gave some
    memory        MemoryError and its likes; killed by the       once more with more memory, then alone with all of it
                  system or by autotune for too much memory
    disk          no space, quota, file too large, i/o error     once more, alone: the others' scratch files are gone
    timeout       longer than the time limit                     fail
    crash         the process ended without an answer            once more, then alone
    random        QCEngine's random_error, MPI did not start     twice more
    missing       a program or module that is not there          fail
    program       any other error of the program                 fail
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

KINDS = ("input", "convergence", "memory", "disk", "timeout", "crash", "random", "missing", "program")

_BY_ERROR_TYPE = {"input_error": "input", "convergence_error": "convergence", "random_error": "random"}
# The words of C's strerror, Python, Fortran run-time libraries and MPI, and what programs share; looked for in the last
# lines only. A program's own words come with its facts.
_BY_WORDS = tuple(
    (kind, re.compile(words, re.IGNORECASE))
    for kind, words in {
        "disk": r"no space left on device|disk quota exceeded|file too large|disk (?:is )?full|ENOSPC"
        r"|input/output error|error writing to (?:file|unit)",
        "memory": r"MemoryError|bad_alloc|out of memory|cannot allocate memory|can(?:not|'t) allocate"
        r"|unable to allocate|(?:not enough|insufficient|exceeds? (?:available )?|needs more) (?:virtual )?memory"
        r"|memory not enough|out of (?:stack|heap|global) memory"
        r"|allocation (?:would exceed|failed)|malloc failed",
        "convergence": r"(?:did|does|has|have|could) not converge|not converged|failed to converge|convergence failure",
        "random": r"orte_init failed|MPI_INIT failed|orte_session_dir failed",
        "missing": r"ModuleNotFoundError|No module named|command not found|executable .*not found|but cannot be found",
    }.items()
)
_WORDS_AT_END = 8000  # characters; a program's early output may speak of such things without meaning it


_CURES: Mapping[str, str] = {
    "convergence": "`--rescue` gives what did not converge a second attempt with other keywords",
    "memory": "`--memory` lets tasks take more, or a machine with more of it",
    "disk": "`--scratch` puts scratch files where there is more space",
    "timeout": "a longer `--timeout` lets tasks finish",
    "missing": "`autotune doctor` says what has to be installed",
    "input": "the input has to be mended: the program does not take it",
}


class Answer(NamedTuple):
    """What to do about a failed attempt: whether again, with more memory, alone, with the user's other keywords."""

    again: bool
    more_memory: bool = False
    alone: bool = False
    rescue: bool = False


FAIL = Answer(again=False)
# After the first failure of a task, after the second, and so on; then it has failed for good.
_ANSWERS: Mapping[str, tuple[Answer, ...]] = {
    "memory": (Answer(again=True, more_memory=True), Answer(again=True, more_memory=True, alone=True)),
    "crash": (Answer(again=True), Answer(again=True, alone=True)),
    "random": (Answer(again=True), Answer(again=True)),
    "disk": (Answer(again=True, alone=True),),
    "convergence": (Answer(again=True, rescue=True),),
}
MOST_ATTEMPTS = 1 + max(len(answers) for answers in _ANSWERS.values())


def kind_of(error_type: str, message: str, *, words: Mapping[str, str] | None = None) -> str:
    """Return the kind of a failure.

    Args:
        error_type: QCEngine's error type, or a kind that whoever ended the task knows already.
        message: The program's message, or its last lines.
        words: What the program says of failures: regular expressions by kind, looked for in the whole message where the
            error type tells nothing.
    """
    if error_type in KINDS:
        if error_type == "crash":
            # A process that ends itself may have said why.
            return next((kind for kind in _kinds_named_in(message) if kind in ("memory", "disk")), "crash")
        return error_type
    if error_type == "resource_error":
        return next((kind for kind in _kinds_named_in(message) if kind in ("disk", "missing")), "memory")
    if error_type in _BY_ERROR_TYPE:
        return _BY_ERROR_TYPE[error_type]
    own = (kind for kind, pattern in (words or {}).items() if re.search(pattern, message, re.IGNORECASE))
    return next(own, None) or next(_kinds_named_in(message), "program")


def answer(kind: str, failures: int, *, can_rescue: bool) -> Answer:
    """Return what to do.

    Args:
        kind: Of the last failure.
        failures: Attempts at this task that failed, the last one included.
        can_rescue: The user gave other keywords for what does not converge.
    """
    answers = _ANSWERS.get(kind, ())
    if failures > len(answers) or (kind == "convergence" and not can_rescue):
        return FAIL
    return answers[failures - 1]


def cures(kinds: Iterable[str]) -> list[str]:
    """Return what helps against failures of these kinds, a clause each, as far as the user can do something."""
    return [_CURES[kind] for kind in kinds if kind in _CURES]


def _kinds_named_in(message: str) -> Iterator[str]:
    """Yield the kinds that the end of a message speaks of, the most telling first."""
    end = message[-_WORDS_AT_END:]
    for kind, words in _BY_WORDS:
        if words.search(end):
            yield kind
