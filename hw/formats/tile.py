"""What a format of tiles of weights is, most of which are single weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

from bittern.hw.term import Term

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth import Value

    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["Term", "TileFormat"]


class TileFormat(ABC):
    """A way to store `rows` by `columns` weights as one code of `width` bits, and to multiply.

    The products of a tile are sums of unsigned terms, so that sums of them need neither sign
    extension nor negation. For unsigned activations ``x``, for each row of the tile,
    ``sum(term.value << term.shift) + correction == tile @ x``. The correction depends on the code
    only. Codes are known when the hardware is made, so a row adds up its corrections into its bias.
    """

    name: str
    width: int
    rows: int = 1
    columns: int = 1
    dsp: int = 0
    """Multipliers of the device that a tile takes."""
    port: int = 0
    """Bits of the factors that these must take."""
    masks: bool
    """Whether there is no code for zero, so that only ``x == 0`` yields it."""

    @property
    def multipliers(self) -> int:
        """Products that a tile is, whatever makes them."""
        return self.rows * self.columns

    @classmethod
    @abstractmethod
    def find(cls, weights: Ints) -> Self | None:
        """Return the narrowest such format that holds `weights` ``(outputs, inputs)``, or None."""

    @property
    @abstractmethod
    def fill(self) -> int:
        """What stands in a tile beyond the weights: zero, or where `masks` any weight."""

    def takes(self, x_width: int) -> bool:
        """Return whether activations may have `x_width` bits."""
        return x_width > 0

    @abstractmethod
    def encode_tiles(self, tiles: Ints) -> Ints:
        """Return the code of each tile, the last two axes; :exc:`ValueError` if one has none."""

    @abstractmethod
    def correct_tiles(self, codes: Ints, x_width: int) -> Ints:
        """Return the corrections ``(…, rows)`` of each code for activations of `x_width` bits."""

    @abstractmethod
    def multiply_tiles(self, stages: Stages, codes: Sequence[Value], xs: Sequence[Value],
                       name: str) -> list[list[Term]]:
        """Return the terms of each row of the tiles of `codes` for the same `columns` inputs.

        They come out of registers.
        """

    @abstractmethod
    def lut4(self, x_width: int) -> int:
        """Estimate the 4-input LUTs of a tile up to its terms, before these are added up."""
