"""Write docs/cells.md of the template cells.md and of the stored measurements, or check it.

    python benchmarks/cells_page.py [--check]

Exit code 1 if `--check` finds another text there.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import ROOT, load, write_page
from readme import row, table

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = ROOT / "docs" / "cells.md"
TEMPLATE = Path(__file__).parent / "cells.md"
PLACE = "{{ measured }}\n"
LEGEND = """\
## Measured

By `make measure-cells`, with Yosys {yosys}, nextpnr {nextpnr}, seed {seed}, on {devices}: each cell
between registers, with a clock of its own, on an almost empty device. That is one seed, and
nextpnr's model of delays: differences of a few percent mean nothing.

- *Latency*: in cycles.
- *LUT*: sites of 4-input LUTs that the netlist takes, carry cells included (two sites for each
  CCU2C of the ECP5), but on the iCE40 without sites of which only the carry is used, as in
  comparisons; *FF*: flip-flops inside the cell; *DSP*: multipliers of 16 bits (iCE40), 18
  (ECP5) or 9 (Gowin); *BRAM*: blocks of memory.
- *MHz*: routed. None where nextpnr knows no delay, as of the multipliers of Gowin, and where only
  the netlist was counted so far.
- *Default*: what Yosys makes of the same function written with `*`, `+` and `sum`, with no
  registers inside it, and no DSPs where the cell has none. *Ratio*: LUTs of the cell over those.
- *Estimate*: LUTs that the cell expects of itself.
- *Bound*: no circuit has fewer LUTs, for the reason below the table; in brackets, how many times as
  many the cell has.
"""


def entries() -> list[dict[str, Any]]:
    """Return the cells, those of one name together and in the order they were first measured."""
    cells = load("cells")["cells"]
    names = [cell["cell"] for cell in cells]
    return sorted(cells, key=lambda cell: names.index(cell["cell"]))


def times(value: float, by: float | None) -> str:
    """Return a ratio, where there is one."""
    return f"{value / by:.2f}" if by else ""


def number(value: float | None) -> str:
    """Return a number as tables have it."""
    return "" if value is None else f"{value:,.0f}"


def line(cell: dict[str, Any], family: str, done: dict[str, dict[str, Any]]) -> str:
    """Return the row of a cell on a family."""
    entry = cell["families"][family]
    ours, naive = (done.get(entry.get(form, ""), {}) for form in ("ours", "naive"))
    head = (cell["parameters"], number(cell["latency"]), ours.get("device", family))
    if "lut4" not in ours:
        return row(*head, "none" if "error" in ours else "", *[""] * 9)
    lut, bound = ours["lut4"], entry.get("bound")
    return row(
        *head, number(lut), number(ours["ff"]), number(ours["dsp"]), number(ours["bram"]),
        number(ours["mhz"]), number(naive.get("lut4")), number(naive.get("mhz")),
        times(lut, naive.get("lut4")), number(entry.get("estimate")),
        "" if bound is None else f"{bound:.0f} ({lut / bound:.1f})" if bound else "0")


def section(name: str, cells: list[dict[str, Any]], done: dict[str, dict[str, Any]]
            ) -> Iterator[str]:
    """Yield the text about a cell."""
    first = cells[0]
    yield f"\n### {name}\n\n{first['does']} ([{Path(first['file']).name}](../{first['file']}))\n\n"
    yield table("parameters", "latency", "device", "LUT", "FF", "DSP", "BRAM", "MHz",
                "default LUT", "MHz", "ratio", "estimate", "bound")
    for cell in cells:
        for family in cell["families"]:
            yield line(cell, family, done)
    reasons = {entry["why"] for cell in cells for entry in cell["families"].values()
               if entry.get("why")}
    if reasons:
        yield "\nBound: " + "; ".join(sorted(reasons)).rstrip(".") + ".\n"


def page() -> str:
    """Return the whole text."""
    found = load("cells")
    versions = found["tools"].values()
    done = found["measurements"]
    text = LEGEND.format(
        yosys=next(iter(versions))["yosys"], nextpnr=next(iter(versions))["nextpnr"],
        seed=found["seed"],
        devices=", ".join(sorted({m["device"] for m in done.values() if "device" in m})))
    for name, cells in groupby(entries(), key=lambda cell: cell["cell"]):
        text += "".join(section(name, list(cells), done))
    before, after = TEMPLATE.read_text().split(PLACE)
    return before + text + after


if __name__ == "__main__":
    sys.exit(write_page(PAGE, page(), __doc__))
