"""Graphs for tests."""

from bittern.gen.ir import INPUT, Graph, Node


def in_line(x, layers):
    """Return the graph of `layers`, one behind the other: n0, n1 …"""
    edges = [INPUT, *(f"n{k}" for k in range(len(layers)))]
    return Graph(x, tuple(Node(f"n{k}", layer, (edges[k],)) for k, layer in enumerate(layers)))
