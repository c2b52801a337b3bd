"""Where carry chains of the ECP5 begin and end."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from bittern.boards.netlist import modules, readers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["fit_carries"]

Cell = dict[str, Any]
HALVES = (0, 1)
PINS = "ABCDS"


def fit_carries(netlist: dict[str, Any]) -> None:
    """Let carry chains of a netlist (Yosys' JSON) begin and end within their own cells.

    nextpnr leads every carry into a chain through a pair of LUTs before it, even a constant one,
    which it routes there, and one out through a pair behind it, even if nothing reads it. But half
    a cell is enough to begin with: where the function that a carry passes is 0, the next carry is
    the other function of the half. In a chain of an odd number of bits a half is left at the end,
    and all bits move by one. In others the first half makes no more than its carry, and a LUT makes
    the sum.
    """
    for module in modules(netlist):
        read, cells = readers(module), module["cells"]
        carries = {name: cell for name, cell in cells.items() if cell["type"] == "CCU2C"}
        for cell in carries.values():
            if cell["connections"]["COUT"][0] not in read:
                cell["connections"]["COUT"] = ["x"]
        for names in _chains(carries):
            chain = [cells[name] for name in names]
            last = chain[-1]["connections"]
            if any(cell["parameters"][f"INJECT1_{half}"] != "NO"
                   for cell, half in product(chain, HALVES)):
                continue
            alone = all(read[cell["connections"]["COUT"][0]] == [following]
                        for cell, following in zip(chain, names[1:], strict=False))
            if alone and last["COUT"] == ["x"] and last["S1"][0] not in read:
                _move(chain)
            elif (lut := _split(chain[0])) and lut["connections"]["Z"][0] in read:
                cells[f"{names[0]}$sum"] = lut


def _chains(carries: dict[str, Cell]) -> Iterator[list[str]]:
    """Yield the names of the cells of each chain, in order."""
    made = {cell["connections"]["COUT"][0] for cell in carries.values()} - {"x"}
    behind = {carry: name for name, cell in carries.items()
              if (carry := cell["connections"]["CIN"][0]) in made}
    for name, cell in carries.items():
        if cell["connections"]["CIN"][0] in made:
            continue
        chain = [name]
        while following := behind.get(carries[chain[-1]]["connections"]["COUT"][0]):
            chain.append(following)
        yield chain


def _move(chain: list[Cell]) -> None:
    """Move the bits of a chain by one: its last half is free, its first one makes the carry."""
    (carry,) = chain[0]["connections"]["CIN"]
    constant = carry in ("0", "1")
    bits = [(cell["parameters"][f"INIT{half}"],
             [cell["connections"][f"{pin}{half}"] for pin in PINS])
            for cell, half in product(chain, HALVES)]
    begins = (_init(lambda a, _: int(carry) if constant else a),
              [["1"] if constant else [carry], ["1"], ["1"], ["1"], ["x"]])
    for (cell, half), (init, nets) in zip(product(chain, HALVES), [begins, *bits[:-1]],
                                          strict=True):
        cell["parameters"][f"INIT{half}"] = init
        cell["connections"] |= {f"{pin}{half}": net for pin, net in zip(PINS, nets, strict=True)}
    chain[0]["connections"]["CIN"] = ["x"]


def _split(cell: Cell) -> Cell | None:
    """Return a LUT for the first sum of a chain, whose first half is left the carry.

    None if that takes more than two inputs, or the carry into the chain is not constant.
    """
    nets, init = cell["connections"], cell["parameters"]["INIT0"][::-1]
    (carry,), (c,), (d,) = nets["CIN"], nets["C0"], nets["D0"]
    if not {carry, c, d} <= {"0", "1"}:
        return None
    carry, above = int(carry), int(c) << 2 | int(d) << 3

    def passes(a: int, b: int) -> int:
        return int(init[above | b << 1 | a])

    def carries(a: int, b: int) -> int:
        return carry if passes(a, b) else int(init[b << 1 | a])

    lut = {"hide_name": 0, "type": "LUT4", "attributes": {},
           "parameters": {"INIT": _init(lambda a, b: passes(a, b) ^ carry, 4)},
           "port_directions": dict.fromkeys("ABCD", "input") | {"Z": "output"},
           "connections": {"A": nets["A0"], "B": nets["B0"], "C": ["1"], "D": ["1"],
                           "Z": nets["S0"]}}
    cell["parameters"]["INIT0"] = _init(carries)
    nets |= {"CIN": ["x"], "C0": ["1"], "D0": ["1"], "S0": ["x"]}
    return lut


def _init(function: Callable[[int, int], int], copies: int = 1) -> str:
    """Return the table of a function of A and B, repeated, below zeros: the highest bit first."""
    table = "".join(str(function(a, b)) for b, a in product((1, 0), repeat=2))
    return (table * copies).rjust(16, "0")
