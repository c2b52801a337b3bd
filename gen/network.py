"""A network as read: its graph of integers, and what the host does before and after."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from bittern.gen.ir import Graph
    from bittern.hw.ints import Ints

__all__ = ["Network", "Rule"]


@dataclass(frozen=True)
class Rule:
    """Which rule of the importer took a node of the file."""

    node: str
    op: str
    rule: str


@dataclass(frozen=True)
class Network:
    """What an importer returns.

    The chip computes `graph`. The host turns the user's array into integers with `encode` before,
    and integers into the reference's outputs with `decode` after, both in the reference's own
    arithmetic.

    Parameters
    ----------
    name : str
        Of the network, for files and reports.
    graph : Graph
        What the chip computes.
    input_shape : tuple[int, ...]
        Of one input as the file declares it, without the batch.
    encode : callable
        ``(frames, *input_shape)`` floats or integers to ``(frames, *graph.input.shape)`` integers.
        Raises :exc:`ValueError` for a wrong shape, type or value (NaN).
    decode : callable
        Integers of ``graph.output`` to the outputs of the reference, floats or integers.
    rules : tuple[Rule, ...]
        One for every node of the file, in its order.
    formats : dict[str, str]
        For each edge of the graph what its integers stand for, in words: ``"0.015625 * q"``.
    """

    name: str
    graph: Graph
    input_shape: tuple[int, ...]
    encode: Callable[[NDArray[Any]], Ints]
    decode: Callable[[Ints], NDArray[Any]]
    rules: tuple[Rule, ...]
    formats: dict[str, str]
