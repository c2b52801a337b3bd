"""Netlists as Yosys writes them in JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bit", "count", "modules", "readers"]

Bit: TypeAlias = int | str
"""The number of a net, or the constant 0, 1 or x."""


def modules(netlist: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the modules that are not cells of a library."""
    return (module for module in netlist["modules"].values()
            if "blackbox" not in module["attributes"])


def count(netlist: dict[str, Any], top: str) -> dict[str, int]:
    """Return how many cells of each kind module `top` and those in it have."""
    cells: dict[str, int] = {}
    for cell in netlist["modules"][top]["cells"].values():
        inner = netlist["modules"].get(cell["type"])
        if cell["type"].startswith("$"): # says where others came from
            continue
        if inner is None or "blackbox" in inner["attributes"]:
            found = {cell["type"]: 1}
        else:
            found = count(netlist, cell["type"])
        for kind, n in found.items():
            cells[kind] = cells.get(kind, 0) + n
    return cells


def readers(module: dict[str, Any]) -> dict[Bit, list[str]]:
    """Return the names of the cells that read each net, once for each pin; of ports, none."""
    read: dict[Bit, list[str]] = {}
    for port in module["ports"].values():
        for bit in port["bits"]:
            read.setdefault(bit, []).append("")
    for name, cell in module["cells"].items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                for bit in bits:
                    read.setdefault(bit, []).append(name)
    return read
