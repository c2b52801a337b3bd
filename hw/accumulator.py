"""Accumulators: sums over many cycles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import shape_of

if TYPE_CHECKING:
    from amaranth import Value

__all__ = ["Accumulator"]


class Accumulator(wiring.Component):
    """Sum of the terms since the last `clear`: ``o = i if clear else o + i``.

    Takes a term in every cycle and never stops. It adds in chunks: the carry out of a chunk goes
    into the next one a cycle later, which moves a cycle later in all, so the clock is that of an
    adder of `chunk` bits. Latency :attr:`latency`, the number of chunks: the sum with the term of
    cycle t is on ``o`` in cycle ``t + latency``.

    Parameters
    ----------
    x : tuple[int, int]
        Bounds of a term.
    terms : int
        The most terms between clears: the sum has the bits that so many of `x` need.
    chunk : int, optional
        Bits of an adder; by default one adds all.

    Members
    -------
    i : ``In(shape_of(*x))``
    clear : ``In(1)``
        Whether the sum starts with this term.
    o : ``Out(shape_of(terms * x[0], terms * x[1]))``, where `x` is made to contain zero
    """

    i: Signal
    clear: Signal
    o: Signal

    def __init__(self, x: tuple[int, int], *, terms: int, chunk: int | None = None) -> None:
        if x[0] > x[1]:
            raise ValueError(f"x must ascend, not {x}")
        if terms < 1:
            raise ValueError(f"terms must be at least 1, not {terms}")
        acc = shape_of(min(x[0], 0) * terms, max(x[1], 0) * terms)
        if chunk is not None and chunk < 1:
            raise ValueError(f"chunk must be at least 1, not {chunk}")
        self.chunk = acc.width if chunk is None else min(chunk, acc.width)
        super().__init__({"i": In(shape_of(*x)), "clear": In(1), "o": Out(acc)})

    @property
    def latency(self) -> int:
        """Cycles from a term to the sum with it."""
        return -(-len(self.o) // self.chunk)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = len(self.o)
        sign = self.i[-1] if self.i.shape().signed else Const(0, 1)
        rest: Value = Cat(self.i, sign.replicate(width))[:width]
        keep: Value = ~self.clear
        carry: Value | None = None
        done: Value = Cat()
        for k in range(self.latency):
            part, rest = rest[:self.chunk], rest[self.chunk:]
            last = not len(rest)
            acc = Signal(len(part) + (not last), name=f"acc_{k}", reset_less=True)
            old = acc[:len(part)] & keep.replicate(len(part))
            total = old + part if carry is None else old + part + carry
            m.d.sync += acc.eq(total)
            # the chunks above see all a cycle later, and those below wait for them
            held = [Signal.like(v, name=f"{name}_{k}", reset_less=True)
                    for name, v in (("rest", rest), ("keep", keep), ("done", done))]
            m.d.sync += [q.eq(v) for q, v in zip(held, (rest, keep, done), strict=True)]
            rest, keep, done = held
            done = Cat(done, acc[:len(part)])
            carry = acc[-1]
        m.d.comb += self.o.eq(done)
        return m
