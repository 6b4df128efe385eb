"""Modules that libraries import and tasks do not use: what waits to be loaded until something of it is used.

Importing the libraries of a program is most of a short run. Nearly a third of that goes into modules which they import
for functions nobody calls here, as PySCF does all of SciPy's optimisers.

Rules: for third-party modules alone, in processes without threads, as the one is from which workers are forked: a first
use is not locked. A module runs in its own place in `sys.modules`, once, so that all who have imported it see it whole.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _Waiting(ModuleType):
    """A module that runs when it is asked for what it does not have yet.

    `importlib.util.LazyLoader` makes ones that run at their second import, too.
    """

    def __getattr__(self, name: str) -> Any:
        spec: ModuleSpec = self.__spec__  # type: ignore[assignment]  # as every module that was found
        self.__class__ = ModuleType  # type: ignore[assignment]
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        try:
            spec.loader.exec_module(self)  # type: ignore[union-attr]
        except BaseException:
            sys.modules.pop(spec.name, None)  # as a module that cannot be imported
            raise
        return getattr(self, name)


def import_late(*names: str) -> None:
    """Have modules run when something of them is first used, not when they are imported.

    Packages above them are imported. What is imported already, or is not installed, is left alone.
    """
    for name in names:
        if name in sys.modules:
            continue
        spec = importlib.util.find_spec(name)
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        if spec.submodule_search_locations is not None:
            del module.__path__  # so that importing one of its modules runs it before
        module.__class__ = _Waiting
        sys.modules[name] = module
        above, _, last = name.rpartition(".")
        if above:
            setattr(sys.modules[above], last, module)


@contextlib.contextmanager
def absent(name: str) -> Iterator[None]:
    """Make a package that other libraries can do without look as if it were not installed, unless it is imported."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # the import system's word for it
    try:
        yield
    finally:
        del sys.modules[name]
