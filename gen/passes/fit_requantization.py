"""Pass: find the cheapest hardware that computes each requantization exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.layers.requantize import Requantize
from bittern.hw.ints import Ints
from bittern.hw.scale import Rounding, Scale
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from bittern.gen.ir import Graph
    from bittern.hw.requant import Requant

__all__ = ["fit", "fit_requantization"]

SHIFTS = 32
"""Bits of a fraction that are tried."""
MULTIPLIERS = 256
"""Multipliers of a channel that are tried for each shift."""
SEARCHED_BITS = 3
"""Results of at most so many bits are searched for in thresholds rather than multiplied."""


def fit_requantization(graph: Graph) -> Graph:
    """Replace thresholds by a shift where that is the same function, else by a multiplication."""
    types = graph.types()
    nodes = []
    for node in graph.nodes:
        if isinstance(node.layer, Requantize) and isinstance(node.layer.spec, Thresholds):
            edge = types[node.inputs[0]]
            nodes.append(replace(node, layer=Requantize(fit(node.layer.spec, edge.lo, edge.hi))))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def fit(spec: Thresholds, lo: int, hi: int) -> Requant:
    """Return the cheapest function equal to `spec` for accumulators in ``lo..hi``."""
    if spec.values.shape[1] == 1:
        return spec
    corners = [_Corners.of(spec, c, lo, hi) for c in range(spec.channels)]
    for shift in range(SHIFTS):
        for rounding in (Rounding.FLOOR, Rounding.HALF_EVEN):
            if found := _proved(spec, corners, [c.offset(shift, rounding) for c in corners],
                                shift, rounding):
                return found
    if spec.bits <= SEARCHED_BITS:
        return spec
    for shift in range(SHIFTS):
        scales = []
        for c in corners:
            scales.append(c.scale(shift))
            if scales[-1] is None:
                break
        if found := _proved(spec, corners, scales, shift, Rounding.FLOOR):
            return found
    return spec


@dataclass(frozen=True)
class _Corners:
    """The accumulators of one channel where its function changes, and what it gives there.

    A non-decreasing function that gives the same at all of these gives the same everywhere between.
    """

    acc: Ints
    y: Ints
    lo: int
    hi: int

    @classmethod
    def of(cls, spec: Thresholds, channel: int, lo: int, hi: int) -> _Corners:
        t = spec.values[channel]
        acc = np.unique(np.concatenate([t, t - 1, [lo, hi]]).clip(lo, hi))
        return cls(acc, spec.lo + np.searchsorted(t, acc, side="right"), *spec.bounds)

    def offset(self, shift: int, rounding: Rounding) -> tuple[int, int] | None:
        """Return multiplier 1 and a bias that may do, or None."""
        if rounding is Rounding.FLOOR:
            return self._bias(1, shift)
        rises = np.flatnonzero(np.diff(self.y))
        if not len(rises):
            return None
        y = int(self.y[rises[0] + 1])
        # the least y of this value: a tie goes to it if it is even
        return 1, (y << shift) - ((1 << shift) >> 1) + y % 2 - int(self.acc[rises[0] + 1])

    def scale(self, shift: int) -> tuple[int, int] | None:
        """Return the least multiplier, and a bias, or None."""
        if self.y[0] == self.y[-1]:
            return self._bias(0, shift)
        # from before the first rise to the last one, the rise is known but for the fractions
        reach = int(self.acc[np.argmax(self.y == self.y[-1])] - self.acc[self.y == self.y[0]][-1])
        rise = int(self.y[-1] - self.y[0])
        least = -(-(((rise - 1) << shift) + 1) // reach)
        for multiplier in range(least, least + MULTIPLIERS):
            if found := self._bias(multiplier, shift):
                return found
        return None

    def _bias(self, multiplier: int, shift: int) -> tuple[int, int] | None:
        """Return `multiplier` and the least bias with which the floor is right at all corners."""
        scaled = self.acc * multiplier
        at_least = ((self.y << shift) - scaled)[self.y > self.lo]
        at_most = (((self.y + 1) << shift) - 1 - scaled)[self.y < self.hi]
        low = int(at_least.max()) if len(at_least) else int(at_most.min())
        return (multiplier, low) if not len(at_most) or low <= at_most.min() else None


def _proved(spec: Thresholds, corners: list[_Corners], scales: list[tuple[int, int] | None],
            shift: int, rounding: Rounding) -> Scale | None:
    """Return the scale if it is there for all channels and right at all corners."""
    if None in scales:
        return None
    multiplier, bias = (np.array(v, dtype=np.int64) for v in zip(*scales, strict=True))
    for c, m, b in zip(corners, multiplier, bias, strict=True):
        one = Scale(np.array([m]), np.array([b]), shift, *spec.bounds, rounding)
        if not np.array_equal(one(c.acc), c.y):
            return None
    return Scale(multiplier, bias, shift, *spec.bounds, rounding)
