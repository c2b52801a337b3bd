"""Registers in front of the multipliers of the ECP5 move into these."""

from __future__ import annotations

from typing import Any

__all__ = ["move_registers"]

WIDTH = 18
PLAIN = {"CLKMUX": "CLK", "REGSET": "RESET", "CEMUX": "1"}
"""Parameters of a register that a multiplier can take the place of, where it has them."""

Bit = int | str
"""Of Yosys' JSON: the number of a net, or the constant 0, 1 or x."""


def move_registers(netlist: dict[str, Any]) -> None:
    """Move the registers of a netlist (Yosys' JSON, of the ECP5) into the multipliers they feed.

    A factor moves where all of its bits are registers that have one clock, start at 0, take a new
    value in each cycle, and are never reset; a bit may also be the constant 0. Registers that
    nothing else reads go. What each port computes remains.
    """
    for module in netlist["modules"].values():
        if "blackbox" not in module["attributes"]:
            _move(module)


def _move(module: dict[str, Any]) -> None:
    cells: dict[str, Any] = module["cells"]
    registers = {cell["connections"]["Q"][0]: name for name, cell in cells.items()
                 if cell["type"] == "TRELLIS_FF" and _is_plain(cell)}
    for cell in [c for c in cells.values() if c["type"] == "MULT18X18D"]:
        for side in "AB":
            _move_factor(cells, cell, side, registers)
    read = {bit for port in module["ports"].values() for bit in port["bits"]}
    for cell in cells.values():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] != "output":
                read.update(bits)
    for bit in registers.keys() - read:
        del cells[registers[bit]]


def _is_plain(cell: dict[str, Any]) -> bool:
    connections, parameters = cell["connections"], cell["parameters"]
    return ("keep" not in cell["attributes"] and "DI" in connections
            and connections.get("LSR", ["0"]) == ["0"] and connections.get("CE", ["1"]) == ["1"]
            and all(parameters.get(name, value).strip() == value for name, value in PLAIN.items()))


def _move_factor(cells: dict[str, Any], cell: dict[str, Any], side: str,
                 registers: dict[Bit, str]) -> None:
    connections = cell["connections"]
    bits: list[Bit] = [connections[f"{side}{k}"][0] for k in range(WIDTH)]
    if any(bit != "0" and bit not in registers for bit in bits):
        return
    used = [cells[registers[bit]]["connections"] for bit in bits if bit != "0"]
    clocks = {c["CLK"][0] for c in used}
    if len(clocks) != 1 or connections.get("CLK0", [*clocks])[0] not in clocks:
        return
    for k, bit in enumerate(bits):
        if bit != "0":
            connections[f"{side}{k}"] = list(cells[registers[bit]]["connections"]["DI"])
    connections |= {"CLK0": [*clocks], "CE0": ["1"], "RST0": ["0"]}
    cell["port_directions"] |= dict.fromkeys(("CLK0", "CE0", "RST0"), "input")
    cell["parameters"] |= {f"REG_INPUT{side}_CLK": "CLK0", f"REG_INPUT{side}_CE": "CE0",
                           f"REG_INPUT{side}_RST": "RST0"}
