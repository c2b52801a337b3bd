"""What a number format of weights is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from amaranth import Value

    from bittern.hw.ints import Ints

__all__ = ["Format", "Term"]


@dataclass(frozen=True)
class Term:
    """A summand of a product: the unsigned `value`, which is at most `high`, times ``2**shift``."""

    shift: int
    value: Value
    high: int


class Format(ABC):
    """A way to store integers as codes of `width` bits, and to multiply by what a code stands for.

    A product is made of unsigned terms, so that sums of products need neither sign extension nor
    negation: ``sum(term.value << term.shift) + correction == decode(code) * x`` for unsigned `x`.
    The correction depends on the code only. Codes are known when the hardware is made, so a row of
    weights adds up its corrections into its bias.
    """

    name: str
    width: int
    masks: bool
    """Whether :attr:`pad` yields zero only for ``x == 0``: there is no code for zero."""

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

    @abstractmethod
    def times(self, code: Value, x: Value) -> list[Term]:
        """Return the terms of the product of unsigned `x` and the integer of `code`."""

    @property
    @abstractmethod
    def pad(self) -> int:
        """A code without correction and whose terms are zero for ``x == 0``."""
