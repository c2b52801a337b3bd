"""Cost of merging two streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bittern.gen.cost import Cost
from bittern.hw.family import Family

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.hw.merge import Merge

__all__ = ["merge_cost"]


def merge_cost(spec: Merge, a: Shape, b: Shape, pe: int) -> Cost:
    """Estimate `pe` lanes that merge elements of shapes `a` and `b`: LUTs and flip-flops."""
    stages = spec.draft(a, b)
    # the mean of two families: what one adds to its carries takes LUTs of its own on the other
    lut = round((spec.lut4(a, b, Family.ICE40) + spec.lut4(a, b, Family.ECP5)) / 2)
    return Cost(pe * lut + 4, pe * stages.ff + stages.latency, bare=pe * max(stages.ff - lut, 0))
