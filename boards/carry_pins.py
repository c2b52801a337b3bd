"""By which pins the operands enter the carry cells of the ECP5."""

from __future__ import annotations

from itertools import cycle, product
from typing import TYPE_CHECKING, Any

from bittern.boards.netlist import modules

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["spread_pins"]

PINS = "ABCD"
CONSTANTS = {"0", "1"}


def spread_pins(netlist: dict[str, Any]) -> None:
    """Let operands enter carry cells of a netlist (Yosys' JSON) by all four pins of their LUTs.

    Yosys leads them to A and B, and nextpnr permutes no pins of carry cells, which leaves its
    router two pins of four, and no choice. Where half a cell does not pass the carry on, it makes
    one by a function of A and B. Often one operand tells it (of a sum either, as they are equal
    there); that one enters by A or B, and the other one may enter by C or D.
    """
    turns = cycle(product("AB", "CD"))
    for module in modules(netlist):
        for cell in module["cells"].values():
            if cell["type"] == "CCU2C":
                for half in (0, 1):
                    _spread(cell, half, turns)


def _spread(cell: dict[str, Any], half: int, turns: Iterator[tuple[str, str]]) -> None:
    """Move the operands of half a cell to the pins whose turn it is, if they can be moved."""
    nets = [cell["connections"][f"{pin}{half}"][0] for pin in PINS]
    if not {*nets[2:]} <= CONSTANTS or {*nets[:2]} & {*CONSTANTS, "x"}:
        return
    table = [int(bit) for bit in reversed(cell["parameters"][f"INIT{half}"])]
    upper = int(nets[2]) << 2 | int(nets[3]) << 3
    for first in (0, 1):
        # the carries that an operand tells, by its value
        told: dict[int, int] = {}
        if all(told.setdefault((a, b)[first], table[b << 1 | a]) == table[b << 1 | a]
               for a, b in product((0, 1), repeat=2) if not table[upper | b << 1 | a]):
            break
    else:
        return
    pins = [PINS.index(pin) for pin in next(turns)]

    def entry(index: int) -> int:
        one, other = (index >> pin & 1 for pin in pins)
        if index < 4: # the function of A and B that makes the carry
            return told.get(one, 0)
        a, b = (other, one) if first else (one, other)
        return table[upper | b << 1 | a]

    cell["parameters"][f"INIT{half}"] = "".join(str(entry(k)) for k in reversed(range(16)))
    moved = dict(zip(pins, (nets[first], nets[1 - first]), strict=True))
    cell["connections"] |= {f"{pin}{half}": [moved.get(k, "1")] for k, pin in enumerate(PINS)}
