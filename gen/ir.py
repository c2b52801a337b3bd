"""The intermediate representation: a graph of layers with exact integer semantics.

Everything here is frozen: a pass returns a new :class:`Graph`. Edges are named by the node that
drives them, the input of the network is the edge ``"input"``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

import numpy as np
from amaranth import Shape

from bittern.hw.ints import Ints, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amaranth.lib import wiring

    from bittern.gen.cost import Cost
    from bittern.gen.timing import Steps, Switch

__all__ = ["INPUT", "Fold", "Graph", "Layer", "Node", "Pass", "Tensor", "compile_graph"]

INPUT = "input"


@dataclass(frozen=True)
class Tensor:
    """Type of an edge: a shape without the batch, and the range of the integers in it.

    Maps are ``(rows, columns, channels)``. A frame travels in raster order; no transfer has
    elements of two vectors along the last axis.
    """

    shape: tuple[int, ...]
    lo: int
    hi: int

    @property
    def size(self) -> int:
        """Elements of one frame."""
        return prod(self.shape)

    @property
    def channels(self) -> int:
        """Elements along the last axis: those of a vector."""
        return self.shape[-1]

    @property
    def vectors(self) -> int:
        """Vectors of a frame."""
        return prod(self.shape[:-1])

    @property
    def element(self) -> Shape:
        """Amaranth shape of one element: as narrow as the range allows, at least one bit."""
        return shape_of(self.lo, self.hi)

    def check(self, x: Ints) -> None:
        """Raise :exc:`ValueError` unless the batch `x` is of this type."""
        if x.shape[1:] != self.shape:
            raise ValueError(f"expected shape {self.shape} per frame, not {x.shape[1:]}")
        if x.size and not self.lo <= x.min() <= x.max() <= self.hi:
            raise ValueError(f"expected integers in {self.lo}..{self.hi}, "
                             f"not {x.min()}..{x.max()}")


@dataclass(frozen=True)
class Fold:
    """How a layer is laid over time: outputs (`pe`) and inputs (`simd`) per cycle.

    A layer with weights also has the name of the `format` in which it stores them. If `spram`, its
    largest memory is in SPRAM (:meth:`Layer.stores`).
    """

    pe: int = 1
    simd: int = 1
    format: str = ""
    spram: bool = False


class Layer(ABC):
    """What a node computes (`infer`, `golden`) and what computes it (`build`).

    Implementations are frozen dataclasses, one file each, listed in ``gen.layers.LAYERS``.
    """

    cuts: ClassVar[bool] = False
    """Whether no path of gates leads from ``ready`` of its output to that of its inputs."""
    turns: int = 1
    """Sets of parameters: frame k is computed by ``of_turn(k % turns)``."""
    entry: str = ""
    """The node where a loop begins that this one ends."""

    def stores(self, fold: Fold, *xs: Tensor) -> tuple[int, int] | None: # noqa: ARG002
        """Return words and bits of the memory that SPRAM can be instead, if there is one."""
        return None

    def of_turn(self, turn: int) -> Layer: # noqa: ARG002
        """Return the layer with one of its sets of parameters."""
        return self

    def in_turn(self, *xs: Ints) -> Ints:
        """Compute the output for a batch of inputs, with the sets of parameters in turn."""
        parts = [self.of_turn(k).golden(*(x[k::self.turns] for x in xs))
                 for k in range(self.turns)]
        y = np.empty((len(xs[0]), *parts[0].shape[1:]), dtype=np.int64)
        for k, part in enumerate(parts):
            y[k::self.turns] = part
        return y

    @abstractmethod
    def infer(self, *xs: Tensor) -> Tensor:
        """Return the type of the output; :exc:`ValueError` if `xs` cannot be the inputs."""

    @abstractmethod
    def golden(self, *xs: Ints) -> Ints:
        """Compute the output for a batch of inputs, exactly."""

    @abstractmethod
    def folds(self, *xs: Tensor) -> list[Fold]:
        """Return the foldings this layer can have."""

    @abstractmethod
    def build(self, fold: Fold, *xs: Tensor) -> wiring.Component:
        """Return the hardware: streams ``i`` (``i0``, ``i1`` … if several) and ``o``."""

    @abstractmethod
    def cycles(self, fold: Fold, *xs: Tensor) -> int:
        """Return the cycles from a frame to the next."""

    @abstractmethod
    def timing(self, fold: Fold, *xs: Tensor) -> Steps | Switch:
        """Return when `build` takes inputs and gives outputs."""

    @abstractmethod
    def cost(self, fold: Fold, *xs: Tensor) -> Cost:
        """Estimate the resources of `build`."""

    def without_ready_path(self, fold: Fold, *xs: Tensor) -> Fold | None: # noqa: ARG002
        """Return how to make the same such that no gates lead from ``ready`` to ``ready``."""
        return None

    def at_once(self, fold: Fold, *xs: Tensor) -> int: # noqa: ARG002
        """Return the transfers that come at the end of a frame, where they are to be queued."""
        return 0

    @classmethod
    @abstractmethod
    def examples(cls) -> list[tuple[Self, tuple[Tensor, ...]]]:
        """Return small layers and what they may read, for conformance tests."""


@dataclass(frozen=True)
class Node:
    """A layer and the edges it reads."""

    name: str
    layer: Layer
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in topological order; the last one drives the output."""

    input: Tensor
    nodes: tuple[Node, ...]

    @property
    def output(self) -> str:
        """Name of the edge that is the result."""
        return self.nodes[-1].name if self.nodes else INPUT

    @property
    def turns(self) -> int:
        """How often a frame passes the loop, if there is one: a layer has that part of the time."""
        return max((node.layer.turns for node in self.nodes), default=1)

    def passages(self) -> dict[str, int]:
        """Return how often a frame passes each node: in a loop, more than once."""
        names = [node.name for node in self.nodes]
        found = dict.fromkeys(names, 1)
        for k, node in enumerate(self.nodes):
            if node.layer.entry:
                found |= dict.fromkeys(names[names.index(node.layer.entry):k + 1], node.layer.turns)
        return found

    def types(self) -> dict[str, Tensor]:
        """Return the type of every edge: this verifies the graph."""
        edges = {INPUT: self.input}
        for node in self.nodes:
            try:
                if node.name in edges:
                    raise ValueError(f"there are two nodes named {node.name!r}")
                edges[node.name] = node.layer.infer(*(edges[i] for i in node.inputs))
            except ValueError as error:
                raise ValueError(f"layer {node.name!r}: {error}") from error
        return edges

    def golden(self, x: Ints) -> Ints:
        """Run the golden model on a batch ``(frames, *input.shape)``; edges keep to their types."""
        types = self.types()
        types[INPUT].check(x)
        edges = {INPUT: x}
        last = {edge: node.name for node in self.nodes for edge in node.inputs}
        at = {node.name: k for k, node in enumerate(self.nodes)}
        k = turn = 0
        while k < len(self.nodes):
            node = self.nodes[k]
            y = node.layer.of_turn(turn).golden(*(edges[i] for i in node.inputs))
            for edge in set(node.inputs):
                if last[edge] == node.name: # maps of many frames are large
                    del edges[edge]
            entry, edge = node.layer.entry, node.name
            if entry and turn + 1 < node.layer.turns: # once more through the loop
                edge, k, turn = entry, at[entry], turn + 1
            elif entry:
                turn = 0
            types[edge].check(y)
            edges[edge] = y
            k += 1
        return edges[self.output]

    def consumers(self, edge: str) -> list[Node]:
        """Return the nodes that read `edge`."""
        return [node for node in self.nodes if edge in node.inputs]


Pass: TypeAlias = "Callable[[Graph], Graph]"
"""A rewriting of the graph that keeps what it computes."""


def compile_graph(graph: Graph, passes: Sequence[Pass], probe: Ints) -> Graph:
    """Apply `passes` in order; each must keep the golden output of `probe`, bit for bit.

    One that has nothing to change returns the graph it was given.
    """
    expected: Ints | None = None
    for p in passes:
        before, graph = graph, p(graph)
        if graph is before:
            continue
        if expected is None:
            expected = before.golden(probe)
        if not np.array_equal(graph.golden(probe), expected):
            raise AssertionError(f"pass {p.__name__!r} changed the result")
    return graph
