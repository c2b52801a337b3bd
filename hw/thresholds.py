"""Thresholds: requantization by comparing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bittern.hw.ints import Ints
from bittern.hw.requant import Requant

if TYPE_CHECKING:
    from amaranth.lib import wiring

__all__ = ["Thresholds"]


@dataclass(frozen=True, eq=False)
class Thresholds(Requant):
    """``y = lo + sum(values[channel] <= acc)``: any non-decreasing function of integers.

    Parameters
    ----------
    values : array ``(channels or 1, n)``
        Ascending (equal ones allowed) thresholds of each channel.
    lo : int
        The result below all thresholds.
    """

    values: Ints
    lo: int

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or (np.diff(self.values, axis=1) < 0).any():
            raise ValueError("thresholds must ascend along the last of two axes")

    @property
    def hi(self) -> int:  # type: ignore[override]
        """The result above all thresholds."""
        return self.lo + self.values.shape[1]

    @property
    def channels(self) -> int:
        return len(self.values)

    def __call__(self, acc: Ints) -> Ints:
        if self.channels == 1:
            return self.lo + np.searchsorted(self.values[0], acc, side="right")
        y = [np.searchsorted(v, acc[..., c], side="right") for c, v in enumerate(self.values)]
        return self.lo + np.stack(y, axis=-1)

    def latency(self) -> int:
        return 0

    def component(self, lo: int, hi: int, *, features: int, pe: int) -> wiring.Component:
        raise NotImplementedError
