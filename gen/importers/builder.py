"""A graph under construction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bittern.gen.ir import INPUT, Graph, Layer, Node, Tensor

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["Builder"]


class Builder:
    """A graph that grows; at the end, what the output does not need is left out."""

    def __init__(self) -> None:
        self.types: dict[str, Tensor] = {}
        self.nodes: dict[str, Node] = {}
        self.wishes: dict[str, str] = {}

    def add(self, name: str, layer: Layer, *inputs: str) -> str:
        """Append a node and return its edge; where `name` is taken, another one."""
        edge = unique(name, self.types)
        self.types[edge] = layer.infer(*(self.types[i] for i in inputs))
        self.nodes[edge] = Node(edge, layer, inputs)
        self.wishes[edge] = name
        return edge

    def finish(self, output: str) -> tuple[Graph, dict[str, str]]:
        """Return the graph that drives the edge `output`, and what its edges are called there."""
        needed = {output}
        for node in reversed(self.nodes.values()):
            if node.name in needed:
                needed.update(node.inputs)
        names = {INPUT: INPUT}
        for edge in self.nodes:
            if edge in needed:
                names[edge] = unique(self.wishes[edge], names.values())
        nodes = tuple(Node(names[edge], node.layer, tuple(names[i] for i in node.inputs))
                      for edge, node in self.nodes.items() if edge in needed)
        return Graph(self.types[INPUT], nodes), names


def unique(name: str, taken: Collection[str]) -> str:
    """Return `name`, or if it is taken, `name` with a number."""
    candidate, number = name, 1
    while candidate in taken:
        number += 1
        candidate = f"{name}_{number}"
    return candidate
