"""Fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np

from bittern.gen.cost import Cost, rom_lut
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw.formats import Format, find_format
from bittern.hw.ints import Ints
from bittern.hw.matrix_vector import MatrixVectorUnit, delay_of, store_of, term_bits, tree_of
from bittern.hw.stream import transfers

__all__ = ["Dense"]

BLOCK_BITS = 1024
"""Weights of fewer bits are in LUTs: a block of memory would stand mostly empty."""


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """``y = weights @ x + bias``, exactly; `weights` is ``(outputs, inputs)``."""

    weights: Ints
    bias: Ints

    @cached_property
    def format(self) -> Format:
        """The cheapest format that holds the weights."""
        return find_format(self.weights)

    @cached_property
    def _signed_sums(self) -> tuple[Ints, Ints]:
        """The sums of each row's negative and of its positive weights."""
        return self.weights.clip(max=0).sum(axis=1), self.weights.clip(min=0).sum(axis=1)

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        outputs, inputs = self.weights.shape
        if x.shape != (inputs,):
            raise ValueError(f"takes {inputs} inputs, not a tensor of shape {x.shape}")
        low, high = self._signed_sums
        lo, hi = high * x.lo + low * x.hi + self.bias, high * x.hi + low * x.lo + self.bias
        return Tensor((outputs,), int(lo.min()), int(hi.max()))

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        bound = int(np.abs(self.weights).sum(axis=1).max()) * int(np.abs(x).max(initial=0))
        if bound < 2**53: # doubles hold every partial sum, and their product is far faster
            y: Ints = (x.astype(np.float64) @ self.weights.T.astype(np.float64)).astype(np.int64)
            return y + self.bias
        return x @ self.weights.T + self.bias

    def folds(self, *xs: Tensor) -> list[Fold]:
        # of the lanes that take the same number of steps, the fewest
        pes, simds = ({transfers(n, transfers(n, k)) for k in range(1, n + 1)}
                      for n in self.weights.shape)
        return [Fold(pe, simd) for pe in sorted(pes) for simd in sorted(simds)]

    def _folds(self, fold: Fold) -> tuple[int, int]:
        outputs, inputs = self.weights.shape
        return transfers(inputs, fold.simd), transfers(outputs, fold.pe)

    def build(self, fold: Fold, *xs: Tensor) -> MatrixVectorUnit:
        (x,) = xs
        y = self.infer(x)
        return MatrixVectorUnit(self.weights, self.bias, self.format, x=x.element, lo=y.lo,
                                hi=y.hi, pe=fold.pe, simd=fold.simd, block=self._in_blocks(fold))

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        in_folds, out_folds = self._folds(fold)
        return in_folds * out_folds

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        (x,) = xs
        in_folds, out_folds = self._folds(fold)
        row = (*[False] * (in_folds - 1), True)
        replays = in_folds > 1 and out_folds > 1
        takes = (True, *[out_folds == 1] * (in_folds * out_folds - 1))
        delay = delay_of(tree_of(self.format, x.element.width, fold.simd), replays=replays)
        return Steps((False,) * len(takes) if replays else takes, row * out_folds, delay,
                     store=store_of(delay, in_folds), replay=in_folds if replays else 0)

    def _memory(self, fold: Fold) -> tuple[int, int]:
        in_folds, out_folds = self._folds(fold)
        return in_folds * out_folds, fold.pe * fold.simd * self.format.width

    def _in_blocks(self, fold: Fold) -> bool:
        depth, width = self._memory(fold)
        return depth * width >= BLOCK_BITS and depth >= 32

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        (x,) = xs
        in_folds, out_folds = self._folds(fold)
        x_width, acc_width = x.element.width, self.infer(x).element.width
        tree = tree_of(self.format, x_width, fold.simd)
        terms = fold.simd * term_bits(self.format, x_width)
        adder = acc_width * (2 if in_folds > 1 else 1)
        replays = in_folds > 1 and out_folds > 1
        kept = store_of(delay_of(tree, replays=replays), in_folds)
        depth, width = self._memory(fold)
        inputs = fold.simd * x_width
        lut = fold.pe * (terms + tree.lut4 + adder) + rom_lut(out_folds, fold.pe * acc_width) + 20
        bare = inputs + fold.pe * max(tree.ff - tree.lut4, 0)
        memories: tuple[tuple[int, int], ...] = ()
        if self._in_blocks(fold):
            memories, bare = ((depth, width),), bare + width
        else:
            lut += rom_lut(depth, width)
        if kept == 2:
            lut, bare = lut + fold.pe * acc_width, bare + fold.pe * acc_width
        else:
            memories += ((kept, fold.pe * acc_width),)
        ff = fold.pe * (terms + tree.ff + 2 * acc_width) + bare + 40
        if replays:
            lut += 30
            memories += ((2 << (in_folds - 1).bit_length(), fold.simd * x_width),)
        return Cost(lut, ff, memories, bare)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        rng = np.random.default_rng(0)

        def example(values: list[int], shape: tuple[int, int], lo: int, hi: int
                    ) -> tuple[Self, tuple[Tensor, ...]]:
            return (cls(rng.choice(values, shape), rng.integers(-9, 10, shape[0])),
                    (Tensor((shape[1],), lo, hi),))

        return [example([-1, 1], (5, 11), 0, 1), example([-1, 0, 1], (7, 6), -1, 1),
                example([*range(-8, 8)], (3, 13), 0, 15), example([0], (2, 3), -4, 3),
                example([5], (1, 1), -128, 127), example([-4, 4], (4, 4), 0, 3)]
