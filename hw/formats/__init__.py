"""Number formats of weights, one concept per file, and how one is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bittern.hw.formats.codebook import Codebook
from bittern.hw.formats.digits import Binary, Digits, Ternary
from bittern.hw.formats.format import Format
from bittern.hw.formats.multiplier import Multiplier
from bittern.hw.formats.n_of_m import NOfM
from bittern.hw.formats.packed_multiplier import PackedMultiplier
from bittern.hw.formats.powers import Powers
from bittern.hw.formats.tile import Term, TileFormat

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["FORMATS", "TILES", "Format", "Term", "TileFormat", "find_format"]

FORMATS: tuple[type[Format], ...] = (Binary, Ternary, Digits, Codebook, Powers, Multiplier)
"""Of single weights, cheapest first."""

TILES: tuple[type[TileFormat], ...] = (NOfM, PackedMultiplier)
"""Of several weights."""


def find_format(weights: Ints) -> Format:
    """Return the cheapest format that holds `weights` without loss."""
    for kind in FORMATS:
        if found := kind.find(weights):
            return found
    raise ValueError(f"no format holds weights of {weights.min()}..{weights.max()}; "
                     "16-bit integers always have one")
