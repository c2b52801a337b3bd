"""Put the stored results of the benchmarks into README.md, or check that they are there.

    python benchmarks/readme.py [--check]

What stands between `<!-- results -->` and `<!-- /results -->` is made of `benchmarks/results/`, and
so is what `make` prints in the end.
Exit code 1 if `--check` finds another text there.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from common import RESULTS, ROOT, row, say, table

from bittern.boards import BOARDS

if TYPE_CHECKING:
    from collections.abc import Iterator

README = ROOT / "README.md"
TITLES = {board.name: board.title for board in BOARDS}


def of(count: int, total: int) -> str:
    """Say how many of them."""
    return f"all {total:,}" if count == total else f"{count:,} of {total:,}"


def exactness(found: dict[str, Any]) -> Iterator[str]:
    """Yield what exactness.py found."""
    yield "Golden model against the reference's own outputs:\n\n"
    yield table("network", "inputs", "integers equal", "largest residual", "top-1 equal",
                "floats equal bit for bit")
    for name, r in found.get("golden", {}).items():
        cut = r.get("before_softmax")
        after = " after the softmax" if cut else ""
        yield row(f"`{name}`{after}", r["inputs"], of(r["integers_equal"], r["integers"]),
                  f"{r['residual']:.1g}", of(r["top_1_equal"], r["inputs"]),
                  of(r["floats_equal"], r["integers"]) if "floats_equal" in r else "int8")
        if isinstance(cut, dict):
            yield row(f"`{name}` before it", cut["inputs"],
                      of(cut["logits_equal"], cut["logits"]),
                      f"{cut['residual']:.1g}", "", of(cut["logits_equal"], cut["logits"]))
    yield ("\nThe residual is what is left of a reference's float, over the scale of the output, "
           "beside our integer.\n\nHardware against the golden model, without stalls and with "
           "random ones:\n\n")
    yield table("stage", "network", "frames", "integers compared", "exact",
                "cycles per inference", "latency in cycles", "as predicted", "run, once compiled")
    for stage, title in (("rtl", "Verilog, cocotb and Verilator"),
                         ("netlist", "iCE40 netlist, Verilator")):
        for name, r in found.get(stage, {}).items():
            model, *where = name.split(" ", 1)
            yield row(title, " ".join((f"`{model}`", *where)), r["frames"], f"{r['compared']:,}",
                      "yes" if r["exact"] else "**no**", r["cycles_per_inference"],
                      r["latency_cycles"], "yes" if r["as_predicted"] else "**no**",
                      f"{r['seconds']:.0f} s" if "seconds" in r else "")


def speed(found: dict[str, Any]) -> Iterator[str]:
    """Yield what speed.py found."""
    yield "\nRouted designs, host link included:\n\n"
    yield table("network", "board", "classifications/s", "latency", "clock", "cycles", "LUT4",
                "flip-flops", "memories", "DSPs", "multipliers", "busy")
    for r in found.get("build", {}).values():
        yield row(f"`{r['network']}`{', as wiring' if r.get('hardened') else ''}",
                  TITLES[r["board"]], f"{r['inferences_per_second']:,.0f}",
                  f"{r['latency_us']:.2f} us", f"{r['clock_mhz']:.4g} MHz",
                  r["predicted_cycles_per_inference"], f"{r['lut4']:,}", f"{r['ff']:,}",
                  r["bram"], r["dsp"], *(
                      ("", "") if r["busy"] is None else
                      (f"{r['multipliers']:,}", f"{r['busy']:.1%}")))
    yield ("\nMultipliers, of DSPs and of LUTs, are busy in the cycles that have a product with a "
           "weight other than 0 for them; as wiring, each such weight counts as one.\n\n"
           "The iCEBreaker has the weights of `mlperf_tiny_kws` and `tfc_w2a2` in SPRAM, which "
           "it fills from its flash at start. The rate is that inside the chip: the UART of the "
           "host link is far slower. For comparison, the continuous integration of [FINN+]("
           "https://github.com/eki-project/finn-plus) reports 1,428,557 classifications/s in "
           "17,675 LUT6 for `tfc_w1a1` on an RFSoC 2x2 at 100 MHz, shell included. Of MLPerf Tiny "
           "fpgaConvNet reports 3,088/s for keywords and 2,431/s for images on a ZedBoard, and "
           "hls4ml 53,365/s for a smaller network for anomalies on a Pynq-Z2, both with vendor "
           "tools.\n")
    if r := found.get("build", {}).get("tfc"):
        yield (f"\nWhere the LUTs and cycles of `{r['network']}` at "
               f"{r['inferences_per_second']:,.0f}/s go:\n\n")
        yield table("layer", "kind", "pe x simd", "cycles", "LUT4", "estimated", "flip-flops",
                    "memories", "estimated")
        for x in r["layers"]:
            yield row(f"`{x['layer']}`", x["kind"], f"{x['pe']} x {x['simd']}", x["cycles"],
                      f"{x['lut4']:,}", f"{x['estimated_lut4']:,}", f"{x['ff']:,}", x["bram"],
                      x["estimated_bram"])
        yield row("host link, clock, reset", "", "", "", f"{r['lut4'] - r['network_lut4']:,}", "",
                  f"{r['ff'] - sum(x['ff'] for x in r['layers']):,}",
                  r["bram"] - sum(x["bram"] for x in r["layers"]), "")
    if rates := found.get("rates"):
        yield (f"\nThe same network at other rates and {rates[0]['clock_mhz']:g} MHz, estimated by "
               "the plan, without the host link:\n\n")
        yield table("classifications/s", "cycles", "LUT4", "memories")
        for r in rates:
            yield row(f"{r['inferences_per_second']:,.0f}", r["cycles"],
                      f"{r['estimated_lut4']:,}", r["estimated_bram"])
    if fastest := found.get("fastest"):
        yield ("\nThe fastest keyword spotting (`mlperf_tiny_kws`) that fits each board, estimated "
               "by the plan, without the host link:\n\n")
        yield table("board", "classifications/s", "clock", "cycles", "LUT4", "memories", "DSPs")
        for r in fastest:
            yield (row(TITLES[r["board"]], "none", "", "", r["error"].split(";")[0], "", "")
                   if "error" in r else
                   row(TITLES[r["board"]], f"{r['inferences_per_second']:,.0f}",
                       f"{r['clock_mhz']:g} MHz", f"{r['cycles']:,}", f"{r['lut4']:,}", r["bram"],
                       r["dsp"]))
    yield f"\nBittern itself, on {found.get('machine', '?')}:\n\n"
    yield table("what", "result")
    for name, r in found.get("generate", {}).items():
        yield row(f"`bittern generate` of `{name}`",
                  f"{r['seconds']:.1f} s, {r['memory'] / 1e9:.2f} GB; a second time: "
                  f"{identical(r['second_run'])}")
    if r := found.get("rebuild"):
        yield row("a second `build` of the shipped network, compared byte by byte", identical(r))
    for name, r in found.get("golden", {}).items():
        yield row(f"golden model of `{name}`", f"{r['best_per_second']:,} images/s, "
                  f"{r['first_per_second']:,} in the first call, "
                  f"{r['with_host_per_second']:,} with the floats on the host")


def identical(found: dict[str, Any]) -> str:
    """Say whether two runs wrote the same."""
    return f"{found['files']} files, {'identical' if found['identical'] else '**not** identical'}"


def render() -> str:
    """Return the text between the markers."""
    parts = []
    for part in (exactness, speed):
        file = RESULTS / f"{part.__name__}.json"
        parts += part(json.loads(file.read_text())) if file.is_file() else []
    return "".join(parts) or "Not run yet: `make bench`.\n"


def ending() -> str:
    """Return what `make` prints in the end, without its frame."""
    files = [RESULTS / f"{name}.json" for name in ("exactness", "speed")]
    if not all(file.is_file() for file in files):
        return ""
    simulated, built = (json.loads(file.read_text()).get(part, {}).get("digits")
                        for file, part in zip(files, ("rtl", "build"), strict=True))
    if not simulated or not built:
        return ""
    lines = {
        "exact": f"{'yes' if simulated['exact'] else 'NO'}, 32 images simulated, with and without "
                 "stalls",
        "accuracy": f"{simulated['accuracy']:.2%} of {simulated['frames']} held-out images",
        **{name: f"{built[kind]:,} of {built[f'available_{kind}']:,}"
           for name, kind in (("LUTs", "lut4"), ("DSPs", "dsp"), ("memories", "bram"))},
        "clock": f"{built['clock_mhz']:.2f} MHz, up to {built['fmax_mhz']:.2f} MHz",
        "classifications/s": f"{built['inferences_per_second']:,.0f} inside the chip",
        "latency": f"{built['latency_us']:.2f} us",
    }
    rows = "".join(f"{name:19} {value}\n" for name, value in lines.items())
    return f"```text\n{'digits':19} {built['board']}\n{rows}```\n"


def replaced(text: str, name: str, content: str) -> str:
    """Return `text` with what is between the markers `name` replaced."""
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = text.split(begin)
    return before + begin + content + end + rest.split(end, 1)[1]


def main() -> None:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    text = README.read_text()
    fresh = replaced(replaced(text, "make", ending()), "results", render())
    if check:
        if fresh != text:
            say("README.md does not quote benchmarks/results: python benchmarks/readme.py")
        sys.exit(fresh != text)
    README.write_text(fresh)
    say("README.md quotes benchmarks/results")


if __name__ == "__main__":
    main()
