"""Turns: parameters that are others for the next frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from amaranth import Mux, Signal

if TYPE_CHECKING:
    from amaranth import Module, Value

__all__ = ["ONCE", "Turns"]


@dataclass(frozen=True)
class Turns:
    """Sets of parameters that take turns: each is for a frame of so many vectors.

    Parameters
    ----------
    count : int
        Sets there are. If it is 1, `vectors` does not matter.
    vectors : int
        Vectors of a frame. Each needs the whole set.
    """

    count: int = 1
    vectors: int = 1

    def address(self, m: Module, step: Value, words: int, name: str) -> Value:
        """Return where to read, a register: each `step` is to the next of the `words` of a set."""
        at = Signal(range(self.count * words), name=name)
        if self.count == 1:
            with m.If(step):
                m.d.sync += at.eq(Mux(at == words - 1, 0, at + 1))
            return at
        word = Signal(range(words), name=f"{name}_word")
        vector = Signal(range(self.vectors), name=f"{name}_vector")
        ends, over = word == words - 1, vector == self.vectors - 1
        with m.If(step):
            m.d.sync += [word.eq(Mux(ends, 0, word + 1)),
                         at.eq(Mux((at == self.count * words - 1) & over, 0,
                                   at + Mux(ends & ~over, 1 - words, 1)))]
            with m.If(ends):
                m.d.sync += vector.eq(Mux(over, 0, vector + 1))
        return at


ONCE = Turns()
"""The same parameters for all frames."""
