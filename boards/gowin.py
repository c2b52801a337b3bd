"""Netlists for nextpnr-himbaechel-gowin, such that it times every path."""

from __future__ import annotations

from itertools import count
from typing import Any

__all__ = ["time_all"]


def time_all(netlist: dict[str, Any]) -> None:
    """Change a netlist of Yosys so that nextpnr knows the delay of each cell in it.

    Of LUTs with less than four inputs it knows none; nor of those it adds itself, when all is
    placed, in front of flip-flops that stand alone. Paths through either it does not report.
    """
    for module in netlist["modules"].values():
        if "blackbox" not in module["attributes"]:
            _module(module)


def _module(module: dict[str, Any]) -> None:
    cells = module["cells"]
    after_lut = set()
    for cell in cells.values():
        kind = cell["type"]
        if kind in ("LUT1", "LUT2", "LUT3", "LUT4"):
            used = 1 << int(kind[3])
            cell["type"] = "LUT4"
            table = cell["parameters"]["INIT"].zfill(used)[-used:]
            cell["parameters"]["INIT"] = table * (16 // used)
            after_lut.add(cell["connections"]["F"][0])
    nets = count(1 + max((bit for name in module["netnames"].values() for bit in name["bits"]
                          if isinstance(bit, int)), default=0))
    for name, cell in list(cells.items()):
        d = cell["connections"].get("D", ["0"])
        if not cell["type"].startswith("DFF") or not isinstance(d[0], int) or d[0] in after_lut:
            continue
        net = next(nets)
        cells[f"{name}$lut"] = {
            "hide_name": cell["hide_name"], "type": "LUT4", "attributes": {},
            "parameters": {"INIT": "1010101010101010"},
            "port_directions": {"F": "output", "I0": "input"},
            "connections": {"F": [net], "I0": d}}
        cell["connections"]["D"] = [net]
