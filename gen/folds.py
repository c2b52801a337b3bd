"""Folds of layers that treat a vector lane by lane."""

from __future__ import annotations

from math import gcd

from bittern.gen.ir import Fold
from bittern.hw.stream import transfers

__all__ = ["any_lanes", "dividing_lanes", "lane_counts"]


def lane_counts(channels: int) -> list[int]:
    """Return the numbers of lanes: of those that take the same number of transfers, the fewest."""
    return sorted({transfers(channels, transfers(channels, k)) for k in range(1, channels + 1)})


def any_lanes(channels: int) -> list[Fold]:
    """Return the folds for vectors of `channels`, whose last transfer may be partly filled."""
    return [Fold(k, k) for k in lane_counts(channels)]


def dividing_lanes(*channels: int) -> list[Fold]:
    """Return the folds whose lanes divide all of `channels`."""
    n = gcd(*channels)
    return [Fold(k, k) for k in range(1, n + 1) if n % k == 0]
