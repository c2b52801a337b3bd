"""Number formats of weights, one concept per file, and how one is found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bittern.hw.formats.digits import Binary, Digits, Ternary
from bittern.hw.formats.format import Format

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["FORMATS", "Format", "find_format"]

FORMATS: tuple[type[Format], ...] = (Binary, Ternary, Digits)
"""Cheapest first."""


def find_format(weights: Ints) -> Format:
    """Return the cheapest format that holds `weights` without loss."""
    for kind in FORMATS:
        if found := kind.find(weights):
            return found
    raise ValueError(f"no format holds weights of {weights.min()}..{weights.max()}; "
                     "16-bit integers always have one")
