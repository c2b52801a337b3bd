"""Channels of several tensors, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.cost import Cost
from bittern.gen.folds import dividing_lanes
from bittern.gen.ir import Fold, Layer, Tensor
from bittern.gen.timing import Steps
from bittern.hw.concatenation import Concatenation

if TYPE_CHECKING:
    from bittern.hw.ints import Ints

__all__ = ["Concatenate"]


@dataclass(frozen=True)
class Concatenate(Layer):
    """``y[…, :] = x0[…, :], x1[…, :], …``."""

    def infer(self, *xs: Tensor) -> Tensor:
        if len(xs) < 2:
            raise ValueError(f"joins at least two tensors, not {len(xs)}")
        if len({x.shape[:-1] for x in xs}) > 1:
            shapes = " and ".join(str(x.shape) for x in xs)
            raise ValueError(f"cannot join tensors of shapes {shapes}")
        return Tensor((*xs[0].shape[:-1], sum(x.shape[-1] for x in xs)),
                      min(x.lo for x in xs), max(x.hi for x in xs))

    def golden(self, *xs: Ints) -> Ints:
        return np.concatenate(xs, axis=-1)

    def folds(self, *xs: Tensor) -> list[Fold]:
        return dividing_lanes(*(x.channels for x in xs))

    def build(self, fold: Fold, *xs: Tensor) -> Concatenation:
        return Concatenation([(x.lo, x.hi) for x in xs], channels=[x.channels for x in xs],
                             pe=fold.pe)

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return sum(x.size for x in xs) // fold.pe

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        reads = tuple(k for k, x in enumerate(xs) for _ in range(x.channels // fold.pe))
        every = (True,) * len(reads)
        return Steps(every, every, Concatenation.latency, reads=reads)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        bits = fold.pe * self.infer(*xs).element.width
        at = (max(x.channels for x in xs) // fold.pe - 1).bit_length()
        return Cost((len(xs) - 1) * bits + 2 * (at + len(xs)), bits + at + len(xs) + 1)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        def example(shape: tuple[int, ...], *inputs: tuple[int, int, int]
                    ) -> tuple[Self, tuple[Tensor, ...]]:
            return cls(), tuple(Tensor((*shape, n), lo, hi) for n, lo, hi in inputs)

        return [example((2, 3), (4, -8, 7), (8, 0, 200)), example((), (1, 0, 1), (1, -1, 0)),
                example((3,), (3, 0, 3), (2, -4, 3), (5, -1, 1)),
                example((2,), (6, 1, 2), (6, 0, 3), (6, 0, 1), (6, -128, 127))]
