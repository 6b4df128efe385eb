"""The versions of the libraries that a result depends on."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

LIBRARIES = ("qc-autotune", "qcmanybody", "qcengine", "qcelemental", "numpy")


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries a result depends on."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def own_version() -> str:
    """Return the version of autotune."""
    return library_versions()["qc-autotune"]
