"""Cells that sum products over many cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Module, Mux, Shape, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.accumulator import Accumulator
from bittern.hw.multiply_accumulate import MultiplyAccumulate, PackedMultiplyAccumulate
from bittern.hw.operators.dsp_product import DspProduct
from bittern.hw.pipeline import Stages
from points.point import Point

if TYPE_CHECKING:
    from collections.abc import Sequence

TERMS = 255


class NaiveMultiplyAccumulate(wiring.Component):
    """``acc <= a * b + (0 if clear else acc)`` for each `a`, as one would write it."""

    def __init__(self, a: Sequence[Shape], b: Shape, acc: Shape) -> None:
        self.count = len(a)
        super().__init__({**{f"a{k}": In(shape) for k, shape in enumerate(a)}, "b": In(b),
                          "clear": In(1), **{f"o{k}": Out(acc) for k in range(len(a))}})

    def elaborate(self, _platform: object) -> Module:
        """Return the hardware."""
        m = Module()
        for k in range(self.count):
            o: Signal = getattr(self, f"o{k}")
            acc = Signal.like(o, reset_less=True, name=f"acc_{k}")
            m.d.sync += acc.eq(getattr(self, f"a{k}") * self.b + Mux(self.clear, 0, acc))
            m.d.comb += o.eq(acc)
        return m


class Products(wiring.Component):
    """Products beside each other, of which the iCE40 has two in a multiplier."""

    def __init__(self, product: DspProduct, count: int) -> None:
        self.product, self.count = product, count
        ports = {"a": In(product.a), "b": In(product.b), "o": Out(*product.outputs)}
        super().__init__({f"{name}{k}": port for k in range(count)
                          for name, port in ports.items()})

    def elaborate(self, _platform: object) -> Module:
        """Return the hardware."""
        m = Module()
        for k in range(self.count):
            (y,) = self.product.gates(Stages(m), getattr(self, f"a{k}"), getattr(self, f"b{k}"))
            m.d.comb += getattr(self, f"o{k}").eq(y)
        return m


class NaiveAccumulator(wiring.Component):
    """``acc <= i + (0 if clear else acc)``."""

    def __init__(self, i: Shape, acc: Shape) -> None:
        super().__init__({"i": In(i), "clear": In(1), "o": Out(acc)})

    def elaborate(self, _platform: object) -> Module:
        """Return the hardware."""
        m = Module()
        acc = Signal.like(self.o, reset_less=True)
        m.d.sync += acc.eq(self.i + Mux(self.clear, 0, acc))
        m.d.comb += self.o.eq(acc)
        return m


POINTS = [
    Point("Multiply-accumulate in LUTs", f"int8 x int9, {TERMS} terms, 24-bit sum",
          lambda: MultiplyAccumulate(signed(8), signed(9), terms=TERMS),
          lambda: NaiveMultiplyAccumulate([signed(8)], signed(9), signed(24))),
    Point("Multiply-accumulate in LUTs", "int4 x int4, 255 terms, 15-bit sum",
          lambda: MultiplyAccumulate(signed(4), signed(4), terms=TERMS),
          lambda: NaiveMultiplyAccumulate([signed(4)], signed(4), signed(15))),
    Point("Two multiply-accumulates in one DSP", f"int8 x int9, {TERMS} terms, 24-bit sums",
          lambda: PackedMultiplyAccumulate((-127, 127), (-256, 255), terms=TERMS),
          lambda: NaiveMultiplyAccumulate([signed(8)] * 2, signed(9), signed(24)), dsp=True),
    Point("Two multiply-accumulates in one DSP", f"int4 x int8, {TERMS} terms, 19-bit sums",
          lambda: PackedMultiplyAccumulate((-8, 7), (-128, 127), terms=TERMS),
          lambda: NaiveMultiplyAccumulate([signed(4)] * 2, signed(8), signed(19)), dsp=True),
    Point("Products in DSPs", "4 of int8 x int8",
          lambda: Products(DspProduct(signed(8), signed(8)), 4), dsp=True),
    Point("Accumulator", "16-bit terms, 32-bit sum, in one",
          lambda: Accumulator((-1 << 15, (1 << 15) - 1), terms=(1 << 16) - 1),
          lambda: NaiveAccumulator(signed(16), signed(32))),
    Point("Accumulator", "16-bit terms, 32-bit sum, chunks of 8 bits",
          lambda: Accumulator((-1 << 15, (1 << 15) - 1), terms=(1 << 16) - 1, chunk=8),
          lambda: NaiveAccumulator(signed(16), signed(32))),
]
