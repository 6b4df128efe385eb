"""From the values of tasks to upstream's ManyBodyResult, with memory for what the result holds, not for what it sums.

Rules: upstream's own `analyze` does the sums; it is given `padding.py`'s arrays instead of dense ones, which for 64
waters and their Hessians would take 100 GiB. `cluster_properties` has dense arrays by its definition: it gets them as
long as all of them together stay below a limit, and energies only above it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from autotune.expansion.padding import Array, Frame, plain

if TYPE_CHECKING:
    from qcmanybody.models.v2 import ManyBodyResult

# Of all dense arrays in `cluster_properties`. As JSON they take three times as much; the gradients of 64 waters up to
# 3-body, 200 MB, still fit.
DENSE_BYTES = 256 * 2**20


def assemble(
    computer: Any,
    keys_by_label: Mapping[str, str],
    values: Mapping[str, Mapping[str, Any]],
    component_results: Mapping[str, Any],
) -> ManyBodyResult:
    """Return upstream's result (v2).

    Args:
        computer: Upstream's ManyBodyComputer of the input.
        keys_by_label: The task of each component.
        values: As `Workload.assemble` takes them.
        component_results: AtomicResults by label.
    """
    names = _common(values)
    properties = {
        label: {name: _energy_or_source(values[key], name) for name in names} for label, key in keys_by_label.items()
    }
    core = computer.qcmb_core
    with _pad_nothing(core):
        back = core.analyze(properties)
    too_much = left_out_bytes(computer, keys_by_label, values) > 0
    back["component_properties"] = {
        label: {
            name: plain(value)
            for name, value in of_label.items()
            if not (too_much and name in ("return_gradient", "return_hessian"))
        }
        for label, of_label in back["component_properties"].items()
    }
    # What upstream takes over into the result are sums, which its own steps have made ordinary; a later upstream's
    # steps may be others.
    back |= {name: plain(value) for name, value in back.items()}
    back["results"] = {name: plain(value) for name, value in back["results"].items()}
    back["nbody_number"] = len(properties)
    result: ManyBodyResult = computer.get_results(external_results=back, component_results=component_results)
    return result


def left_out_bytes(computer: Any, keys_by_label: Mapping[str, str], values: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the bytes of the dense arrays of all components where that is too much for the result; 0 where not."""
    rows = 3 * len(computer.molecule.symbols)
    numbers = sum({"gradient": rows, "hessian": rows**2}.get(name, 0) for name in _common(values))
    dense = 8 * numbers * len(keys_by_label)
    return dense if dense > DENSE_BYTES else 0


def _common(values: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the names of what all tasks have, in the order of the first.

    Some programs give more than was asked for; upstream's analysis wants of each component what one of them has.
    """
    each = iter(values.values())
    first = next(each, {})
    common = set(first).intersection(*each)
    return [name for name in first if name in common]


def _energy_or_source(of_task: Mapping[str, Any], name: str) -> float | Callable[[], Array]:
    if name == "energy":
        energy: float = of_task[name]
        return energy
    return partial(_array, of_task, name)


def _array(of_task: Mapping[str, Any], name: str) -> Array:
    import numpy as np

    return np.asarray(of_task[name], dtype=float)


@contextlib.contextmanager
def _pad_nothing(core: Any) -> Iterator[None]:
    """Have upstream's core pad arrays by `padding.py` within the block."""
    frame = Frame(atoms=core.fragment_slice_dict, natom=sum(core.fragment_size_dict.values()))
    core.resize_gradient, core.resize_hessian = frame.gradient, frame.hessian
    try:
        yield
    finally:
        del core.resize_gradient, core.resize_hessian
