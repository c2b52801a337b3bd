"""Requantization: what becomes of an accumulator, as a specification."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.hw.ints import Ints

__all__ = ["Requant"]


class Requant(ABC):
    """A non-decreasing function of one integer, the same for all channels or one each.

    Implementations are frozen dataclasses. `lo` and `hi` bound the results.
    """

    lo: int
    hi: int

    @property
    @abstractmethod
    def channels(self) -> int:
        """Functions in it: 1 (the same for every channel) or the number of channels."""

    @abstractmethod
    def __call__(self, acc: Ints) -> Ints:
        """Apply to integers of shape ``(..., channels)``."""

    @abstractmethod
    def latency(self) -> int:
        """Return the cycles from a transfer on ``i`` to its result on ``o``."""

    @abstractmethod
    def component(self, lo: int, hi: int, *, features: int, pe: int) -> wiring.Component:
        """Return the hardware for accumulators in ``lo..hi``, `pe` features in each transfer.

        A frame has `features` values in ``ceil(features / pe)`` transfers; the last may be partly
        filled, and what stands in the lanes beyond is undefined, here and after.
        """
