"""Gradients and Hessians of components in the shape of the whole cluster, without the zeros.

Rules: upstream pads every component's array with zeros to the whole cluster and adds them up, `0 + sign * a + ...`. A
`Padded` has that shape and holds the component's own block, or a function that fetches it. Where upstream adds it, the
block is added in its place, so that sums are upstream's to the last bit: the order is upstream's, and adding a zero to
a sum that began with 0 changes nothing (such a sum is never -0.0). Whatever else NumPy is asked to do with a `Padded`
is done with the dense array. What NumPy does not ask for (`np.asarray`) finds NaN, which is seen, not zeros, which
would not be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Source = Array | Callable[[], Array]
_NOTHING = np.full(1, math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where the atoms of each fragment are in the whole cluster.

    Attributes:
        atoms: By number of the fragment, from 1.
        natom: Of the whole cluster.
    """

    atoms: Mapping[int, slice]
    natom: int

    def gradient(self, source: Source, basis: Sequence[int]) -> Padded:
        """Return a component's gradient in the shape (natom, 3) of the whole cluster.

        Args:
            source: The gradient (Eh/a0), shape (natom of the component, 3), or what fetches it.
            basis: Numbers of the fragments whose atoms, real or ghost, are its rows, in their order.
        """
        return Padded(self, source, basis, order=1)

    def hessian(self, source: Source, basis: Sequence[int]) -> Padded:
        """Return a component's Hessian (Eh/a0²) in the shape (3 natom, 3 natom); as `gradient`."""
        return Padded(self, source, basis, order=2)

    def shape(self, order: int) -> tuple[int, int]:
        """Return the whole cluster's shape of a first or second derivative."""
        return (self.natom, 3) if order == 1 else (3 * self.natom, 3 * self.natom)

    def places(self, basis: Sequence[int], *, per_atom: int) -> list[tuple[slice, slice]]:
        """Return which rows of the cluster are which of the component, as few slices as possible.

        Args:
            basis: As in `gradient`.
            per_atom: Rows of an atom: 1, or 3 in a Hessian.
        """
        found: list[tuple[slice, slice]] = []
        end = 0
        for fragment in basis:
            start, atoms = end, self.atoms[fragment]
            first, last = per_atom * atoms.start, per_atom * atoms.stop
            end = start + last - first
            if found and found[-1][0].stop == first:
                first, start = found[-1][0].start, found.pop()[1].start
            found.append((slice(first, last), slice(start, end)))
        return found


class Padded(np.ndarray[Any, np.dtype[np.float64]]):
    """An array of the whole cluster that is zero but for a component's own block; made by a `Frame`.

    It has no memory of its own but for the block.
    """

    __slots__ = ("_basis", "_frame", "_order", "_sign", "_source")

    _basis: Sequence[int]
    _frame: Frame
    _order: int
    _sign: int
    _source: Source

    def __new__(cls, frame: Frame, source: Source, basis: Sequence[int], *, order: int, sign: int = 1) -> Self:
        """Return the array of the first or second derivative, times 1 or -1."""
        made = super().__new__(cls, frame.shape(order), dtype=np.float64, buffer=_NOTHING, strides=(0, 0))
        made._frame, made._source, made._basis, made._order, made._sign = frame, source, basis, order, sign
        return made

    def dense(self) -> Array:
        """Return it as an ordinary array of its own, as upstream would have padded it."""
        padded = np.zeros(self.shape)
        for there, here, block in self._parts():
            padded[there] = block[here]
        return padded if self._sign == 1 else self._sign * padded

    def add_to(self, total: Array) -> None:
        """Add it to an ordinary array of the same shape, in place; the array must have no -0.0."""
        for there, here, block in self._parts():
            if self._sign == 1:
                total[there] += block[here]
            else:
                total[there] -= block[here]

    def _parts(self) -> list[tuple[Any, Any, Array]]:
        """Return indices into the whole, indices into the block, and the block, of each piece that is one in both."""
        block = self._source() if callable(self._source) else self._source
        if self._order == 1:
            return [(there, here, block) for there, here in self._frame.places(self._basis, per_atom=1)]
        places = self._frame.places(self._basis, per_atom=3)
        return [((down, across), (d, a), block) for down, d in places for across, a in places]

    def _times(self, sign: int) -> Padded:
        if sign == 1:
            return self
        return Padded(self._frame, self._source, self._basis, order=self._order, sign=sign * self._sign)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "__call__" and not kwargs and len(inputs) == 2:  # noqa: PLR2004
            left, right = inputs
            if ufunc is np.multiply and right is self and type(left) is int and left in (1, -1):
                return self._times(left)
            if ufunc is np.add and right is self:
                if type(left) is int and left == 0:
                    left = np.zeros(self.shape).view(_Sum)
                if type(left) is _Sum:
                    self.add_to(left.plain)
                    return left
        return _plainly(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return func(*_plain(args), **_plain(kwargs))

    def __array_finalize__(self, made_from: object) -> None:
        if isinstance(made_from, Padded):
            raise TypeError("a padded array has no elements of its own; take its dense()")

    def __getitem__(self, where: Any) -> Any:
        """Return what the dense array has there."""
        return self.dense()[where]

    def copy(self, order: Any = "C") -> Any:
        """Return the dense array."""
        return self.dense().copy(order)

    def tolist(self) -> Any:
        """Return the dense array as nested lists."""
        return self.dense().tolist()


class _Sum(np.ndarray[Any, np.dtype[np.float64]]):
    """A sum that goes on: only `sum` holds it while `Padded` arrays are added in place; an ordinary array to others."""

    @property
    def plain(self) -> Array:
        return self.view(np.ndarray)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if any(isinstance(each, Padded) for each in inputs):
            return NotImplemented
        return _plainly(ufunc, method, inputs, kwargs)


def plain(value: Any) -> Any:
    """Return a value as upstream would have it: an ordinary array for one of this module's, all else as it is."""
    if isinstance(value, Padded):
        return value.dense()
    return value.plain if isinstance(value, _Sum) else value


def _plain(value: Any) -> Any:
    """Return what is `plain` in a value and the lists, tuples and mappings that it is made of."""
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value))
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return plain(value)


def _plainly(ufunc: np.ufunc, method: str, inputs: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    return getattr(ufunc, method)(*map(plain, inputs), **_plain(dict(kwargs)))
