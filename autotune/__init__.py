"""autotune: many-body (fragment) quantum chemistry as fast as this machine allows.

    import autotune
    result = autotune.run(many_body_input)          # a QCManyBody ManyBodyInput, v1 or v2

    with autotune.Session() as session:             # warm workers for many inputs
        for geometry in trajectory:
            result = session.run(geometry)

    autotune.register()                             # and QCEngine knows it, with warm workers too
    result = qcengine.compute(many_body_input, "autotune")

Importing this package loads none of the libraries it uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autotune.base.options import Options
    from autotune.compat.procedure import register
    from autotune.session.session import Session, run

__all__ = ["Options", "Session", "register", "run"]


def __getattr__(name: str) -> Any:
    if name == "register":
        from autotune.compat import procedure

        return procedure.register
    if name in __all__:
        from autotune.session import session

        return getattr(session, name)
    raise AttributeError(f"module 'autotune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
