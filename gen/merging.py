"""Cost of merging two streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bittern.gen.cost import Cost
from bittern.hw.family import Family

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Shape

    from bittern.hw.merge import Merge

__all__ = ["merge_cost"]


def merge_cost(spec: Merge, a: Shape, b: Shape, pe: int, *,
               families: Sequence[Family] = (Family.ICE40, Family.ECP5)) -> Cost:
    """Estimate `pe` lanes that merge elements of shapes `a` and `b`, as the mean of `families`."""
    stages = spec.draft(a, b)
    lut = round(sum(spec.lut4(a, b, family) for family in families) / len(families))
    return Cost(pe * lut + 4, pe * stages.ff + stages.latency, bare=pe * max(stages.ff - lut, 0))
