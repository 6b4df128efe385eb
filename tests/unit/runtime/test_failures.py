"""Claims about `autotune.runtime.failures`."""

from __future__ import annotations

import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autotune.machine.process import describe_exit
from autotune.programs.facts import facts_of
from autotune.runtime.failures import FAIL, KINDS, MOST_ATTEMPTS, Answer, answer, kind_of

# What programs print when they fail, from their sources or from runs of them.
WORDS = {
    "disk": {
        "Python": "OSError: [Errno 28] No space left on device: 'integrals.h5'",
        "Python, quota": "OSError: [Errno 122] Disk quota exceeded",
        "Python, ulimit": "OSError: [Errno 27] File too large",
        "Python, bad disk": "OSError: [Errno 5] Input/output error",
        "HDF5": "OSError: Can't write data (file write failed: errno = 28, error message = 'No space left on device')",
        "GNU Fortran": "At line 98 of file wrt.F (unit = 20)\nFortran runtime error: No space left on device",
        "Intel Fortran": "forrtl: Disk quota exceeded\nforrtl: severe (38): error during write, unit 20, file x.tmp",
    },
    "memory": {
        "Python": "MemoryError",
        "Python, mmap": "OSError: [Errno 12] Cannot allocate memory",
        "NumPy": "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 74.5 GiB for an array with shape (9,)",
        "C++": "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc",
        "PySCF": "MemoryError: Insufficient memory (PYSCF_MAX_MEMORY).",
        "PySCF, Hessian": "RuntimeError: Memory not enough. You need to increase mol.max_memory",
        "Psi4": "Fatal Error: DFHelper: not enough memory for (p shell) AO blocking! required memory: 9.1 [GiB].",
        "NWChem": " diis: insufficient memory\n ------------------------------------",
        "NWChem, plane waves": " out of stack memory                          0",
        "GNU Fortran": "In file 'cc.F90', around line 12: Error allocating 800 bytes: Cannot allocate memory",
        "GNU Fortran, old": "Operating system error: Cannot allocate memory\nAllocation would exceed memory limit",
        "Intel Fortran": "forrtl: severe (41): insufficient virtual memory",
    },
    "convergence": {
        "PySCF": "RuntimeError: Nuclear gradients of <pyscf.scf.hf.RHF object at 0x7f> not converged",
        "PySCF, solver": "RuntimeError: Krylov solver failed to converge.",
        "Psi4": "psi4.driver.p4util.exceptions.SCFConvergenceError: Could not converge SCF iterations in 9 iterations.",
        "Psi4, inner": "RuntimeError: Iterations did not converge.",
        "NWChem": "          Calculation failed to converge\n          ------------------------------",
        "NWChem, QCEngine": "QCEngine Known Error: The computation failed to converge.",
    },
    "missing": {
        "Python": "ModuleNotFoundError: No module named 'psi4'",
        "bash": "bash: line 1: mopac: command not found",
    },
    "program": {
        "nothing": "",
        "other": "ValueError: operands could not be broadcast together with shapes (3,) (4,)",
        "converged": "SCF has converged in 9 iterations, memory use 3 GiB\nZeroDivisionError: division by zero",
    },
}
SIGKILL, SIGSEGV = describe_exit(int(signal.SIGKILL)), describe_exit(int(signal.SIGSEGV))
AGAIN, ALONE = Answer(again=True), Answer(again=True, alone=True)


@pytest.mark.parametrize(("kind", "words"), [(kind, words) for kind in WORDS for words in WORDS[kind].values()])
def test_the_words_of_a_program_tell_the_kind(kind, words):
    assert kind_of("unknown_error", words) == kind


def test_a_programs_own_words_tell_the_kind_wherever_they_are_where_the_error_type_tells_nothing():
    said = ' """""""""""""UNABLE TO ACHIEVE SELF-CONSISTENCE\n\n          DELTAE=  0.1E+01' + 9000 * "."
    words = facts_of("mopac").error_words
    assert kind_of("unknown_error", said) == "program"
    assert kind_of("unknown_error", said, words=words) == "convergence"
    assert kind_of("input_error", said, words=words) == "input"


FULL = "OSError: [Errno 28] No space left on device"
LACKS = "QCEngine Resource Error: "
TOLD = [
    # What an error type tells counts more than words, and so does a kind that is known already.
    ("input_error", "MemoryError", "input"),
    ("convergence_error", "MemoryError", "convergence"),
    ("random_error", "MemoryError", "random"),
    *((kind, f"MemoryError: {FULL}", kind) for kind in sorted(set(KINDS) - {"crash"})),
    # One that tells nothing leaves it to the words, of which those far above the end mean nothing.
    *(
        (error_type, FULL, "disk")
        for error_type in ("unknown_error", "known_error", "execution_error", "base_error", "")
    ),
    *((error_type, "what?", "program") for error_type in ("unknown_error", "known_error", "base_error", "")),
    ("unknown_error", FULL + "\n" + 1000 * "all is well\n", "program"),
    # MPI that did not start is worth another attempt.
    ("unknown_error", "It looks like orte_init failed for some reason; your parallel process is likely", "random"),
    # What QCEngine lacks is memory unless the words name something else.
    ("resource_error", f"{LACKS}PySCF needs more than the 0.5 GiB granted: its arrays do not fit", "memory"),
    ("resource_error", f"{LACKS}0.1 GiB is less than PySCF and its libraries take, 210 MB", "memory"),
    ("resource_error", f"{LACKS}the scratch folder is full: [Errno 28] No space left on device", "disk"),
    ("resource_error", f"{LACKS}Program mopac is registered with QCEngine, but cannot be found.", "missing"),
    # A crash is one of memory or disk only where its last lines say so.
    ("crash", SIGSEGV, "crash"),
    ("crash", SIGKILL, "crash"),
    ("crash", f"{SIGSEGV}; last lines: SCF did not converge", "crash"),
    ("crash", f"{SIGSEGV}; last lines: terminate called after throwing 'std::bad_alloc'", "memory"),
    ("crash", f"{SIGSEGV}; last lines: write failed: No space left on device", "disk"),
]


@pytest.mark.parametrize(("error_type", "message", "kind"), TOLD)
def test_an_error_type_counts_more_than_words_and_words_count_where_it_tells_too_little(error_type, message, kind):
    assert kind_of(error_type, message) == kind


@given(st.one_of(st.sampled_from([*KINDS, "unknown_error", "input_error"]), st.text()), st.text())
def test_every_failure_has_a_kind(error_type, message):
    assert kind_of(error_type, message) in KINDS


@pytest.mark.parametrize(
    ("kind", "answers"),
    [
        ("input", []),
        ("convergence", [Answer(again=True, rescue=True)]),
        ("memory", [Answer(again=True, more_memory=True), Answer(again=True, more_memory=True, alone=True)]),
        ("disk", [ALONE]),
        ("timeout", []),
        ("crash", [AGAIN, ALONE]),
        ("random", [AGAIN, AGAIN]),
        ("missing", []),
        ("program", []),
    ],
)
def test_the_answers_to_repeated_failures_of_one_kind_are_those_of_the_table(kind, answers):
    given_answers = [answer(kind, failures, can_rescue=True) for failures in range(1, 6)]
    assert given_answers == answers + [FAIL] * (5 - len(answers))


@given(st.sampled_from(KINDS), st.integers(1, 9), st.booleans())
def test_keywords_are_changed_only_for_what_does_not_converge_and_only_to_the_users_own(kind, failures, can_rescue):
    given_answer = answer(kind, failures, can_rescue=can_rescue)
    assert not given_answer.rescue or (kind == "convergence" and can_rescue)
    assert kind != "convergence" or can_rescue or given_answer == FAIL


@given(st.lists(st.sampled_from(KINDS), min_size=MOST_ATTEMPTS, max_size=MOST_ATTEMPTS), st.booleans())
def test_no_sequence_of_failures_takes_more_than_the_most_attempts(kinds, can_rescue):
    answers = [answer(kind, failures, can_rescue=can_rescue) for failures, kind in enumerate(kinds, start=1)]
    assert FAIL in answers
