"""Comparison of two variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Mux

if TYPE_CHECKING:
    from amaranth import Value

__all__ = ["below"]


def below(a: Value, b: Value) -> Value:
    """Return whether ``a < b``, for two of the same shape.

    The difference has no bit more than they: where it leaves them, their signs tell.
    """
    difference = (a - b)[:len(a)]
    return Mux(a[-1] == b[-1], difference[-1], a[-1] if a.shape().signed else b[-1])
