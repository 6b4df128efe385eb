"""autotune: many-body (fragment) quantum chemistry as fast as this machine allows.

    import autotune
    result = autotune.run(many_body_input)          # a QCManyBody ManyBodyInput, v1 or v2
    print(autotune.tabulate(result))                # its n-body energies, in Eh and kcal/mol

    water = autotune.Expansion(program="pyscf", method="hf", basis="6-31g*", max_nbody=2)
    autotune.estimate("water6.xyz", expansion=water).wall_s
    autotune.calibrate(program="pyscf", method="hf", basis="6-31g*")

    with autotune.Session() as session:             # warm workers for many inputs
        for path in paths_of_geometries:
            result = session.run(path, expansion=water)
    autotune.report(session.record, output="report.html")

    autotune.register()                             # and QCEngine knows it, with warm workers too
    result = qcengine.compute(many_body_input, "autotune")

Importing this package loads none of the libraries it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotune.base.errors import AutotuneError, InputError, ResourceError, TaskError
    from autotune.base.options import Options
    from autotune.calibration.campaign import calibrate
    from autotune.compat.procedure import register
    from autotune.expansion.crystal import read_crystal
    from autotune.expansion.expansion import Expansion
    from autotune.expansion.lattice import find_nmers
    from autotune.reports.files import report
    from autotune.reports.lattice_table import tabulate_lattice
    from autotune.reports.nbody_table import tabulate
    from autotune.reports.outcomes_table import tabulate_many
    from autotune.reports.terms_table import tabulate_terms
    from autotune.session.deadline import needed_within
    from autotune.session.forecast import estimate, simulate, simulate_scaling
    from autotune.session.preparation import read
    from autotune.session.session import Session, run, run_crystal, run_many

    __version__: str

__all__ = [
    "AutotuneError",
    "Expansion",
    "InputError",
    "Options",
    "ResourceError",
    "Session",
    "TaskError",
    "__version__",
    "calibrate",
    "estimate",
    "find_nmers",
    "needed_within",
    "read",
    "read_crystal",
    "register",
    "report",
    "run",
    "run_crystal",
    "run_many",
    "simulate",
    "simulate_scaling",
    "tabulate",
    "tabulate_lattice",
    "tabulate_many",
    "tabulate_terms",
]

_MODULES = {
    "autotune.base.errors": ("AutotuneError", "InputError", "ResourceError", "TaskError"),
    "autotune.base.options": ("Options",),
    "autotune.calibration.campaign": ("calibrate",),
    "autotune.compat.procedure": ("register",),
    "autotune.expansion.crystal": ("read_crystal",),
    "autotune.expansion.lattice": ("find_nmers",),
    "autotune.expansion.expansion": ("Expansion",),
    "autotune.reports.files": ("report",),
    "autotune.reports.lattice_table": ("tabulate_lattice",),
    "autotune.reports.nbody_table": ("tabulate",),
    "autotune.reports.outcomes_table": ("tabulate_many",),
    "autotune.reports.terms_table": ("tabulate_terms",),
    "autotune.session.deadline": ("needed_within",),
    "autotune.session.forecast": ("estimate", "simulate", "simulate_scaling"),
    "autotune.session.preparation": ("read",),
    "autotune.session.session": ("Session", "run", "run_crystal", "run_many"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "__version__":
        return import_module("autotune.base.versions").own_version()
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'autotune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
