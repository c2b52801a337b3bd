"""Registers around the multipliers of the ECP5 move into these."""

from __future__ import annotations

from typing import Any

__all__ = ["move_registers"]

WIDTH, PRODUCT = 18, 36
PLAIN = {"CLKMUX": "CLK", "REGSET": "RESET", "CEMUX": "1"}
"""Parameters of a register that a multiplier can take the place of, where it has them."""

Bit = int | str
"""Of Yosys' JSON: the number of a net, or the constant 0, 1 or x."""


def move_registers(netlist: dict[str, Any]) -> None:
    """Move registers of a netlist (Yosys' JSON, of the ECP5) into the multipliers between them.

    They move where they have one clock, start at 0, take a new value in each cycle, and are never
    reset. All bits of a factor must be such registers, or the constant 0; those that nothing else
    reads go. All that reads a product must be such registers. What each port computes remains.
    """
    for module in netlist["modules"].values():
        if "blackbox" not in module["attributes"]:
            _move(module)


def _move(module: dict[str, Any]) -> None:
    cells: dict[str, Any] = module["cells"]
    registers = {cell["connections"]["Q"][0]: name for name, cell in cells.items()
                 if cell["type"] == "TRELLIS_FF" and _is_plain(cell)}
    multipliers = [cell for cell in cells.values() if cell["type"] == "MULT18X18D"]
    for cell in multipliers:
        for side in "AB":
            _move_factor(cells, cell, side, registers)
    read = _readers(module)
    for bit in registers.keys() - read.keys():
        del cells[registers.pop(bit)]
    for cell in multipliers:
        _move_product(cells, cell, set(registers.values()), read)


def _readers(module: dict[str, Any]) -> dict[Bit, list[str]]:
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
    _register(cell, f"INPUT{side}", *clocks)


def _move_product(cells: dict[str, Any], cell: dict[str, Any], registers: set[str],
                  read: dict[Bit, list[str]]) -> None:
    connections = cell["connections"]
    ports = [port for k in range(PRODUCT)
             if (port := f"P{k}") in connections and connections[port][0] in read]
    names = [read[connections[port][0]] for port in ports]
    if not ports or any(len(found) != 1 or found[0] not in registers for found in names):
        return
    used = [cells[name] for (name,) in names]
    clocks = {register["connections"]["CLK"][0] for register in used}
    if len(clocks) != 1 or connections.get("CLK0", [*clocks])[0] not in clocks:
        return
    for port, (name,) in zip(ports, names, strict=True):
        connections[port] = cells.pop(name)["connections"]["Q"]
    _register(cell, "OUTPUT", *clocks)


def _register(cell: dict[str, Any], place: str, clock: Bit) -> None:
    """Switch on registers of a multiplier."""
    cell["connections"] |= {"CLK0": [clock], "CE0": ["1"], "RST0": ["0"]}
    cell["port_directions"] |= dict.fromkeys(("CLK0", "CE0", "RST0"), "input")
    cell["parameters"] |= {f"REG_{place}_CLK": "CLK0", f"REG_{place}_CE": "CE0",
                           f"REG_{place}_RST": "RST0"}
