"""What a number format of weights is."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Signal

from bittern.hw.formats.tile import Term, TileFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["Format", "Term"]


class Format(TileFormat):
    """A way to store integers as codes of `width` bits, and to multiply by what a code stands for.

    A product is made of unsigned terms, so that sums of products need neither sign extension nor
    negation: ``sum(term.value << term.shift) + correction == decode(code) * x`` for unsigned `x`,
    where the terms are ``times(expand(code), x)``. The correction depends on the code only. Codes
    are known when the hardware is made, so a row of weights adds up its corrections into its bias.
    """

    @classmethod
    @abstractmethod
    def find(cls, weights: Ints) -> Self | None:
        """Return the narrowest such format that holds all of `weights`, or None."""

    @abstractmethod
    def decode(self, codes: Ints) -> Ints:
        """Return the integer that each code stands for."""

    @abstractmethod
    def encode(self, weights: Ints) -> Ints:
        """Return the code of each integer; :exc:`ValueError` names one that has none."""

    @abstractmethod
    def correction(self, codes: Ints, x_width: int) -> Ints:
        """Return what the terms of each code lack, for unsigned activations of `x_width` bits."""

    @property
    def operand_width(self) -> int:
        """Bits of an expanded code."""
        return self.width

    def expand(self, code: Value) -> Value:
        """Return the operand that :meth:`times` takes for a stored code, without registers."""
        return code

    @abstractmethod
    def times(self, operand: Value, x: Value) -> list[Term]:
        """Return the terms of the product of unsigned `x` and the integer of an expanded code."""

    def lut4(self, x_width: int) -> int:
        """Estimate the 4-input LUTs of one product up to its terms, before these are added up."""
        terms = self.times(Signal(self.operand_width), Signal(x_width))
        return sum(len(t.value) for t in terms)

    def products(self, stages: Stages, codes: Sequence[Value], x: Value, name: str
                 ) -> list[list[Term]]:
        """Return the terms of the products of `x` and each of `codes`, in registers."""
        operands = [self.expand(code) for code in codes]
        if operands[0] is not codes[0]:
            *operands, x = stages.stage([*operands, x], f"{name}_operand")
        products = [self.times(operand, x) for operand in operands]
        values = iter(stages.stage([t.value for terms in products for t in terms], name))
        return [[replace(t, value=next(values)) for t in terms] for terms in products]

    @property
    def fill(self) -> int:
        return int(self.decode(np.array(self.pad)))

    def encode_tiles(self, tiles: Ints) -> Ints:
        return self.encode(tiles[..., 0, 0])

    def correct_tiles(self, codes: Ints, x_width: int) -> Ints:
        return self.correction(codes, x_width)[..., None]

    def multiply_tiles(self, stages: Stages, codes: Sequence[Value], xs: Sequence[Value],
                       name: str) -> list[list[Term]]:
        (x,) = xs
        return self.products(stages, codes, x, name)

    @property
    @abstractmethod
    def pad(self) -> int:
        """A code of zero, or where there is none (`masks`) any code."""
