"""Stochastic rounding, with the random bits of a shift register."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from amaranth import Cat, Const, Module, Mux, Shape, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import Ints, shape_of
from bittern.hw.saturation import limits

if TYPE_CHECKING:
    from amaranth.hdl import ValueLike

__all__ = ["LFSR", "StochasticRounder"]

TAPS = {8: 0xB8, 16: 0xB400, 32: 0xA3000000}
"""Of each width, the polynomial of maximal length without its constant term."""


@dataclass(frozen=True)
class LFSR:
    """Linear feedback shift register of maximal length, in Galois form.

    A step shifts right; where a one falls out, the taps are inverted. It passes all integers but 0
    before it comes back. The polynomials are x^8 + x^6 + x^5 + x^4 + 1, x^16 + x^14 + x^13 + x^11
    + 1 and x^32 + x^30 + x^26 + x^25 + 1. Source: P. Alfke, Xilinx XAPP 052, 1996.

    Parameters
    ----------
    width : int
        8, 16 or 32.
    seed : int
        The first state, of ``1..2**width - 1``.
    """

    width: int
    seed: int = 1

    def __post_init__(self) -> None:
        if self.width not in TAPS:
            raise ValueError(f"width must be one of {[*TAPS]}, not {self.width}")
        if not 1 <= self.seed < 1 << self.width:
            raise ValueError(f"seed must be in 1..{(1 << self.width) - 1}, not {self.seed}")

    def sequence(self, n: int) -> Ints:
        """Return the first `n` states."""
        states = np.empty(n, dtype=np.int64)
        state = self.seed
        for k in range(n):
            states[k] = state
            state = state >> 1 ^ (TAPS[self.width] if state & 1 else 0)
        return states

    def gates(self, state: Signal) -> ValueLike:
        """Return the state after `state`."""
        taps = Const(TAPS[self.width], self.width)
        return Cat(state[1:], Const(0, 1)) ^ Mux(state[0], taps, 0)


class StochasticRounder(wiring.Component):
    """``y = floor((x + r) / 2**shift)`` with a random ``r`` of ``0..2**shift - 1``.

    So that a fraction is rounded up as often as it is large. Transfer k of the stream takes the
    low `shift` bits of state k of the register, however the stream stalls. A transfer a cycle,
    latency 0; ``ready`` and ``valid`` pass combinationally.

    Source: Gupta et al. 2015, arXiv:1502.02551.

    Parameters
    ----------
    shape : Shape
        Of ``x``.
    shift : int
        Of 1 up to the widths of `shape` and of `random`.
    random : LFSR

    Members
    -------
    i : ``In(stream.Signature(shape))``
    o : ``Out(stream.Signature(…))``
    """

    i: stream.Interface
    o: stream.Interface

    latency = 0

    def __init__(self, shape: Shape, shift: int, random: LFSR) -> None:
        if not 1 <= shift <= (most := min(shape.width, random.width)):
            raise ValueError(f"shift must be in 1..{most}, not {shift}")
        self.shape, self.shift, self.random = shape, shift, random
        lo, hi = limits(shape)
        result = shape_of(lo >> shift, (hi + (1 << shift) - 1) >> shift)
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(result))})

    def golden(self, x: Ints) -> Ints:
        """Return what becomes of a whole stream, from the reset on."""
        r = self.random.sequence(len(x)) & (1 << self.shift) - 1
        return (x + r) >> self.shift

    def elaborate(self, platform: object) -> Module:
        m = Module()
        state = Signal(self.random.width, init=self.random.seed)
        m.d.comb += [self.i.ready.eq(self.o.ready), self.o.valid.eq(self.i.valid),
                     self.o.payload.eq((self.i.payload + state[:self.shift]) >> self.shift)]
        with m.If(self.i.valid & self.o.ready):
            m.d.sync += state.eq(self.random.gates(state))
        return m
