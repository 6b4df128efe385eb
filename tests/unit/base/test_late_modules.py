"""Modules that wait until something of them is used, and packages that look as if they were not installed."""

from __future__ import annotations

import importlib
import pickle
import sys
from types import ModuleType

import pytest

from autotune.base.late_modules import absent, import_late

FILES = {
    "late_package/__init__.py": "import sys\nRAN = sys.ran = sys.ran + 1\nfrom late_package import below\n",
    "late_package/below.py": "import late_package\nHERE = 'below'\nRAN_BEFORE = late_package.RAN\n",
    "late_above/__init__.py": "",
    "late_above/part.py": "class Kept:\n    pass\n",
    "late_broken.py": "1 / 0\n",
}


@pytest.fixture(autouse=True)
def modules(tmp_path, monkeypatch):
    """Put some modules on the path, and forget them afterwards."""
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    monkeypatch.setattr(sys, "ran", 0, raising=False)
    yield
    for name in [name for name in sys.modules if name.startswith("late_")]:
        del sys.modules[name]


USES = {
    "an attribute": "import late_package; late_package.RAN",
    "a name": "from late_package import RAN",
    "a module below": "import late_package.below",
    "a module below, by itself": "from late_package.below import HERE",
    "all names": "from late_package import *",
    "what there is": "import inspect, late_package; inspect.getfile(late_package); hasattr(late_package, 'no')",
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_module_runs_once_and_when_it_is_first_used(use):
    import_late("late_package")
    waiting = sys.modules["late_package"]
    for _ in range(2):
        exec("import late_package", {})
        assert importlib.import_module("late_package") is waiting
    assert sys.ran == 0
    for _ in range(2):
        exec(use, {})
        assert sys.ran == 1
    assert sys.modules["late_package"] is waiting
    assert type(waiting) is ModuleType
    assert (waiting.below.HERE, waiting.below.RAN_BEFORE) == ("below", 1)


def test_a_module_of_a_package_waits_there_and_its_classes_are_those_of_everybody():
    import_late("late_above.part")
    package = importlib.import_module("late_above")
    assert "Kept" not in vars(package.part)
    kept = package.part.Kept
    assert pickle.loads(pickle.dumps(kept)) is kept
    assert importlib.import_module("late_above.part").Kept is kept


def test_what_is_imported_or_not_installed_is_left_alone():
    before = importlib.import_module("late_package")
    import_late("late_package", "late_missing", "json")
    assert sys.modules["late_package"] is before
    assert type(before) is ModuleType
    assert "late_missing" not in sys.modules


def test_a_module_that_cannot_run_fails_as_if_it_were_imported_then():
    import_late("late_broken")
    module = importlib.import_module("late_broken")
    with pytest.raises(ZeroDivisionError):
        _ = module.anything
    with pytest.raises(ZeroDivisionError):
        importlib.import_module("late_broken")


def test_a_package_is_absent_within_the_block_only():
    with absent("late_package"):
        with pytest.raises(ImportError):
            importlib.import_module("late_package")
        assert importlib.util.find_spec("late_package") is None
    assert importlib.import_module("late_package").RAN == 1
    with absent("late_package"):
        assert importlib.import_module("late_package").RAN == 1
