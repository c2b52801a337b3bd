"""Print what came of a run of ``make``, from the JSON of its commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bittern.console import show, table


def main(folder: str) -> None:
    golden, simulated, built = (json.loads(Path(folder, f"{job}.json").read_text())
                                for job in ("golden", "simulate", "build"))
    exact = "yes" if simulated["exact"] else "no"
    show(table("", ("digits", built["board"]), [
        ("exact", f"{exact}, {simulated['frames']} images simulated, with and without stalls"),
        ("accuracy", f"{golden['accuracy']:.2%} of {golden['frames']} held-out images"),
        *((name, f"{built[kind]:,} of {built[f'available_{kind}']:,}")
          for name, kind in (("LUTs", "lut4"), ("DSPs", "dsp"), ("memories", "bram"))),
        ("clock", f"{built['clock_mhz']:.2f} MHz, up to {built['fmax_mhz']:.2f} MHz"),
        ("classifications/s", f"{built['inferences_per_second']:,.0f} inside the chip"),
        ("latency", f"{built['latency_us']:.2f} us"),
    ]), f"report    {folder}/digits/report.html",
       f"load it   .venv/bin/bittern flash {folder}/digits")


if __name__ == "__main__":
    main(sys.argv[1])
