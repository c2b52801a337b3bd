"""Two products of 8 bits share a multiplier of the iCE40."""

from __future__ import annotations

from typing import Any

from bittern.boards.netlist import Bit, modules, readers

__all__ = ["pair_products"]

SHARED = ("CLK", "CE", "AHOLD", "BHOLD", "IRSTTOP", "IRSTBOT")
"""Ports that both products have in common, when they share a multiplier."""
REGISTERS = ("A_REG", "B_REG", "NEG_TRIGGER", "PIPELINE_16x16_MULT_REG1")


def pair_products(netlist: dict[str, Any]) -> None:
    """Put pairs of multipliers of a netlist (Yosys' JSON, of the iCE40) into one SB_MAC16 each.

    Both are of 8 bits by 8 bits, of the same signs, and have the same registers, on one clock. What
    each port computes remains.

    Source: Lattice, "DSP Function Usage Guide for iCE40 Devices" (FPGA-TN-02007): of an SB_MAC16
    with MODE_8x8, the halves of A and B are factors, and the halves of O their products.
    """
    for module in modules(netlist):
        _pair(module)


def _pair(module: dict[str, Any]) -> None:
    cells, read = module["cells"], readers(module)
    waiting: dict[object, dict[str, Any]] = {}
    for name, cell in list(cells.items()):
        if cell["type"] != "SB_MAC16" or not _is_product(cell, read):
            continue
        signs = tuple(_sign(cell["connections"][side]) for side in "AB")
        if None in signs:
            continue
        key = (*signs, *(cell["connections"][port][0] for port in SHARED),
               *(cell["parameters"][register] for register in REGISTERS))
        if key in waiting:
            _share(waiting.pop(key), cell, signs)
            del cells[name]
        else:
            waiting[key] = cell


def _is_product(cell: dict[str, Any], read: dict[Bit, list[str]]) -> bool:
    """Return whether the low 16 bits of a plain product are all that is used of a multiplier."""
    parameters, connections = cell["parameters"], cell["connections"]
    unused = [*connections["O"][16:], *(bit for port in ("CO", "ACCUMCO", "SIGNEXTOUT")
                                        for bit in connections.get(port, []))]
    held = {parameters[register] for register in (
        "PIPELINE_16x16_MULT_REG1", "TOP_8x8_MULT_REG", "BOT_8x8_MULT_REG")}
    return (parameters["TOPOUTPUT_SELECT"] == parameters["BOTOUTPUT_SELECT"] == "11"
            and parameters["MODE_8x8"] == parameters["PIPELINE_16x16_MULT_REG2"] == "0"
            and len(held) == 1 and not any(bit in read for bit in unused))


def _sign(factor: list[Bit]) -> bool | None:
    """Return whether the 16 bits of a factor are 8 and their sign, or 8 without one, or more."""
    above = set(factor[8:])
    return True if above == {factor[7]} else False if above == {"0"} else None


def _share(cell: dict[str, Any], other: dict[str, Any], signs: tuple[bool | None, ...]) -> None:
    """Make `cell` the multiplier of both."""
    connections, parameters = cell["connections"], cell["parameters"]
    for port, half in (("A", 8), ("B", 8), ("O", 16)):
        connections[port] = [*connections[port][:half], *other["connections"][port][:half]]
    parameters |= {f"{side}_SIGNED": f"{int(bool(sign)):032b}"
                   for side, sign in zip("AB", signs, strict=True)}
    parameters |= {"MODE_8x8": "1", "TOPOUTPUT_SELECT": "10", "BOTOUTPUT_SELECT": "10",
                   "PIPELINE_16x16_MULT_REG1": "0"}
