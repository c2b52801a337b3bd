"""Rows of slices of the ECP5 that are left free, for wires that many words share."""

from __future__ import annotations

from itertools import product
from typing import Any

__all__ = ["FREE", "leave_rows"]

FREE = "free_row_"
"""How the names of the LUTs begin that keep rows free."""
# Columns and rows of slices, and the first row that holds memories or DSPs instead, as each
# twelfth behind it does: seen where nextpnr puts as many LUTs as a device has.
SLICES = {"25k": (range(2, 71), range(2, 49), 13), "45k": (range(2, 89), range(2, 70), 10),
          "85k": (range(2, 125), range(2, 94), 10)}
PERIOD = 12


def leave_rows(netlist: dict[str, Any], device: str) -> None:
    """Leave every other row of slices of `device` free of carry chains, in a netlist of Yosys.

    nextpnr places cells as densely as it can, and where each word goes to several others far away,
    as in a graph of shared sums, there are more wires to be led through the middle than there are.
    Its option for less (`--placer-heap-beta`) changes nothing on the ECP5, but cells stay where
    their attributes say. Two LUTs a tile, which nothing reads, are enough: a chain of more than one
    carry cell does not fit between them.
    """
    columns, rows, memories = SLICES[device]
    module = netlist["modules"]["top"]
    nets = max(bit for name in module["netnames"].values() for bit in name["bits"]
               if isinstance(bit, int))
    slices = [row for row in rows if row < memories or (row - memories) % PERIOD]
    places = product(columns, slices[1::2], "AC")
    for net, (column, row, part) in enumerate(places, nets + 1):
        module["cells"][f"{FREE}{row}_{column}_{part}"] = {
            "hide_name": 0, "type": "LUT4", "parameters": {"INIT": "0" * 16},
            "attributes": {"BEL": f"X{column}/Y{row}/SLICE{part}.K0"},
            "port_directions": dict.fromkeys("ABCD", "input") | {"Z": "output"},
            "connections": {"A": ["0"], "B": ["0"], "C": ["0"], "D": ["0"], "Z": [net]}}
