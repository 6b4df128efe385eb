"""The QCEngine harness of MOPAC, with what that leaves open decided.

MOPAC ends with status 0 whatever happens, and says what went wrong in a box at the end of its output. For one atom it
writes no gradient, which is zero. Open shells with an even number of electrons need its keyword UHF; odd ones are
unrestricted by themselves. What has parameters is for MOPAC to say: it is asked once for each method and set of
elements, with atoms far apart. One file may hold several jobs, of which each starts again; what MOPAC writes about them
is divided by their numbers, which it is given as comments.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from qcelemental.util import safe_version
from qcengine.config import get_config
from qcengine.exceptions import ConvergenceError, InputError, QCEngineException, UnknownError
from qcengine.programs.mopac import MopacHarness
from qcengine.util import execute

from autotune_plugins import one_start

if TYPE_CHECKING:
    from qcelemental.models.v2 import AtomicInput, AtomicResult
    from qcengine.config import TaskConfig

_VERSION = re.compile(r"^ *MOPAC_VERSION= *(\S+)", re.MULTILINE)
_BOX_TITLE = "termination messages reported in this calculation"
_LAST_WORDS = re.compile(r"([^\n]*\S)\s*\n\s*(?:TOTAL JOB TIME|== MOPAC DONE)")
_NOT_CONVERGED = re.compile(r"SELF-CONSISTENCE|FAILED TO ACHIEVE SCF|SCF CALCULATION FAILED")
_NO_REASON = "it wrote no results, and no reason"
_CAUTION = "TREAT RESULTS WITH CAUTION"
_NO_COMMENT = "&\n\n"  # the second line of keywords goes on in an empty third one
_JOB = re.compile(r"^(?= \*{79}\n \*\*\s+\*\*\n \*\* +MOPAC v)", re.MULTILINE)
_NUMBER = re.compile(r"^ autotune (\d+) *$", re.MULTILINE)
_NUMBER_OF_VALUES = re.compile(r'^ COMMENTS="autotune (\d+)"', re.MULTILINE)
_NO_ELECTRONS = re.compile(r"^ NUM_ELECTRONS=0+$", re.MULTILINE)  # then the dipole would be that of the job before
_VALUES_BEGIN, _VALUES_END = " START OF MOPAC FILE\n", " END OF MOPAC FILE\n"
_ENERGY, _GRADIENTS = "HEAT_OF_FORMATION:", "GRADIENTS:KCAL/MOL/ANGSTROM"


class CheckedMopacHarness(MopacHarness):  # type: ignore[misc]  # QCEngine is untyped
    """MOPAC, with what QCEngine's harness leaves open decided."""

    _versions: ClassVar[dict[str, str]] = {}
    _able: ClassVar[set[tuple[str, frozenset[str]]]] = set()

    def get_version(self) -> str:
        """Return the version that MOPAC writes; QCEngine says 2016 whatever it is."""
        self.found(raise_error=True)
        if "mopac" not in self._versions:
            version = _VERSION.search(self._atoms("PM6", ["H"])["dispatch.aux"] or "")
            self._versions["mopac"] = str(safe_version(version[1])) if version else "unknown"
        return self._versions["mopac"]

    def preflight(self, input_data: AtomicInput) -> None:
        """Refuse what cannot be computed: methods, keywords, elements without parameters.

        Raises:
            qcengine.exceptions.InputError: The task cannot run, in one line.
        """
        self.build_input(input_data, get_config(task_config={"ncores": 1, "memory": 1.0}))
        if basis := input_data.specification.model.basis:
            raise InputError(f"MOPAC has no basis sets; leave {basis!r} out")
        if not input_data.molecule.real.all():
            raise InputError("MOPAC has no ghost atoms, which bsse cp and vmfc need; use nocp")
        method, elements = input_data.specification.model.method.upper(), frozenset(input_data.molecule.symbols)
        if (method, elements) in self._able:
            return
        outputs = self._atoms(method, sorted(elements))
        if _ENERGY not in (outputs["dispatch.aux"] or ""):
            cause = _cause(outputs["dispatch.out"] or "")
            if not _NOT_CONVERGED.search(cause):
                raise InputError(f"MOPAC cannot compute {', '.join(sorted(elements))} with {method}: {cause}")
        self._able.add((method, elements))

    def _atoms(self, method: str, elements: list[str]) -> dict[str, str | None]:
        """Return what MOPAC writes about one atom of each element, far apart, with any spin."""
        lines = [f"{symbol} {4 * place} 0 0" for place, symbol in enumerate(elements)]
        job = "\n".join([f"{method} 1SCF AUX(PRECISION=9)", "", "", *lines, ""])
        config = get_config(task_config={"ncores": 1, "memory": 1.0})
        _, outputs = execute(
            ["mopac", "dispatch.mop"],
            infiles={"dispatch.mop": job},
            outfiles=["dispatch.out", "dispatch.aux"],
            scratch_directory=config.scratch_directory,
        )
        return dict(outputs["outfiles"])

    def build_input(self, input_model: AtomicInput, config: TaskConfig, template: str | None = None) -> dict[str, Any]:
        """Return QCEngine's job, unrestricted where the shells are open."""
        job: dict[str, Any] = super().build_input(input_model, config, template)
        multiplicity = round(input_model.molecule.molecular_multiplicity)
        if multiplicity > 1 and multiplicity % 2:
            # Without UHF, MS is for configuration interaction in a closed-shell reference, which has none.
            job["infiles"]["dispatch.mop"] = job["infiles"]["dispatch.mop"].replace(" MS=", " UHF MS=", 1)
        return job

    def compute_together(
        self, inputs: Sequence[AtomicInput], config: TaskConfig, *, limit_s: float = math.inf
    ) -> list[AtomicResult | None]:
        """Return the results of the inputs that one start of MOPAC has taken up, or None for one that failed."""
        self.found(raise_error=True)
        jobs = one_start.jobs(self.build_input, inputs, config)
        texts = [job["infiles"]["dispatch.mop"] for job in jobs]
        if not texts or any(_NO_COMMENT not in text for text in texts):
            return [None]
        named = [text.replace(_NO_COMMENT, f"\nautotune {place}\n", 1) for place, text in enumerate(texts)]
        files = {"dispatch.mop": "\n\n".join([*named, ""])}
        written = one_start.run({**jobs[0], "infiles": files}, ["dispatch.out", "dispatch.aux"], limit_s=limit_s).files
        outputs = _by_number(_NUMBER, _JOB.split(written["dispatch.out"] or ""))
        pieces = (written["dispatch.aux"] or "").split(_VALUES_BEGIN)
        whole = [piece for piece in pieces if _VALUES_END in piece and not _NO_ELECTRONS.search(piece)]
        values = _by_number(_NUMBER_OF_VALUES, whole)
        results: list[AtomicResult | None] = []
        for place, each in enumerate(inputs[: max(outputs, default=-1) + 1]):
            outfiles = {"dispatch.out": outputs.get(place), "dispatch.aux": values.get(place)}
            try:
                results.append(self.parse_output(outfiles, each))
            except QCEngineException:
                results.append(None)
        return results

    def parse_output(self, outfiles: dict[str, str | None], input_model: AtomicInput) -> AtomicResult:
        """Return the result.

        Raises:
            qcengine.exceptions.QCEngineException: There is none; the message is MOPAC's reason.
        """
        output, values = outfiles["dispatch.out"] or "", outfiles["dispatch.aux"] or ""
        if _ENERGY not in values or _CAUTION in output:
            cause = _cause(output)
            kind = ConvergenceError if _NOT_CONVERGED.search(cause) else InputError if output else UnknownError
            raise kind(f"MOPAC: {cause}")
        if len(input_model.molecule.symbols) == 1 and _GRADIENTS not in values:
            values += f"\n {_GRADIENTS}[03]=\n 0.0 0.0 0.0\n"
        return super().parse_output({**outfiles, "dispatch.aux": values}, input_model)


def _by_number(pattern: re.Pattern[str], pieces: Sequence[str]) -> dict[int, str]:
    """Return pieces of what MOPAC wrote, by the number of the job that each tells."""
    found = [(pattern.search(piece), piece) for piece in pieces]
    return {int(number[1]): piece for number, piece in found if number is not None}


def _cause(output: str) -> str:
    """Return what MOPAC says went wrong: the box at its end, or its last words before the time it took."""
    _, title, box = output.partition(_BOX_TITLE)
    if title:
        lines = [line.strip(" *") for line in box.splitlines()]
        told = [" ".join(line.split()) for line in lines if line and line != "JOB ENDED NORMALLY"]
        told = [line for line in told if not line.startswith(("TOTAL JOB TIME", "== MOPAC DONE"))]
        if told:
            return "; ".join(told)
    words = _LAST_WORDS.search(output)
    return " ".join(words[1].split()).strip("* ") or _NO_REASON if words else _NO_REASON
