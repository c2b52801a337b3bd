"""Registers behind the blocks of memory of the ECP5 move into these."""

from __future__ import annotations

from typing import Any

from bittern.boards.netlist import Bit, modules, readers

__all__ = ["move_registers_into_blocks"]

WIDTH = 18
PLAIN = {"CLKMUX": "CLK", "LSRMUX": "LSR", "REGSET": "RESET"}
"""Parameters of a register that a block can take the place of, where it has them."""


def move_registers_into_blocks(netlist: dict[str, Any]) -> None:
    """Move registers of a netlist (Yosys' JSON, of the ECP5) into the blocks that they read.

    A block without its own register is slow to give what it read. All bits of a port must be read
    by such registers alone, of the clock of the block and one enable, never reset, and each must be
    followed by another register: one that logic reads is better near that.
    """
    for module in modules(netlist):
        cells, read = module["cells"], readers(module)
        for cell in [cell for cell in cells.values() if cell["type"] == "DP16KD"]:
            # a port of 36 bits has the pins of both
            wide = int(cell["parameters"]["DATA_WIDTH_B"], 2) == 2 * WIDTH
            for sides in ("AB",) if wide else ("A", "B"):
                _move(cells, cell, sides, read)


def _move(cells: dict[str, Any], cell: dict[str, Any], sides: str,
          read: dict[Bit, list[str]]) -> None:
    connections = cell["connections"]
    pins = {pin: read[connections[pin][0]] for side in sides for k in range(WIDTH)
            if (pin := f"DO{side}{k}") in connections and connections[pin][0] in read}
    if not pins or any(len(names) != 1 or not _is_plain(cells.get(names[0])) for names in
                       pins.values()):
        return
    registers = {pin: cells[name]["connections"] for pin, (name,) in pins.items()}
    enables = {tuple(register.get("CE", ["1"])) for register in registers.values()}
    clocks = {tuple(register["CLK"]) for register in registers.values()}
    if len(enables) > 1 or clocks != {tuple(connections[f"CLK{sides[-1]}"])}:
        return
    followers = {name for register in registers.values()
                 for name in read.get(register["Q"][0], ())}
    if any(name not in cells or cells[name]["type"] != "TRELLIS_FF" for name in followers):
        return
    for pin, (name,) in pins.items():
        connections[pin] = cells.pop(name)["connections"]["Q"]
    for side in sides:
        connections[f"OCE{side}"] = list(*enables)
        cell["parameters"][f"REGMODE_{side}"] = "OUTREG"


def _is_plain(cell: dict[str, Any] | None) -> bool:
    if cell is None or cell["type"] != "TRELLIS_FF":
        return False
    connections, parameters = cell["connections"], cell["parameters"]
    enabled = "CE" if "CE" in connections else "1"
    return ("keep" not in cell["attributes"] and "DI" in connections
            and connections.get("LSR", ["0"]) == ["0"]
            and parameters.get("CEMUX", enabled).strip() == enabled
            and all(parameters.get(name, value).strip() == value for name, value in PLAIN.items()))
