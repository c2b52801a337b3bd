"""Ends of carry chains of the ECP5."""

from __future__ import annotations

from typing import Any

from bittern.boards.netlist import modules, readers

__all__ = ["end_carries"]


def end_carries(netlist: dict[str, Any]) -> None:
    """Disconnect the carries of a netlist (Yosys' JSON) that nothing reads.

    nextpnr would lead each out of its chain, through a pair of LUTs.
    """
    for module in modules(netlist):
        read = readers(module)
        for cell in module["cells"].values():
            if cell["type"] == "CCU2C" and cell["connections"]["COUT"][0] not in read:
                cell["connections"]["COUT"] = ["x"]
