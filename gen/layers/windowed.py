"""What layers without weights have in common that read a map through windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from bittern.gen.folds import dividing_lanes
from bittern.gen.ir import Layer, Tensor
from bittern.gen.reading import PATCHES, Reading

if TYPE_CHECKING:
    from bittern.gen.ir import Fold
    from bittern.hw.patches import Patches

__all__ = ["Windowed"]


@dataclass(frozen=True)
class Windowed(Layer):
    """A layer that takes and gives the same channels of a map at a time."""

    cuts = True

    patches: Patches

    def folds(self, *xs: Tensor) -> list[Fold]:
        return dividing_lanes(xs[0].channels)

    def reading(self, fold: Fold, x: Tensor) -> Reading:
        """Return how the map is read."""
        return Reading(self.patches, x, fold.pe, fold.spram)

    def stores(self, fold: Fold, *xs: Tensor) -> tuple[int, int]:
        return self.reading(fold, *xs).memory

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return self.reading(fold, *xs).cycles

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        return [(cls(patches), (Tensor((patches.rows.size, patches.columns.size, channels), lo, hi),
                                )) for patches, channels, lo, hi in PATCHES]
