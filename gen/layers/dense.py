"""Fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from bittern.gen.ir import Fold, Tensor
from bittern.gen.layers.weighted import Form, Weighted
from bittern.gen.units import EFFORT, DenseUnit, check_format, find_units
from bittern.hw.ints import Ints

if TYPE_CHECKING:
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps
    from bittern.gen.units import Unit

__all__ = ["Dense"]


@dataclass(frozen=True, eq=False)
class Dense(Weighted):
    """``y[…, :] = weights @ x[…, :] + bias``, exactly.

    Parameters
    ----------
    weights : array ``(turns * outputs, inputs)``
    bias : array ``(turns * outputs,)``
    only, absorbs, turns
        As of :class:`Weighted`.
    effort : int
        Steps of the search for adders, where the weights are wiring.
    """

    cuts = True

    weights: Ints
    bias: Ints
    only: str = ""
    absorbs: bool = False
    effort: int = EFFORT
    turns: int = 1

    @cached_property
    def units(self) -> dict[str, Unit]:
        """What can multiply by the weights, by the name of the format they are stored in."""
        found = find_units(self.weights, absorbs=self.absorbs, effort=self.effort,
                           turns=self.turns)
        return {self.only: found[self.only]} if self.only else found

    @property
    def forms(self) -> dict[str, Form]:
        return {name: Form(unit.bits, unit.how) for name, unit in self.units.items()}

    def check_format(self, name: str) -> None:
        check_format(self.weights, name)

    @cached_property
    def _signed_sums(self) -> tuple[Ints, Ints]:
        """The sums of each row's negative and of its positive weights."""
        return self.weights.clip(max=0).sum(axis=1), self.weights.clip(min=0).sum(axis=1)

    def multipliers(self, fold: Fold) -> int:
        return self.units[fold.format].multipliers(fold)

    def infer(self, *xs: Tensor) -> Tensor:
        (x,) = xs
        inputs = self.weights.shape[1]
        if x.channels != inputs:
            raise ValueError(f"takes {inputs} inputs, not a tensor of shape {x.shape}")
        low, high = self._signed_sums
        lo, hi = high * x.lo + low * x.hi + self.bias, high * x.hi + low * x.lo + self.bias
        return Tensor((*x.shape[:-1], self.outputs), int(lo.min()), int(hi.max()))

    def golden(self, *xs: Ints) -> Ints:
        (x,) = xs
        if self.turns > 1:
            return self.in_turn(x)
        bound = int(np.abs(self.weights).sum(axis=1).max()) * int(np.abs(x).max(initial=0))
        if bound < 2**53: # doubles hold every partial sum, and their product is far faster
            y: Ints = (x.astype(np.float64) @ self.weights.T.astype(np.float64)).astype(np.int64)
            return y + self.bias
        return x @ self.weights.T + self.bias

    def folds(self, *xs: Tensor) -> list[Fold]:
        return [fold for unit in self.units.values() for fold in unit.folds(xs[0].element)]

    def build(self, fold: Fold, *xs: Tensor) -> wiring.Component:
        (x,) = xs
        y = self.infer(x)
        unit = self.units[fold.format]
        if isinstance(unit, DenseUnit):
            return unit.build(fold, self.bias, x.element, y.lo, y.hi, vectors=x.vectors)
        return unit.build(fold, self.bias, x.element, y.lo, y.hi)

    def stores(self, fold: Fold, *xs: Tensor) -> tuple[int, int] | None:
        unit = self.units[fold.format]
        return unit.memory(fold) if isinstance(unit, DenseUnit) else None

    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        return xs[0].vectors * self.units[fold.format].cycles(fold)

    def timing(self, fold: Fold, *xs: Tensor) -> Steps:
        return self.units[fold.format].timing(fold, xs[0].element)

    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        (x,) = xs
        return self.units[fold.format].cost(fold, x.element, self.infer(x).element.width)

    @classmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        rng = np.random.default_rng(0)

        def example(values: list[int], shape: tuple[int, int], lo: int, hi: int,
                    places: tuple[int, ...] = ()) -> tuple[Self, tuple[Tensor, ...]]:
            return (cls(rng.choice(values, shape), rng.integers(-9, 10, shape[0])),
                    (Tensor((*places, shape[1]), lo, hi),))

        taking_turns = cls(rng.integers(-8, 8, (9, 4)), rng.integers(-9, 10, 9), turns=3)
        return [(taking_turns, (Tensor((2, 4), -2, 5),)), example([-1, 1], (5, 11), 0, 1),
                example([*range(-8, 8)], (3, 5), 0, 3, (2, 3)), example([-1, 0, 1], (7, 6), -1, 1),
                example([*range(-8, 8)], (3, 13), 0, 15), example([0], (2, 3), -4, 3),
                example([5], (1, 1), -128, 127), example([-4, 4], (4, 4), 0, 3)]
