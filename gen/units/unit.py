"""Unit: how a layer multiplies a vector by its weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from amaranth import Shape
    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.ir import Fold
    from bittern.gen.timing import Steps
    from bittern.hw.ints import Ints

__all__ = ["Unit", "sentence"]


def sentence(described: object) -> str:
    """Return the first line of a docstring."""
    return (described.__doc__ or "").split("\n")[0]


class Unit(ABC):
    """Hardware for ``weights @ x + bias`` whose weights are stored in one format, without loss.

    Implementations are frozen dataclasses, one file each, listed in ``gen.units.UNITS``.
    """

    name: str
    """Of the format: what ``--format`` takes."""

    @classmethod
    @abstractmethod
    def formats(cls) -> dict[str, str]:
        """Return the names of formats of this kind, and what each is in a sentence."""

    @classmethod
    @abstractmethod
    def find(cls, weights: Ints, *, absorbs: bool = False) -> list[Self]:
        """Return the units of this kind that hold `weights`, of shape ``(outputs, inputs)``.

        `absorbs` tells whether the adders of the device take in functions of two operands.
        """

    @property
    @abstractmethod
    def bits(self) -> int:
        """Bits of all the weights as they are stored."""

    @property
    @abstractmethod
    def how(self) -> str:
        """Say how the weights are stored, in a few words."""

    @abstractmethod
    def folds(self, x: Shape) -> list[Fold]:
        """Return the foldings it can have for inputs of shape `x`, none if it cannot take these."""

    @abstractmethod
    def cycles(self, fold: Fold) -> int:
        """Return the cycles from a frame to the next."""

    @abstractmethod
    def multipliers(self, fold: Fold) -> int:
        """Return how many products of a weight and an input it makes in a cycle, at most."""

    @abstractmethod
    def build(self, fold: Fold, bias: Ints, x: Shape, lo: int, hi: int) -> wiring.Component:
        """Return the hardware for inputs of shape `x` and results in ``lo..hi``."""

    @abstractmethod
    def timing(self, fold: Fold, x: Shape) -> Steps:
        """Return when `build` takes inputs and gives outputs."""

    @abstractmethod
    def cost(self, fold: Fold, x: Shape, acc_width: int) -> Cost:
        """Estimate the resources of `build`."""
