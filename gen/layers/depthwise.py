# amaranth: UnusedElaboratable=no
"""Convolution of each channel by itself."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.cost import LOADER, Cost, rom_lut, sprams
from bittern.gen.ir import Fold, Tensor
from bittern.gen.layers.weighted import Form, Weighted
from bittern.gen.reading import PATCHES, Reading
from bittern.hw.credit import store_of
from bittern.hw.depthwise import DepthwiseUnit, depthwise_delay_of
from bittern.hw.folded_sums import in_block, is_far, products_of, tree_of
from bittern.hw.formats import FORMATS, Format
from bittern.hw.ints import Ints, shape_of
from bittern.hw.turns import Turns

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.gen.timing import Steps
    from bittern.hw.patches import Patches

__all__ = ["Depthwise"]

BLOCK_BITS = 1024
"""Weights of fewer bits are in LUTs: a block of memory would stand mostly empty."""


@dataclass(frozen=True, eq=False)
class Depthwise(Weighted):
    """``y[…, o] = sum(weights[o, t] * seen[…, t, o // m]) + bias[o]`` with m outputs a channel.

    Parameters
    ----------
    patches : Patches
    weights : array ``(turns * outputs, taps)``
        Outputs are a multiple of the channels.
    bias : array ``(turns * outputs,)``
    only, absorbs, turns
        As of :class:`Weighted`.
    """

    cuts = True

    patches: Patches
    weights: Ints
    bias: Ints
    only: str = ""
    absorbs: bool = False
    turns: int = 1

    @cached_property
    def formats(self) -> dict[str, Format]:
        """The formats that hold the weights, by name."""
        found = {fmt.name: fmt for kind in FORMATS if (fmt := kind.find(self.weights))}
        return {self.only: found[self.only]} if self.only else found

    @property
    def forms(self) -> dict[str, Form]:
        return {name: Form(self.weights.size * fmt.width, f"{fmt.width} bit")
                for name, fmt in self.formats.items()}

    def check_format(self, name: str) -> None:
        if name not in self.formats:
            raise ValueError(f"format {name!r} does not hold the weights of single channels; "
                             f"formats that do: {', '.join(self.formats)}")

    def multipliers(self, fold: Fold) -> int:
        return fold.pe

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        self.patches.check(x.shape)
        outputs, taps = self.outputs, self.weights.shape[1]
        if taps != self.patches.taps or outputs % x.channels:
            raise ValueError(f"{outputs} outputs of {taps} taps do not suit {x.channels} channels "
                             f"and windows of {self.patches.taps}")
        ends = [self.weights * end for end in self.patches.range(x.lo, x.hi)]
        lo, hi = (end.sum(axis=1) + self.bias for end in (np.minimum(*ends), np.maximum(*ends)))
        return Tensor((*self.patches.shape, outputs), int(lo.min()), int(hi.max()))

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        if self.turns > 1:
            return self.in_turn(x)
        per_channel = self.outputs // x.shape[-1]
        y = np.zeros((len(x), *self.patches.shape, len(self.bias)), dtype=np.int64) + self.bias
        for weights, seen in zip(self.weights.T, self.patches.each_tap(x), strict=True):
            y += np.repeat(seen, per_channel, axis=-1) * weights
        return y

    def folds(self, *xs: Tensor) -> list[Fold]:
        (x,) = xs
        each = self.outputs // x.channels
        return [Fold(k * each, k, name) for name, fmt in self.formats.items()
                if fmt.takes(self._seen(x).width)
                for k in range(1, x.channels + 1) if x.channels % k == 0]

    def _seen(self, x: Tensor) -> Shape:
        return shape_of(*self.patches.range(x.lo, x.hi))

    def _reading(self, fold: Fold, x: Tensor) -> Reading:
        return Reading(self.patches, x, fold.simd, fold.spram and not self._loads(fold, x))

    def _loads(self, fold: Fold, x: Tensor) -> bool:
        """Return whether the weights are in SPRAM, and not the rows."""
        return fold.spram and self.stores(fold, x) == self._weight_memory(fold, x)

    def stores(self, fold: Fold, *xs: Tensor) -> tuple[int, int]:
        (x,) = xs
        rows = Reading(self.patches, x, fold.simd).memory
        return max(self._weight_memory(fold, x), rows, key=prod)

    def _weight_memory(self, fold: Fold, x: Tensor) -> tuple[int, int]:
        """Return words and bits of the weights."""
        return (self.turns * self.patches.taps * (x.channels // fold.simd),
                fold.pe * self.formats[fold.format].width)

    def _in_blocks(self, fold: Fold, x: Tensor) -> bool:
        depth, width = self._weight_memory(fold, x)
        return depth * width >= BLOCK_BITS and depth >= 32

    def _delay(self, fold: Fold, x: Tensor) -> int:
        return depthwise_delay_of(self.formats[fold.format], self._seen(x).width,
                                  absorbs=self.absorbs)

    def build(self, fold: Fold, *xs: Tensor) -> DepthwiseUnit:
        (x,) = xs
        y = self.infer(x)
        return DepthwiseUnit(self.patches, self.weights, self.bias, self.formats[fold.format],
                             x=x.element, lo=y.lo, hi=y.hi, channels=x.channels, simd=fold.simd,
                             block=self._in_blocks(fold, x), absorbs=self.absorbs,
                             turns=Turns(self.turns, prod(self.patches.shape)),
                             loads=self._loads(fold, x),
                             one_port=self._reading(fold, x).one_port)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return self._reading(fold, *xs).cycles

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        (x,) = xs
        taps, delay = self.patches.taps, self._delay(fold, x)
        return self._reading(fold, x).steps(taps, delay, store_of(delay, taps))

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        (x,) = xs
        fmt, width = self.formats[fold.format], self._seen(x).width
        acc = self.infer(x).element.width
        product, tree = products_of(fmt, width), tree_of(fmt, width, 1, absorbs=self.absorbs)
        loads, (depth, bits) = self._loads(fold, x), self._weight_memory(fold, x)
        kept = store_of(self._delay(fold, x), self.patches.taps)
        rows = self.turns * (x.channels // fold.simd)
        lut = fold.pe * (product.lut4 + tree.lut4 + 2 * acc)
        ff = fold.simd * width + fold.pe * (product.ff + tree.ff + 2 * acc)
        memories: tuple[tuple[int, int], ...] = ()
        if loads:
            lut, ff = lut + LOADER, ff + bits
        elif self._in_blocks(fold, x):
            memories, ff = ((depth, bits),), ff + bits * (1 + is_far(bits))
        else:
            lut += rom_lut(depth, bits)
        if in_block(rows, fold.pe * acc):
            memories += ((rows, fold.pe * acc),)
        else:
            lut += rom_lut(rows, fold.pe * acc)
        if kept == 2:
            lut += fold.pe * acc
        else:
            memories += ((kept, fold.pe * acc),)
        return self._reading(fold, x).cost + Cost(
            lut, ff, memories, fold.simd * width + (fold.pe * product.ff if fmt.dsp else 0),
            fold.pe * fmt.dsp,
            max(fmt.port, width) if fmt.dsp else fmt.port,
            sprams(depth, bits) if loads else 0)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        rng = np.random.default_rng(0)
        values = ([*range(-8, 8)], [1], [-1, 1], [0, 1, 4], [-1, 0, 1])
        found: list[tuple[Self, tuple[Tensor, ...]]] = []
        for k, (patches, channels, lo, hi) in enumerate(PATCHES):
            outputs = channels * (1 + k % 2)
            found.append((cls(patches, rng.choice(values[k % len(values)], (outputs, patches.taps)),
                              rng.integers(-9, 10, outputs)),
                          (Tensor((patches.rows.size, patches.columns.size, channels), lo, hi),)))
        layer, xs = found[0]
        weights = np.concatenate([layer.weights, -layer.weights])
        bias = np.concatenate([layer.bias, layer.bias + 1])
        return [*found, (layer.with_fields(weights=weights, bias=bias, turns=2), xs)]
