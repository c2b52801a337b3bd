"""What layers with weights have in common."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, cast

from bittern.gen.ir import Layer

if TYPE_CHECKING:
    from bittern.gen.ir import Fold
    from bittern.hw.ints import Ints

__all__ = ["Form", "Weighted"]


@dataclass(frozen=True)
class Form:
    """How weights are stored in a format: bits of all of them, and a few words."""

    bits: int
    how: str


class Weighted(Layer):
    """A layer that multiplies by constant weights, and adds a constant to each output.

    Derived classes are dataclasses with these fields.
    """

    weights: Ints
    """``(turns * outputs, …)``"""
    bias: Ints
    """``(turns * outputs,)``"""
    only: str
    """The format to store the weights in, if not the one that suits best."""
    absorbs: bool
    """Whether the adders of the device take in functions of two operands before them."""
    turns: int
    """Sets of weights and biases, one after the other."""

    @property
    @abstractmethod
    def forms(self) -> dict[str, Form]:
        """The formats that hold the weights, by name."""

    @abstractmethod
    def check_format(self, name: str) -> None:
        """Raise :exc:`ValueError` unless the format `name` holds the weights."""

    @abstractmethod
    def multipliers(self, fold: Fold) -> int:
        """Return how many products of a weight and an input `build` makes in a cycle, at most."""

    @property
    def outputs(self) -> int:
        """Outputs of a vector."""
        return len(self.weights) // self.turns

    def of_turn(self, turn: int) -> Self:
        if self.turns == 1:
            return self
        of = slice(turn * self.outputs, (turn + 1) * self.outputs)
        return self.with_fields(weights=self.weights[of], bias=self.bias[of], turns=1)

    def with_fields(self, **fields: Any) -> Self:
        """Return the layer with other weights, or stored in another way."""
        return cast("Self", replace(cast("Any", self), **fields))
