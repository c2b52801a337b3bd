"""The one cocotb bench: whatever the design, it has a stream ``i`` and a stream ``o``.

It stands alone, for a copy of it goes with every design. The file that the environment variable
BITTERN_VECTORS names is JSON: `inputs` and `outputs` are the payloads of all frames (hexadecimal;
`outputs` may be null: then they must be the same with and without stalls), `inputs_per_frame` and
`outputs_per_frame` the transfers of a frame, `masks` the bits that are defined in each output
transfer of a frame, `stall` the probability that a side stalls in a cycle, `limit` the cycles
without a transfer after which the bench gives up, `load` bytes for the stream ``load`` of designs
that have it, which come before the frames (hexadecimal). What was found goes to BITTERN_RESULTS.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge

AFTERWARDS = 64
"""Cycles watched for surplus transfers once everything expected has come out."""


class Source:
    """Sends payloads to the input stream."""

    def __init__(self, dut: Any, payloads: list[int], rng: random.Random, stall: float) -> None:
        self.valid, self.ready, self.payload = dut.i__valid, dut.i__ready, dut.i__payload
        self.payloads, self.rng, self.stall = payloads, rng, stall
        self.sent, self.first = 0, 0
        self.offers = self.offered = False

    def drive(self) -> None:
        """Set the signals for the next cycle; a payload once offered stays until it is taken."""
        if self.offers:
            return
        self.offers = self.sent < len(self.payloads) and self.rng.random() >= self.stall
        if self.offers:
            self.payload.value = self.payloads[self.sent]
        elif self.offered: # nobody may look at a payload that is not valid
            self.payload.value = self.rng.getrandbits(len(self.payload))
        if self.offers != self.offered:
            self.valid.value = self.offered = self.offers

    def step(self, now: int) -> bool:
        """Account for the cycle `now`; return whether there was a transfer."""
        moved = self.offers and str(self.ready.value) == "1"
        if moved:
            self.first = self.first or now
            self.sent, self.offers = self.sent + 1, False
        return moved


class Sink:
    """Takes payloads from the output stream and checks that they are held until taken."""

    def __init__(self, dut: Any, total: int, rng: random.Random, stall: float) -> None:
        self.valid, self.ready, self.payload = dut.o__valid, dut.o__ready, dut.o__payload
        self.total, self.rng, self.stall = total, rng, stall
        self.outputs: list[str] = []
        self.stamps: list[int] = []
        self.held = ""
        self.accepts = self.seen = False
        self.reports = "BITTERN_PROGRESS" in os.environ

    def drive(self) -> None:
        """Set the signals for the next cycle.

        Waiting for the first payload uncovers designs that wait for `ready` to be `valid`.
        """
        accepts = not self.stall or (self.seen and self.rng.random() >= self.stall)
        if accepts != self.accepts:
            self.ready.value = self.accepts = accepts

    def step(self, now: int) -> bool:
        """Account for the cycle `now`; return whether there was a transfer."""
        if str(self.valid.value) != "1":
            assert not self.held, f"{self.where(now)}: valid withdrawn while stalled"
            return False
        payload = str(self.payload.value)
        assert self.held in ("", payload), f"{self.where(now)}: payload changed while stalled"
        assert len(self.outputs) < self.total, (
            f"{self.where(now)}: comes after all transfers expected")
        self.seen, self.held = True, "" if self.accepts else payload
        if self.accepts:
            self.outputs.append(payload)
            self.stamps.append(now)
            if self.reports and not len(self.outputs) % (self.total // 20 + 1):
                print(f"progress {len(self.outputs)} {self.total}", flush=True)
        return self.accepts

    def where(self, now: int) -> str:
        """Say what is being waited for in the cycle `now`."""
        return f"output transfer {len(self.outputs)}, cycle {now}"


@dataclass
class Run:
    """What one pass over all frames gave."""

    stall: float
    first_input: int
    outputs: list[str]
    stamps: list[int]


async def reset(dut: Any, *, loads: bool) -> None:
    """Reset the design, all sides idle."""
    dut.i__valid.value = 0
    dut.o__ready.value = 0
    if loads:
        dut.load__valid.value = 0
    # Simulators with X evaluate combinational logic only after something has changed.
    for level in (0, 1, 1, 0):
        dut.rst.value = level
        await RisingEdge(dut.clk)


async def load(dut: Any, image: bytes, limit: int, rng: random.Random, stall: float) -> None:
    """Send the bytes that fill memories, stalling with probability `stall`."""
    sent = waits = 0
    while sent < len(image):
        offers = rng.random() >= stall
        dut.load__valid.value = offers
        dut.load__payload.value = image[sent] if offers else rng.getrandbits(8)
        await RisingEdge(dut.clk)
        moved = offers and str(dut.load__ready.value) == "1"
        sent, waits = sent + moved, 0 if moved else waits + 1
        assert waits < limit, f"{sent} of {len(image)} bytes were taken from `load`"
    dut.load__valid.value = 0


async def run(dut: Any, vectors: dict[str, Any], rng: random.Random, stall: float) -> Run:
    """Send all frames back to back, both sides stalling with probability `stall`.

    Both sides are driven in one coroutine, for it is triggers that cost time: values read after a
    rising edge are those that the registers see, values written take effect just after it.
    """
    inputs = [int(payload, 16) for payload in vectors["inputs"]]
    total = len(inputs) // vectors["inputs_per_frame"] * vectors["outputs_per_frame"]
    source, sink = Source(dut, inputs, rng, stall), Sink(dut, total, rng, stall)
    edge = RisingEdge(dut.clk)
    now, last = 0, 0
    while True:
        source.drive()
        sink.drive()
        await edge
        now += 1
        took, gave = source.step(now), sink.step(now)
        if took or gave:
            last = now
        elif source.sent == len(inputs) and len(sink.outputs) == total:
            if now - last >= AFTERWARDS:
                return Run(stall, source.first, sink.outputs, sink.stamps)
        elif now - last >= vectors["limit"]:
            raise AssertionError(
                f"no transfer for {now - last} cycles: {source.sent} of {len(inputs)} input "
                f"transfers were taken, {len(sink.outputs)} of {total} output transfers were given")


def bits_that(digits: str, bits: str) -> int:
    """Return the integer with a 1 wherever `bits` has one of `digits`."""
    return int("".join("1" if bit in digits else "0" for bit in bits), 2)


def mismatch(found: Run, expected: list[int], masks: list[int]) -> dict[str, Any] | None:
    """Return where `found` differs first, in the bits that are defined."""
    for k, (bits, y, mask) in enumerate(zip(found.outputs, expected, cycle(masks), strict=False)):
        x = bits_that("1", bits)
        if (x ^ y | bits_that("XZUWxz", bits)) & mask:
            return {"stall": found.stall, "frame": k // len(masks), "transfer": k % len(masks),
                    "expected": f"{y & mask:x}", "found": f"{x & mask:x}"}
    return None


@cocotb.test()
async def stream(dut: Any) -> None:
    """Send all frames, without stalls, and after a reset again with random ones."""
    vectors = json.loads(Path(os.environ["BITTERN_VECTORS"]).read_text())
    seed = cocotb.RANDOM_SEED
    rng = random.Random(seed)
    image = bytes.fromhex(vectors["load"])
    Clock(dut.clk, 10, unit="ns").start()
    runs = []
    for stall in (0.0, vectors["stall"]):
        await reset(dut, loads=bool(image))
        if image:
            await load(dut, image, vectors["limit"], rng, stall)
        runs.append(await run(dut, vectors, rng, stall))
    plain = runs[0]
    masks = [int(mask, 16) for mask in vectors["masks"]]
    outputs = [bits_that("1", bits) for bits in plain.outputs]
    expected = outputs if vectors["outputs"] is None else \
        [int(payload, 16) for payload in vectors["outputs"]]
    ends = plain.stamps[len(masks) - 1::len(masks)]
    first = next((m for m in (mismatch(r, expected, masks) for r in runs) if m), None)
    Path(os.environ["BITTERN_RESULTS"]).write_text(json.dumps({
        "seed": seed,
        "latency_cycles": ends[0] - plain.first_input,
        "cycles_per_inference": ends[-1] - ends[-2] if len(ends) > 1 else None,
        "cycles": [r.stamps[-1] for r in runs],
        "mismatch": first,
        "outputs": [f"{payload:x}" for payload in outputs],
    }, indent=1) + "\n")
    assert first is None, f"seed {seed}: {first}"
    cocotb.log.info("%d frames equal, latency %d cycles", len(ends), ends[0] - plain.first_input)
