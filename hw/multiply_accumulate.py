"""Multiply-accumulate: sums of products over many cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.accumulator import Accumulator
from bittern.hw.ints import shape_of
from bittern.hw.operators.packed_product import Packing
from bittern.hw.operators.product import Product, bounds_of
from bittern.hw.pipeline import Stages

if TYPE_CHECKING:
    from amaranth import Value

__all__ = ["MultiplyAccumulate", "PackedMultiplyAccumulate"]


class MultiplyAccumulate(wiring.Component):
    """Sum of products since the last `clear`, in LUTs: ``o = a * b if clear else o + a * b``.

    Takes a pair of factors in every cycle and never stops. The product is made in rows of adders
    with a register after each level. Latency :attr:`latency`: the sum with the product of cycle t
    is on ``o`` in cycle ``t + latency``.

    Parameters
    ----------
    a, b : Shape
        Of 1 to 16 bits each.
    terms : int
        The most products between clears: the sum has the bits that so many need.
    chunk : int, optional
        Bits that the accumulator adds in one cycle; by default all.

    Members
    -------
    a, b : ``In(a)``, ``In(b)``
    clear : ``In(1)``
        Whether the sum starts with this product.
    o : ``Out(shape_of(*bounds))``
    """

    a: Signal
    b: Signal
    clear: Signal
    o: Signal

    def __init__(self, a: Shape, b: Shape, *, terms: int, chunk: int | None = None) -> None:
        self.product = Product(a, b, registers=True)
        ends = [x * y for x in bounds_of(a) for y in bounds_of(b)]
        self.accumulator = Accumulator((min(ends), max(ends)), terms=terms, chunk=chunk)
        super().__init__({"a": In(a), "b": In(b), "clear": In(1),
                          "o": Out(self.accumulator.o.shape())})

    @property
    def latency(self) -> int:
        """Cycles from factors to the sum with their product."""
        return self.product.latency + self.accumulator.latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.accumulator = acc = self.accumulator
        stages = Stages(m)
        product, = self.product.gates(stages, self.a, self.b)
        clear: Value = self.clear
        for k in range(stages.latency):
            clear, = Stages(m).stage([clear], f"clear_{k}")
        m.d.comb += [acc.i.eq(product), acc.clear.eq(clear), self.o.eq(acc.o)]
        return m


class PackedMultiplyAccumulate(wiring.Component):
    """Two sums of products by one multiplier: ``o_k = w_k * x if clear else o_k + w_k * x``.

    Takes a word of two weights and an activation in every cycle and never stops. Products overlap
    in the multiplier where they have more bits than it has room, see `Packing`. Latency
    :attr:`latency`: the sums with the products of cycle t are on ``o0`` and ``o1`` in cycle
    ``t + latency``.

    Parameters
    ----------
    weight, x : tuple[int, int]
        Bounds of a weight and of the activation. Of 8-bit weights without -128 and 9-bit
        activations two share a multiplier of 18 bits.
    terms : int
        The most products between clears: the sums have the bits that so many need.

    Members
    -------
    word : ``In(packing.word)``
        What ``packing.pack(w0, w1)`` makes of two weights; other words give wrong sums.
    x : ``In(shape_of(*x))``
    clear : ``In(1)``
        Whether the sums start with these products.
    o0, o1 : ``Out(shape_of(*bounds))``
    """

    word: Signal
    x: Signal
    clear: Signal
    o0: Signal
    o1: Signal

    def __init__(self, weight: tuple[int, int], x: tuple[int, int], *, terms: int) -> None:
        self.packing = Packing(2, weight, x)
        if self.packing.spacing < (bits := shape_of(*weight).width):
            raise ValueError(f"weight must have at most {self.packing.spacing} bits for x in {x}, "
                             f"not {bits}")
        ends = [p * q for p in weight for q in x]
        self.accumulators = [Accumulator((min(ends), max(ends)), terms=terms) for _ in range(2)]
        acc = self.accumulators[0].o.shape()
        super().__init__({"word": In(self.packing.word), "x": In(shape_of(*x)), "clear": In(1),
                          "o0": Out(acc), "o1": Out(acc)})

    @property
    def latency(self) -> int:
        """Cycles from factors to the sums with their products."""
        return self._levels + 3

    @property
    def _levels(self) -> int:
        """Registers up to the product: at least two, and one for each level of the overlap."""
        if not self.packing.overlap:
            return 2
        rows = self.packing.overlap + (self.packing.weight[0] < 0)
        return max((rows - 1).bit_length(), 2)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stages = Stages(m)
        packing = self.packing
        lows = []
        if packing.overlap:
            # where the lower weight is negative, the word has the upper one less 1
            below = self.word[packing.spacing - 1] if packing.weight[0] < 0 else None
            lows.append(packing.low(Stages(m), self.word[packing.spacing:], self.x, "low",
                                    carry=below, registers=True))
        word: Value = self.word
        x: Value = self.x
        clear: Value = self.clear
        for k in range(self._levels - 1):
            # the last ones become part of the multiplier
            word, x, clear = stages.stage([word, x, clear], f"factors_{k}")
        product, clear = stages.stage([word * x, clear], "product")
        results = packing.unpack(stages, product, lows, registers=True)
        for k in range(self._levels, stages.latency):
            clear, = Stages(m).stage([clear], f"clear_{k}")
        for k, (acc, result) in enumerate(zip(self.accumulators, results, strict=True)):
            m.submodules[f"accumulator_{k}"] = acc
            m.d.comb += [acc.i.eq(result), acc.clear.eq(clear), getattr(self, f"o{k}").eq(acc.o)]
        return m
