"""What a density functional's name means to PySCF: whole functionals, parts of one, dispersion corrections.

Rules
- A name is judged by what libxc says of the functionals it resolves to (numbers, kind, flags), never by its spelling.
- A functional that PySCF would compute without a part of it (a dispersion correction, a non-local term, another range
  separation) is refused; so is exchange or correlation alone, unless a comma says that it is meant (`slater,`).
- Dispersion corrections, for the functionals of `_CORRECTED` only, come from the package pyscf-dispersion.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from pyscf.dft import libxc


@dataclass(frozen=True, slots=True, kw_only=True)
class Functional:
    """A density functional as PySCF is to compute it.

    Attributes:
        name: In libxc's words, for `KS.xc`.
        nonlocal_part: False where the non-local term of that functional is replaced by the dispersion correction.
        dispersion: Version of the correction, `d3bj`, `d3zero` or `d4`; empty without.
        parameters: The name of the functional in the tables of that correction.
    """

    name: str
    nonlocal_part: bool = True
    dispersion: str = ""
    parameters: str = ""

    @property
    def is_nonlocal(self) -> bool:
        """Whether a non-local (VV10) term is computed."""
        return bool(self.name) and self.nonlocal_part and bool(libxc.is_nlc(self.name))


class FunctionalError(ValueError):
    """A functional cannot be used; the text says why and what to do, in one line."""


class UnknownFunctionalError(FunctionalError):
    """No functional has this name."""


def read(name: str) -> Functional:
    """Return the functional of a name in lower case.

    Raises:
        UnknownFunctionalError: No functional has this name.
        FunctionalError: It is incomplete in PySCF, or not a whole functional.
    """
    found = _read(name)
    if isinstance(found, FunctionalError):
        raise type(found)(*found.args)
    return found


def names() -> list[str]:
    """Return names of functionals in lower case, for suggestions."""
    return [key.lower() for key in (*libxc.XC_ALIAS, *libxc.XC_CODES)]


def caution(name: str) -> str:
    """Return a sentence about a name which other programs understand otherwise; empty where there is none."""
    return _OTHERWISE.get(re.sub(r"[-_\s]", "", name), "")


# --- what names stand for --------------------------------------------------------------------------------------------

# Where PySCF (2.14, libxc 7) and Psi4 1.3.2 differ for water in 6-31G by more than 1e-5 Eh.
_OTHERWISE: Mapping[str, str] = {
    name: f"{name} has VWN's fit 5 in PySCF, and VWN's RPA fit in {others}, which is {written!r} here"
    for name, others, written in (
        ("svwn", "Psi4 and Gaussian", "lda,vwn_rpa"),
        ("mpw3lyp", "Psi4", "mpw3lypg"),
        ("mpw3pw", "Psi4", "mpw3pwg"),
        ("revb3lyp", "Psi4", "revb3lypg"),
    )
}

# libxc numbers of functionals that were made together with something which neither libxc nor PySCF adds.
_D2 = "the D2 correction"
_D3 = "a D3 correction"
_MADE_WITH: Mapping[int, str] = {
    64: _D2,  # oTPSS-D
    65: _D2,  # oPBE-D
    66: _D2,  # oPWLYP-D
    67: _D2,  # oBLYP-D
    92: _D2,  # SSB-D
    170: _D2,  # B97-D
    312: _D2,  # revSSB-D
    471: _D2,  # wB97X-D
    340: _D3,  # CF22D, exchange
    341: _D3,  # CF22D, correlation
    399: _D3,  # wB97X-D3
    495: _D3,  # S12g
    496: _D3,  # S12h
    646: _D3,  # CAM-S12g
    647: _D3,  # CAM-S12h
    327: "a D3 correction and a short-range one",  # B97-3c
    139: "van der Waals correlation",  # optB88-vdW
    140: "van der Waals correlation",  # PBEkappa1-vdW
    141: "van der Waals correlation",  # optPBE-vdW
    158: "van der Waals correlation",  # C09x
    171: "van der Waals correlation",  # optB86b-vdW
    250: "van der Waals correlation",  # mBEEF-vdW
    285: "van der Waals correlation",  # BEEF-vdW, exchange
    286: "van der Waals correlation",  # BEEF-vdW
    651: "rVV10 correlation",  # VCML-rVV10, exchange
    292: "rVV10 correlation",  # SCAN+rVV10; PySCF would compute VV10 with rVV10's parameters
    652: "rVV10 correlation",  # VCML-rVV10
    703: "rVV10 correlation",  # SCAN-L+rVV10
}


class _Corrected(NamedTuple):
    """A functional with dispersion corrections: in libxc's words, and its name in the tables of each correction."""

    xc: str
    d3bj: str = ""
    d3zero: str = ""
    d4: str = ""
    nonlocal_part: bool = True


# Checked against Psi4 1.3.2 without the correction; see the tests for the corrections.
_CORRECTED: Mapping[str, _Corrected] = {
    "b3lyp": _Corrected("b3lyp", "b3lyp", "b3lyp", "b3lyp"),
    "b97": _Corrected("gga_xc_b97_d", "b97d", "b97d", ""),
    "b97m": _Corrected("b97m_v", "b97m", "", "b97m", nonlocal_part=False),
    "blyp": _Corrected("blyp", "blyp", "blyp", "blyp"),
    "bp86": _Corrected("bp86", "bp", "bp", "bp"),
    "camb3lyp": _Corrected("camb3lyp", "camb3lyp", "camb3lyp", "camb3lyp"),
    "m062x": _Corrected("m06_2x", "", "m062x", ""),
    "m06l": _Corrected("m06_l", "", "m06l", "m06l"),
    "pbe": _Corrected("pbe", "pbe", "pbe", "pbe"),
    "pbe0": _Corrected("pbe0", "pbe0", "pbe0", "pbe0"),
    "r2scan": _Corrected("r2scan", "r2scan", "", "r2scan"),
    "revpbe": _Corrected("revpbe", "revpbe", "revpbe", "revpbe"),
    "tpss": _Corrected("tpss", "tpss", "tpss", "tpss"),
    "tpss0": _Corrected("tpss0", "tpss0", "tpss0", "tpss0"),
    "wb97m": _Corrected("wb97m_v", "wb97m", "", "wb97m", nonlocal_part=False),
    "wb97x": _Corrected("wb97x_v", "wb97x", "", "", nonlocal_part=False),
}
_VERSIONS = {"d3bj": "d3bj", "d3(bj)": "d3bj", "d3zero": "d3zero", "d3(0)": "d3zero", "d4": "d4"}
_SUFFIX = re.compile(r"(?P<bare>.+?)[-_]?(?P<suffix>d[234](\(\w+\)|[a-z]\w*)?|(?<=[-_])d|3c)")
_INSTEAD = "; take b3lyp-d3bj, wb97x-d3bj or wb97m-v for example, or a program that has this one, such as psi4"


@cache
def _read(name: str) -> Functional | FunctionalError:
    """Return the functional, or why it cannot be used."""
    try:
        terms = _terms(name)
        fault = _incomplete(name, terms) or _partial(name, terms)
    except UnknownFunctionalError as error:
        return _correction(name) or error
    return FunctionalError(fault) if fault else Functional(name=name)


def _correction(name: str) -> Functional | FunctionalError | None:
    """Return what a name ending like a dispersion correction means; None where it does not end like one."""
    parts = _SUFFIX.fullmatch(name)
    if parts is None:
        return None
    bare, suffix = parts["bare"], parts["suffix"]
    known = _CORRECTED.get(re.sub(r"[-_]", "", bare))
    if known and suffix == "d3":
        written = " or ".join(f"{bare}-{each}" for each in ("d3bj", "d3zero") if getattr(known, each))
        return FunctionalError(f"d3 does not say which damping; write {written}")
    version = _VERSIONS.get(suffix, "")
    parameters: str = getattr(known, version) if known and version else ""
    if known is None or not parameters:
        return FunctionalError(f"PySCF cannot compute this dispersion correction{_INSTEAD}")
    if not has_corrections():
        return FunctionalError("its dispersion correction needs a package: pip install 'qc-autotune[dispersion]'")
    return Functional(name=known.xc, nonlocal_part=known.nonlocal_part, dispersion=version, parameters=parameters)


@cache
def has_corrections() -> bool:
    """Return whether the package with dispersion corrections is installed."""
    return importlib.util.find_spec("pyscf.dispersion") is not None


def _incomplete(name: str, terms: Iterable[_Term]) -> str:
    """Return what PySCF would leave out of these functionals, or would do otherwise."""
    for term in terms:
        if term.number in _MADE_WITH:
            return f"this functional was made with {_MADE_WITH[term.number]}, which PySCF leaves out{_INSTEAD}"
        if term.kind not in (_EXCHANGE, _CORRELATION, _BOTH):
            return "this is a functional of the kinetic energy, not of exchange and correlation"
        if not term.flags & _FLAG_3D:
            return "this functional is for systems of one or two dimensions"
        if not term.flags & _FLAG_ENERGY:
            return "this is a potential without an energy"
        if term.flags & _FLAGS_YUKAWA:
            return "this functional separates ranges by a Yukawa potential, PySCF does it only by the error function"
    return "PySCF has no density Laplacian" if libxc.needs_laplacian(name) else ""


def _partial(name: str, terms: Iterable[_Term]) -> str:
    """Return why these parts are not a whole functional, where no comma says that this is meant."""
    kinds = {term.kind for term in terms}
    if "," in name:
        exchange, correlation = name.split(",")
        sides = (
            (f"{exchange},", _EXCHANGE, "exchange, which stands before"),
            (f",{correlation}", _CORRELATION, "correlation, which stands after"),
        )
        for side, kind, place in sides:
            with contextlib.suppress(UnknownFunctionalError):  # nothing from libxc on this side
                other = [term.title for term in _terms(side) if term.kind != kind]
                if other:
                    return f"{other[0]} is not only {place} the comma; a whole functional is written without one"
        return ""
    if _BOTH not in kinds and _CORRELATION not in kinds:
        whole = f"{name},{'vwn' if libxc.is_lda(name) else 'pbe'}"
        return f"this is exchange without correlation; write '{whole}' or the like, or '{name},' if that is meant"
    if _BOTH not in kinds and _EXCHANGE not in kinds and not any(libxc.parse_xc(name)[0][:2]):
        return f"this is correlation without exchange; write 'pbe,{name}' or the like, or ',{name}' if that is meant"
    return ""


# --- what libxc says -------------------------------------------------------------------------------------------------

_EXCHANGE, _CORRELATION, _BOTH = 0, 1, 2
_FLAG_ENERGY, _FLAG_3D = 1 << 0, 1 << 7
_FLAGS_YUKAWA = 1 << 9 | 1 << 12


class _Term(NamedTuple):
    """One functional of libxc: its number, its title, kind and flags as in libxc's xc.h."""

    number: int
    title: str
    kind: int
    flags: int


@cache
def _terms(name: str) -> tuple[_Term, ...]:
    """Return the functionals that a name resolves to in PySCF.

    Raises:
        UnknownFunctionalError: There are none.
    """
    # A number would be taken for the index of a functional, a dash for a minus: 'pbe0-2' is not PBE0 - XC(2).
    if any(re.fullmatch(r"(\S*\*)?\d+(\*\S*)?", word.strip()) for word in re.split(r"[,+]", name)):
        raise UnknownFunctionalError
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            # PySCF drops what follows '-d3' or '-d4'.
            _, terms = libxc.parse_xc(re.sub("-(?=d[34])", "_", name))
        found = tuple(_term(int(number)) for number, _ in terms)
    except (ArithmeticError, LookupError, NotImplementedError, RuntimeError, TypeError, ValueError):
        raise UnknownFunctionalError from None
    if told.getvalue():  # PySCF takes one of several, and which may change from process to process
        several = sorted({key.lower() for key in re.findall(r"'(\w+)'", told.getvalue())})
        raise UnknownFunctionalError(f"it may mean {' or '.join(several)}")
    if not found or any(factor <= 0 for _, factor in terms):
        raise UnknownFunctionalError
    return found


@cache
def _term(number: int) -> _Term:
    """Return libxc's record of a functional.

    Raises:
        LookupError: libxc has none of this number.
    """
    library = _library()
    handle = library.xc_func_alloc()
    try:
        if library.xc_func_init(handle, number, 1):
            raise LookupError(f"libxc has no functional {number}")
        about = library.xc_func_get_info(handle)
        title = library.xc_func_info_get_name(about).decode()
        term = _Term(number, title, library.xc_func_info_get_kind(about), library.xc_func_info_get_flags(about))
        library.xc_func_end(handle)
    finally:
        library.xc_func_free(handle)
    return term


@cache
def _library() -> ctypes.CDLL:
    """Return libxc, with the types of what is called; a handle of our own, so PySCF's keeps its types."""
    library = ctypes.CDLL(libxc._itrf._name)  # noqa: SLF001 - PySCF names it nowhere else
    library.xc_func_alloc.restype = ctypes.c_void_p
    library.xc_func_init.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_int)
    for each in (library.xc_func_end, library.xc_func_free):
        each.argtypes, each.restype = (ctypes.c_void_p,), None
    library.xc_func_get_info.argtypes, library.xc_func_get_info.restype = (ctypes.c_void_p,), ctypes.c_void_p
    library.xc_func_info_get_name.argtypes = (ctypes.c_void_p,)
    library.xc_func_info_get_name.restype = ctypes.c_char_p
    library.xc_func_info_get_kind.argtypes = library.xc_func_info_get_flags.argtypes = (ctypes.c_void_p,)
    return library
