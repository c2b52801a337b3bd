# amaranth: UnusedElaboratable=no
"""Convolution of each channel by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Module, Shape, Signal, Value
from amaranth.lib.wiring import connect, flipped

from bittern.hw.credit import store_of
from bittern.hw.folded_sums import FoldedSums, products_of, tree_of
from bittern.hw.ints import Ints, shape_of
from bittern.hw.pipeline import Stages
from bittern.hw.stream import Queue, lanes
from bittern.hw.turns import ONCE
from bittern.hw.window import READ, WindowReader

if TYPE_CHECKING:
    from bittern.hw.formats.format import Format, Term
    from bittern.hw.patches import Patches
    from bittern.hw.turns import Turns

__all__ = ["DepthwiseUnit", "depthwise_delay_of"]


def depthwise_delay_of(fmt: Format, x_width: int, *, absorbs: bool = False) -> int:
    """Return the cycles from a step to its sum: reader, inputs, products, tree, accumulator."""
    return (READ + 2 + products_of(fmt, x_width).latency
            + tree_of(fmt, x_width, 1, absorbs=absorbs).latency)


class DepthwiseUnit(FoldedSums):
    """Sums over windows, each channel with weights of its own: a tap of `simd` channels a cycle.

    ``o[…, c * m + k] = sum(weights[c * m + k, t] * seen[…, t, c]) + bias[c * m + k]``, exactly, for
    m outputs of each channel. See :class:`FoldedSums` and
    :class:`~bittern.hw.window.WindowReader`.

    Parameters
    ----------
    patches : Patches
    weights : array ``(turns * outputs, taps)``
    bias : array ``(turns * outputs,)``
    fmt : Format
        Holds all of `weights`.
    x : Shape
        Of an element of the map.
    lo, hi : int
        Bounds of the results.
    channels : int
        They divide the outputs.
    simd : int
        Channels of a transfer; they divide the channels.
    block, absorbs, turns, loads
        As of :class:`FoldedSums`.
    one_port : bool
        As of :class:`~bittern.hw.window.WindowReader`.

    Members
    -------
    i : ``In(lanes(x, simd))``
    o : ``Out(lanes(shape_of(lo, hi), simd * m))``
    load, loaded
        As of :class:`~bittern.hw.loaded_memory.LoadedMemory`, if the unit loads.
    """

    fmt: Format

    def __init__(self, patches: Patches, weights: Ints, bias: Ints, fmt: Format, *, x: Shape,
                 lo: int, hi: int, channels: int, simd: int, block: bool = True,
                 absorbs: bool = False, turns: Turns = ONCE, loads: bool = False,
                 one_port: bool = False) -> None:
        outputs, taps = len(weights) // turns.count, weights.shape[1]
        self.reader = WindowReader(patches, x, channels=channels, lanes=simd, by_channel=True,
                                   one_port=one_port)
        self.fmt, self.x, self.block, self.absorbs = fmt, self.reader.seen, block, absorbs
        codes = fmt.encode(weights)
        constant = bias + fmt.correction(codes, self.x.width).sum(axis=1)
        if self.x.signed:
            constant -= weights.sum(axis=1) << (self.x.width - 1)
        groups = turns.count * (channels // simd)
        self.turns, self.loads = turns, loads
        self.simd, self.each = simd, outputs // channels
        self.codes = codes.reshape(groups, -1, taps).swapaxes(1, 2)
        self.bias = np.asarray(constant).reshape(groups, -1)
        self.acc = shape_of(lo, hi)
        super().__init__(self._ports(lanes(x, simd), lanes(self.acc, simd * self.each)))

    @property
    def delay(self) -> int:
        """Cycles from a step to its sum."""
        return depthwise_delay_of(self.fmt, self.x.width, absorbs=self.absorbs)

    @property
    def store(self) -> int:
        return store_of(self.delay, self.in_folds)

    @property
    def latency(self) -> int:
        """Cycles from a step to its sum on ``o``."""
        return self.delay + Queue.latency_of(self.store)

    def _feed(self, m: Module, may: Value, promised: Value
              ) -> tuple[list[Value], list[Value], Value]:
        m.submodules.reader = reader = self.reader
        connect(m, flipped(self.i), reader.i)
        m.d.comb += [reader.may.eq(may), promised.eq(reader.last)]
        codes, _ = self._codes(m, reader.valid) # the first ones come before what is read
        x, valid = Signal(len(reader.o), name="x", reset_less=True), Signal()
        m.d.sync += [x.eq(reader.o), valid.eq(reader.valid)]
        xs: list[Value] = [x.word_select(k, self.x.width) for k in range(self.simd)]
        if self.x.signed:
            xs = [Cat(v[:-1], ~v[-1]) for v in xs]
        return xs, codes, valid

    def _terms(self, m: Module, x: list[Value], codes: list[Value]) -> list[list[Term]]:
        n = self.each
        return [terms for k, v in enumerate(x) for terms in self.fmt.products(
            Stages(m), codes[k * n:(k + 1) * n], v, f"term_{k}")]
