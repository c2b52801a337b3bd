"""Pass: find the cheapest hardware that computes each requantization exactly."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from bittern.gen.ir import Fold, Tensor
from bittern.gen.layers.add import Add
from bittern.gen.layers.multiply import Multiply
from bittern.gen.layers.requantize import Requantize
from bittern.gen.lines import INFINITE, Corners, Domain
from bittern.hw.ints import width_of
from bittern.hw.quotient import Quotient
from bittern.hw.scale import Rounding, Scale
from bittern.hw.table import Table
from bittern.hw.thresholds import Thresholds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.gen.ir import Graph
    from bittern.gen.lines import Slopes
    from bittern.hw.ints import Ints
    from bittern.hw.requant import Requant

__all__ = ["fit", "fit_requantization"]

SHIFTS = 32
"""Bits that are shifted off, at most."""
FRACTION = 24
"""Bits of a fraction, at most."""
DIVISORS = 16
"""Divisors of a channel that are tried for each fraction."""
PIVOTS = 16
"""Places of a kink that are tried."""
STEPS = 1 << 20
"""Steps of functions that are looked at together: memory for them is limited."""
PAIRS = 1 << 18
"""Pairs of integers of which the sums are listed, at most."""
ENTRIES = 512
"""Accumulators of a table, at most."""
BITS = 16
"""Bits of memory that weigh as much as a LUT."""


def fit_requantization(graph: Graph) -> Graph:
    """Replace thresholds by the cheapest that is the same: a shift, a quotient, or a table."""
    types, nodes = graph.types(), []
    for node in graph.nodes:
        if isinstance(node.layer, Requantize) and isinstance(node.layer.spec, Thresholds):
            spec = fit(node.layer.spec, _domain(graph, types, node.inputs[0]))
            nodes.append(replace(node, layer=Requantize(spec)))
        else:
            nodes.append(node)
    return replace(graph, nodes=tuple(nodes))


def _domain(graph: Graph, types: dict[str, Tensor], edge: str) -> Domain:
    """Return what accumulators there can be: not all are sums of two tensors."""
    for node in graph.nodes:
        if node.name == edge and isinstance(node.layer, Add | Multiply):
            xs = [types[i] for i in node.inputs]
            if prod(x.hi - x.lo + 1 for x in xs) <= PAIRS:
                x0, x1 = (np.arange(x.lo, x.hi + 1) for x in xs)
                sums = np.unique(node.layer.golden(x0[:, np.newaxis], x1))
                return Domain(int(sums[0]), int(sums[-1]), sums)
    return Domain(types[edge].lo, types[edge].hi)


def fit(spec: Thresholds, domain: Domain) -> Requant:
    """Return the cheapest function equal to `spec` in `domain`."""
    if spec.values.shape[1] < 2:
        return spec
    corners = Corners.of(spec, domain)
    same = spec if spec.channels == len(corners.first) else Thresholds(corners.first, spec.lo)
    slopes = corners.slopes()
    if (shift := _shift(corners, slopes, spec.bounds)) and _equal(shift, same, corners, domain):
        return shift
    found = [same, _table(same, domain), _quotient(corners, slopes, spec.bounds, domain)]
    return min((one for one in found if one and _equal(one, same, corners, domain)),
               key=lambda one: _weight(one, domain))


def _weight(spec: Requant, domain: Domain) -> float:
    cost = Requantize(spec).cost(Fold(), Tensor((spec.channels,), domain.lo, domain.hi))
    return cost.lut4 + sum(depth * width for depth, width in cost.memories) / BITS


def _equal(found: Requant, spec: Thresholds, corners: Corners, domain: Domain) -> bool:
    """Compare functions on both sides of each step: between, neither of them falls."""
    # at a pivot it might: there another line starts
    pivot = np.full((len(corners.first), 1), getattr(found, "pivot", domain.lo))
    acc = np.concatenate([corners.first, corners.last, domain.first(pivot), domain.last(pivot)],
                         axis=1).clip(domain.lo, domain.hi).T
    return np.array_equal(found(acc), spec(acc))


def _shift(corners: Corners, slopes: Slopes, bounds: tuple[int, int]) -> Scale | None:
    ones = np.ones(len(corners.first), dtype=np.int64)
    for shift in range(SHIFTS):
        if slopes.have(1, 1 << shift):
            low, high, *_ = corners.biases(ones, ones << shift)
            return Scale(ones, _finite(low, high), shift, *bounds)
    # where ties go to even results, every second step is that of another line
    inner = corners.reached & corners.missed
    at = np.flatnonzero(inner.sum(axis=1) > 2)
    if not len(at) or not inner.any(axis=1).all():
        return None
    x = corners.first[at[0], inner[at[0]]]
    shift = int(x[2] - x[0]).bit_length() - 2
    if shift < 1 or x[2] - x[0] != 2 << shift:
        return None
    first = inner.argmax(axis=1)
    y = corners.y[first]
    bias = (y << shift) - (1 << shift - 1) + y % 2 - corners.first[np.arange(len(first)), first]
    return Scale(ones, bias, shift, *bounds, Rounding.HALF_EVEN)


def _table(spec: Thresholds, domain: Domain) -> Table | None:
    if domain.hi - domain.lo >= ENTRIES:
        return None
    acc = np.arange(domain.lo, domain.hi + 1)[:, np.newaxis].repeat(spec.channels, axis=1)
    return Table(spec(acc).T, domain.lo)


def _quotient(corners: Corners, slopes: Slopes, bounds: tuple[int, int], domain: Domain
              ) -> Quotient | None:
    bits = width_of(*bounds)
    if bounds[0] >= 0: # the first digit of the quotient is its sign
        corners = replace(corners, y=corners.y - (1 << bits - 1))
    parts: Sequence[Corners] = [corners]
    pivot = 0
    if not slopes.exist.all():
        for pivot in _pivots(corners, int(slopes.exist.argmin()), domain):
            parts = corners.split(pivot, int(domain.last(np.array(pivot))))
            slopes = parts[0].slopes().meet(parts[1].slopes())
            if slopes.exist.all():
                break
        else:
            return None
    room = INFINITE.bit_length() - 2 - bits - width_of(domain.lo, domain.hi)
    for shift in range(min(FRACTION, room)):
        if found := _divide(parts, slopes, shift, bits):
            return Quotient(*found, shift, *bounds, pivot)
    return None


def _pivots(corners: Corners, row: int, domain: Domain) -> list[int]:
    """Return where the function of a row may be the end of one line and the start of another.

    Such places are between two steps; of each gap, the roundest number.
    """
    first, last, count = corners.first[row], corners.last[row], len(corners.y)

    def lines(cuts: Sequence[int], *, above: bool) -> Slopes:
        """Return the slopes of the steps up to each cut, or of those after it."""
        part = (np.arange(count) > np.array(cuts)[:, np.newaxis]) == above
        return Corners(corners.y, np.tile(first, (len(cuts), 1)), np.tile(last, (len(cuts), 1)),
                       corners.reached[row] & part, corners.missed[row] & part).slopes()

    # fewer steps are easier: only between two cuts both sides are lines
    cuts = range(count - 1)
    cuts = cuts[bisect_left(cuts, 1, key=lambda k: int(lines([k], above=True).exist[0])):
                bisect_left(cuts, 1, key=lambda k: 1 - int(lines([k], above=False).exist[0]))]
    gaps: list[int] = []
    at_once = max(STEPS // count, 1)
    for some in (cuts[k:k + at_once] for k in range(0, len(cuts), at_once)):
        both = lines(some, above=False).meet(lines(some, above=True)).exist
        gaps += [k for k in np.array(some)[both] if first[k] < last[k + 1]]
    found = [domain.roundest(int(first[k]) + 1, int(last[k + 1])) for k in gaps]
    return sorted(found, key=lambda p: (p & -p) or INFINITE, reverse=True)[:PIVOTS]


def _divide(parts: Sequence[Corners], slopes: Slopes, shift: int, bits: int
            ) -> tuple[Ints, Ints] | None:
    """Return divisors and biases of so many bits of fraction, or None where there are none."""
    p0, q0, p1, q1 = slopes
    ones = 1 << shift + bits - 1
    least = q1 * ones // p1 + 1
    most = np.where(p0 > 0, -(-q0 * ones // p0.clip(1)) - 1, INFINITE)
    most = most.clip(max=(1 << int(least.max()).bit_length()) - 1)
    if (least > most).any():
        return None
    divisor, slack = least, np.full(len(least), -1)
    bias = np.zeros((len(least), len(parts)), dtype=np.int64)
    for k in range(DIVISORS):
        tried = least + (most - least) * k // (DIVISORS - 1)
        ends = [part.biases(np.full(len(least), ones), tried)[:2] for part in parts]
        lows = np.stack([-(-low >> bits - 1) for low, _ in ends], axis=1)
        highs = np.stack([high >> bits - 1 for _, high in ends], axis=1)
        room = (highs - lows).min(axis=1)
        better = room > slack
        slack = np.where(better, room, slack)
        divisor = np.where(better, tried, divisor)
        bias = np.where(better[:, np.newaxis], _finite(lows, highs), bias)
    return (divisor, bias) if (slack >= 0).all() else None


def _finite(low: Ints, high: Ints) -> Ints:
    """Return the least bias, or where there is no least, the greatest, or 0."""
    far = INFINITE >> SHIFTS
    return np.where(low > -far, low, np.where(high < far, high, 0))
