"""Weights of which a few of each group of neighbours are not zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Array, Value

from bittern.hw.formats.codebook import Codebook
from bittern.hw.formats.digits import Digits, Ternary
from bittern.hw.formats.powers import Powers
from bittern.hw.formats.tile import Term, TileFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.formats.format import Format
    from bittern.hw.ints import Ints
    from bittern.hw.pipeline import Stages

__all__ = ["NOfM"]

GROUPS = (16, 8, 4, 2)
INNER: tuple[type[Format], ...] = (Ternary, Digits, Powers, Codebook)


@dataclass(frozen=True)
class NOfM(TileFormat):
    """Up to `n` non-zeros in each group of `m` inputs: for each, its place and its weight.

    Of a group's inputs as many are selected and multiplied; no cycle is lost, as there are always
    so many.

    Source: the 2:4 pattern of A. Mishra et al., "Accelerating Sparse Deep Neural Networks",
    arXiv:2104.08378.

    Parameters
    ----------
    n, m : int
        Weights that are stored of a group of how many, a power of two.
    inner : Format
        Of the weights; it holds 0.
    """

    n: int
    m: int
    inner: Format

    name = "n-of-m"
    masks = False
    fill = 0

    def __post_init__(self) -> None:
        if self.m not in GROUPS:
            raise ValueError(f"m must be in {GROUPS}, not {self.m}")
        if not 1 <= self.n < self.m:
            raise ValueError(f"n must be in 1..{self.m - 1}, not {self.n}")

    @property
    def columns(self) -> int:  # type: ignore[override]
        return self.m

    @property
    def multipliers(self) -> int:
        return self.n

    @property
    def _place(self) -> int:
        return (self.columns - 1).bit_length()

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.n * (self._place + self.inner.width)

    @classmethod
    def find(cls, weights: Ints) -> Self | None:
        inners = [fmt for kind in INNER if (fmt := kind.find(np.append(weights, 0)))
                  and not fmt.masks]
        outputs, inputs = weights.shape
        if not inners:
            return None
        inner = min(inners, key=lambda fmt: (fmt.width, fmt.lut4(4)))
        found = []
        for m in GROUPS:
            if m <= inputs:
                padded = np.zeros((outputs, -(-inputs // m) * m), dtype=bool)
                padded[:, :inputs] = weights != 0
                n = max(int(padded.reshape(outputs, -1, m).sum(axis=2).max()), 1)
                if n <= m // 2: # else too little is saved
                    found.append(cls(n, m, inner))
        # the fewest products, then bits, for an input
        return min(found, key=lambda f: (f.n / f.m, f.width / f.m), default=None)

    def encode_tiles(self, tiles: Ints) -> Ints:
        groups = tiles[..., 0, :]
        counts = (groups != 0).sum(axis=-1)
        if counts.max(initial=0) > self.n:
            raise ValueError(f"format {self.name!r} cannot hold {counts.max()} weights that are "
                             f"not zero in a group of {self.columns}: at most {self.n}")
        # the non-zeros first, in their order
        places = np.argsort(groups == 0, axis=-1, kind="stable")[..., :self.n]
        codes = self.inner.encode(np.take_along_axis(groups, places, axis=-1))
        slots = places | codes << self._place
        at = np.arange(self.n) * (self._place + self.inner.width)
        total: Ints = (slots << at).sum(axis=-1)
        return total

    def _codes(self, codes: Ints) -> Ints:
        slot = self._place + self.inner.width
        at = np.arange(self.n) * slot + self._place
        parts: Ints = codes[..., None] >> at & (1 << self.inner.width) - 1
        return parts

    def correct_tiles(self, codes: Ints, x_width: int) -> Ints:
        total: Ints = self.inner.correction(self._codes(codes), x_width).sum(axis=-1)[..., None]
        return total

    def multiply_tiles(self, stages: Stages, codes: Sequence[Value], xs: Sequence[Value],
                       name: str) -> list[list[Term]]:
        place, slot = self._place, self._place + self.inner.width
        slots = [code[k * slot:(k + 1) * slot] for code in codes for k in range(self.n)]
        selected = [Value.cast(Array(xs)[s[:place]]) for s in slots]
        held = stages.stage([*selected, *(s[place:] for s in slots)], f"{name}_selected")
        start, products = stages.latency, []
        for k, (x, code) in enumerate(zip(held[:len(slots)], held[len(slots):], strict=True)):
            stages.latency = start # beside each other, through the same levels
            products += self.inner.products(stages, [code], x, f"{name}_{k}")
        return [[term for terms in products[k * self.n:(k + 1) * self.n] for term in terms]
                for k in range(len(codes))]

    def lut4(self, x_width: int) -> int:
        select = x_width * (self.columns - 1) * 2 // 3
        return self.n * (select + self.inner.lut4(x_width))
