"""Write docs/hardened.md of what hardened.py stored and of what is known of its cases, or check it.

    python benchmarks/hardened_page.py [--check]

Exit code 1 if `--check` finds another text there.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
from common import ECP5_85F, GW2A, HX8K, ROOT, load, row, table, write_page

from bittern.hw.family import Family

if TYPE_CHECKING:
    from bittern.boards.board import Device

PAGE = ROOT / "docs" / "hardened.md"
MHZ = {Family.ECP5: 150, Family.ICE40: 100, Family.GOWIN: 100}
WHOLE_MHZ = 100
"""Of whole networks."""
TEXT = """\
# Weights as wiring, measured

<!-- Made by benchmarks/hardened.py of benchmarks/results/hardened.json. -->

By `python benchmarks/hardened.py` ({tools}): each case by itself, a vector a cycle, with registers
at its inputs, between adders for the clock below, and at its outputs; these count. LUT4 are sites
of 4-input LUTs in the netlist, two for each carry cell of the ECP5. No multipliers, no memory.
*MHz* and *ns* are those of a routed design, of the first seed and placer of nextpnr (`heap`;
`heap40` and `heap80`, which are `heap` with `--placer-heap-timingweight` 40 or 80; `static`;
`sparse`, which is `heap40` and leaves every other row of slices free) that reach the clock, or of
the fastest tried; a case without was only counted. *Expected*
is what the search counts with, the clock that of its adders. *Exact*: Verilator gave what the case
says for each of its 64 vectors, and in as many cycles as expected.

`mv16` are 16x16 matrices of 4 and 8 bits times int8, `tern64` and `bin64` 64x64 ones of -1, 0, 1
and of -1, 1 times bits (`a1`) or int8 (`a8`); `jet` is the whole 16-64-32-32-5 network of 6 bits
with its activations, `jet_fast` the same with a register behind each adder, `cnn_digits` a 3x3
convolution of 8 channels on 8x8 pixels, a pool and a dense layer, all of it unrolled.{more}

## ECP5 85F, for 150 MHz

{ecp5}
Geometric mean of the ratios: {mean:.2f}. The others are the smallest result of da4ml, alkaid,
twn-generator, NNgen, FINN's RTL and plain Verilog that the same flow gave, combinational ones
included; their FF and MHz are those of the smallest pipelined one. *da4ml here*: what
`python benchmarks/peers.py` counts for da4ml 0.6.0, combinational or pipelined, whichever is less.
{bound}{others}{networks}"""
BOUND = """
**What bounds the clock of `jet`.** The sums of its {adders:,} adders have {bits:,} bits, and its
best peer has {peer_ff:,} flip-flops. With no more than these, {free:.0%} of the bits or more are in
no register, and what follows them is in the same cycle. Of {ns:.2f} ns, a cycle at {mhz} MHz,
registers and adders of the slowest path take {cells:.2f}, so that {room:.2f} are left for its
wires; routed, they take {wires:.2f}. With an adder a cycle, in `jet_fast`, wires of
{fast_wires:.2f} ns are still fast enough, but there are {fast_ff:,} flip-flops. We believe that no
placement of nextpnr reaches the clock with as few as the peer has.
"""
WHOLE = """
## Whole networks from files

`bittern generate MODEL -o DIR --clock {mhz} --fps {mhz}e6 --format '*=hardened'` makes designs of
these, a frame a clock, with streams around each layer. Here is what Yosys maps them to on the ECP5,
without a host link; the 85F has 83,640 LUTs.

{networks}"""
FORMS = ("combinational", "pipelined")
OTHER = """
## {title}, for {mhz} MHz

{rows}"""
# The smallest of any generator that was measured, in 4-input LUTs; FF and MHz of the smallest
# pipelined one.
PEERS = {
    "mv16_w4a8": ("da4ml 0.6.0", 2436, 1661, 140.9),
    "mv16_w8a8": ("da4ml 0.6.0", 4686, 3011, 129.8),
    "tern64_a1": ("da4ml 0.6.0", 4945, 2512, 147.4),
    "tern64_a8": ("twn-generator 0.1.5", 14986, 19561, None),
    "bin64_a1": ("twn-generator 0.1.5", 8286, 11024, None),
    "jet": ("da4ml 0.6.0", 36041, 15219, None),
    "cnn_digits": ("da4ml 0.6.0", 31903, 10821, None),
}
LARGE_TEXT = (" `mv64_w8a8` is a 64x64 matrix of 8 bits; its search stops after {seconds} s, when\n"
              "the greedy run that is on has ended.")
LARGE = ("mv64_w8a8",)
"""Cases that nobody has measured, which are searched for shortly and only counted."""
LARGE_SECONDS = 50
NETWORKS = ("digits", "jet_tagging_w6a6", "tfc_w2a2", "tfc_w1a1")
FAST = {"jet_fast": "jet"}
"""Cases once more, with more registers than their best peer has."""


def mean_ratio(cases: dict[str, dict[str, Any]]) -> float:
    """Return the geometric mean of our LUTs over those of the best of the others."""
    return float(np.exp(np.mean([np.log(cases[name]["lut4"] / lut4)
                                 for name, (_, lut4, *_) in PEERS.items() if name in cases])))


def page(found: dict[str, Any]) -> str:
    """Return the page of the results."""
    def own(c: dict[str, Any]) -> list[object]:
        return [c["latency_cycles"], c.get("latency_ns", ""), f"{c['estimate_lut4']:,}",
                f"{c['estimate_ff']:,}", c["estimate_mhz"], c["adders"], f"{c['search_s']:.0f}",
                "yes" if c["correct"] else "no"]

    def here(name: str) -> str:
        forms = found.get("da4ml", {}).get(name)
        return f"{min(forms[form]['lut4'] for form in FORMS):,}" if forms else ""

    ends = ("latency, cycles", "ns", "LUT4 expected", "FF expected",
            "MHz expected", "adders", "search, s", "exact")
    cases = found.get(ECP5_85F.title, {})
    ecp5 = table("case", "LUT4", "best of others", "da4ml here", "ratio", "FF", "FF of others",
                 "MHz", "MHz of others", *ends)
    ecp5 += "".join(
        row(name, f"{c['lut4']:,}", f"{lut4:,} ({peer})", here(of), f"{c['lut4'] / lut4:.2f}",
            f"{c['ff']:,}", f"{ff:,}", c.get("mhz", ""), mhz or "", *own(c))
        for name in (*PEERS, *FAST) if (c := cases.get(name))
        for of in [FAST.get(name, name)] for peer, lut4, ff, mhz in [PEERS[of]])
    ecp5 += "".join(row(name, f"{c['lut4']:,}", *[""] * 3, f"{c['ff']:,}", *[""] * 3, *own(c))
                    for name in LARGE if (c := cases.get(name)))
    others = "".join(OTHER.format(
        title=device.title, mhz=MHZ[device.family],
        rows=table("case", "LUT4", "FF", "MHz", *ends) + "".join(
            row(name, f"{c['lut4']:,}{large(c, device)}", f"{c['ff']:,}", c.get("mhz", ""),
                *own(c))
            for name in (*PEERS, *FAST, *LARGE) if (c := found[device.title].get(name))))
        for device in (HX8K, GW2A) if device.title in found)
    more = LARGE_TEXT.format(seconds=LARGE_SECONDS) if set(LARGE) & cases.keys() else ""
    made = found.get("networks", {})
    networks = WHOLE.format(mhz=WHOLE_MHZ, networks=table(
        "network", "LUT4", "FF", "memories", "DSPs", "latency, cycles",
        "LUT4 expected", "FF expected", "plan, s") + "".join(
        row(f"`{name}`", f"{n['lut4']:,}", f"{n['ff']:,}", n["bram"], n["dsp"], n["latency_cycles"],
            f"{n['estimate_lut4']:,}", f"{n['estimate_ff']:,}", f"{n['plan_s']:.0f}")
        for name in NETWORKS if (n := made.get(name)))) if made else ""
    jet, fast = cases.get("jet", {}), cases.get("jet_fast", {})
    bound = ""
    if "wires_ns" in jet and "wires_ns" in fast:
        _, _, peer_ff, _ = PEERS["jet"]
        ns, cells = 1000 / MHZ[Family.ECP5], 1000 / jet["mhz"] - jet["wires_ns"]
        bound = BOUND.format(
            adders=jet["adders"], bits=jet["adder_bits"], peer_ff=peer_ff,
            free=1 - peer_ff / jet["adder_bits"], mhz=MHZ[Family.ECP5], ns=ns, cells=cells,
            room=ns - cells, wires=jet["wires_ns"], fast_wires=fast["wires_ns"],
            fast_ff=fast["ff"])
    tools = ", ".join(f"{tool} {version}" for tool, version in found["versions"].items())
    return TEXT.format(ecp5=ecp5, others=others, networks=networks, mean=mean_ratio(cases),
                       tools=tools, more=more, bound=bound)


def large(case: dict[str, Any], device: Device) -> str:
    """Return a remark on a case that does not fit."""
    return f" of {has:,}" if case["lut4"] > (has := device.resources.lut4) else ""


if __name__ == "__main__":
    sys.exit(write_page(PAGE, page(load("hardened")), __doc__))
