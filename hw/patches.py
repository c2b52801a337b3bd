"""Patches: which elements of a map each window sees."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bittern.hw.ints import Ints, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Axis", "Patches"]


@dataclass(frozen=True)
class Axis:
    """Windows along one axis of a map.

    Window k sees the positions ``k * stride - before + j * dilation`` for j below `kernel`. Without
    `zoom` a position is that of an element; beyond the first and the last one there is filling.

    Parameters
    ----------
    size : int
        Elements of the map.
    kernel, stride, dilation : int
    before, after : int
        Positions of filling in front and behind; negative ones leave so many elements out.
    zoom : int
        Positions that an element has, one after the other…
    gaps : bool
        …or, if true, positions from an element to the next, with filling between them.
    """

    size: int
    kernel: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1
    zoom: int = 1
    gaps: bool = False

    def __post_init__(self) -> None:
        for name in ("size", "kernel", "stride", "dilation", "zoom"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.outputs < 1:
            raise ValueError(f"a window of {self.reach} does not fit in {self.size} elements "
                             f"with {self.before} and {self.after} of filling")

    @property
    def reach(self) -> int:
        """Positions from the first of a window to its last, both included."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def positions(self) -> int:
        """Positions from the first element's to the last one's."""
        return (self.size - 1) * self.zoom + (1 if self.gaps else self.zoom)

    @property
    def outputs(self) -> int:
        """Windows there are."""
        return (self.positions + self.before + self.after - self.reach) // self.stride + 1

    @cached_property
    def elements(self) -> Ints:
        """Which element each window sees where, ``(outputs, kernel)``; -1 is filling."""
        at = (np.arange(self.outputs)[:, None] * self.stride - self.before
              + np.arange(self.kernel) * self.dilation)
        seen = (at >= 0) & (at < self.positions)
        if self.gaps:
            seen &= at % self.zoom == 0
        return frozen(np.where(seen, at // self.zoom, -1))


@dataclass(frozen=True)
class Patches:
    """Windows on a map ``(rows, columns, channels)``, in raster order.

    Parameters
    ----------
    rows, columns : Axis
    fill : int
        What is seen beyond the map, and in its gaps.
    """

    rows: Axis
    columns: Axis
    fill: int = 0

    @property
    def taps(self) -> int:
        """Elements of a channel that a window sees."""
        return self.rows.kernel * self.columns.kernel

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of windows."""
        return self.rows.outputs, self.columns.outputs

    @property
    def is_filled(self) -> bool:
        """Whether any window sees filling."""
        return bool((self.rows.elements < 0).any() or (self.columns.elements < 0).any())

    def range(self, lo: int, hi: int) -> tuple[int, int]:
        """Return the range of what is seen on a map with elements in ``lo..hi``."""
        return (min(lo, self.fill), max(hi, self.fill)) if self.is_filled else (lo, hi)

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise :exc:`ValueError` unless `shape` is that of such a map."""
        if len(shape) != 3 or shape[:2] != (self.rows.size, self.columns.size):
            raise ValueError(f"takes maps of {self.rows.size} rows and {self.columns.size} columns "
                             f"with channels, not a tensor of shape {shape}")

    def each_tap(self, x: Ints) -> Iterator[Ints]:
        """Yield what all windows on maps ``(n, rows, columns, channels)`` see at each tap."""
        padded = np.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=self.fill)
        for rows in self.rows.elements.T:
            across = padded[:, rows]
            for columns in self.columns.elements.T:
                yield across[:, :, columns]

    def __call__(self, x: Ints) -> Ints:
        """Return what windows see: ``(n, *shape, rows.kernel, columns.kernel, channels)``."""
        kernel = self.rows.kernel, self.columns.kernel
        taps = np.stack([*self.each_tap(x)], axis=3)
        return taps.reshape(*taps.shape[:3], *kernel, taps.shape[-1])
