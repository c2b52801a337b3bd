# amaranth: UnusedElaboratable=no
"""The UART: bytes as they should be on a wire, and wires as they should not."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import pytest
from amaranth import Module
from amaranth.sim import Simulator

from bittern.hw.uart import UARTReceiver, UARTTransmitter


def levels(byte: int, stop: int = 1) -> list[int]:
    return [0, *(byte >> k & 1 for k in range(8)), stop]


def received(divisor: float, wire: list[tuple[int, float]], *, hardware: int | None = None,
             stall: float = 0.0, seed: int = 0) -> tuple[list[int], int, list[int]]:
    """Play levels and their durations in bits; return bytes, overruns and when the bytes came."""
    dut, rng = UARTReceiver(hardware or round(divisor)), random.Random(seed)
    samples = [1] * 8
    end = 8.0
    for level, bits in [*wire, (1, 12)]:
        end += bits * divisor
        samples += [level] * (round(end) - len(samples))
    out: list[int] = []
    stamps: list[int] = []
    overruns = 0

    async def bench(ctx: Any) -> None:
        nonlocal overruns
        for cycle, level in enumerate(samples):
            ctx.set(dut.rx, level)
            ctx.set(dut.o.ready, rng.random() >= stall)
            overruns += ctx.get(dut.overrun)
            if ctx.get(dut.o.valid) and ctx.get(dut.o.ready):
                out.append(ctx.get(dut.o.payload))
                stamps.append(cycle - 8)
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return out, overruns, stamps


def bits(*frames: list[int]) -> list[tuple[int, float]]:
    return [(level, 1) for frame in frames for level in frame]


@pytest.mark.parametrize("divisor", [4, 5, 7, 16, 104])
def test_the_receiver_takes_bytes_back_to_back(divisor: int) -> None:
    data = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, 0xC0]
    out, overruns, stamps = received(divisor, bits(*map(levels, data)))
    assert (out, overruns) == (data, 0)
    assert stamps[0] == UARTReceiver(divisor).latency


@pytest.mark.parametrize("factor", [0.98, 1.02])
@pytest.mark.parametrize("divisor", [4, 13])
def test_the_receiver_bears_a_clock_that_is_off(divisor: int, factor: float) -> None:
    data = [random.Random(1).randrange(256) for _ in range(40)]
    out, _, _ = received(divisor * factor, bits(*map(levels, data)), hardware=divisor)
    assert out == data


def test_a_false_start_bit_is_ignored() -> None:
    wire = [(0, 0.3), (1, 1), *bits(levels(0x5A)), (1, 0.5), (0, 0.25), (1, 0.7),
            *bits(levels(0xA5))]
    assert received(16, wire)[0] == [0x5A, 0xA5]


def test_a_byte_without_its_stop_bit_is_dropped() -> None:
    wire = [*bits(levels(0x11), levels(0x22, stop=0)), (0, 30), (1, 1), *bits(levels(0x33))]
    assert received(8, wire)[0] == [0x11, 0x33]


def test_a_receiver_that_is_not_emptied_keeps_the_first_byte_and_reports_the_others() -> None:
    dut, seen = UARTReceiver(4), []

    async def bench(ctx: Any) -> None:
        for byte in (1, 2, 3):
            for level in levels(byte):
                ctx.set(dut.rx, level)
                for _ in range(4):
                    seen.append(ctx.get(dut.overrun))
                    await ctx.tick()
        await ctx.tick().repeat(8)
        assert ctx.get(dut.o.valid)
        assert ctx.get(dut.o.payload) == 1

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    assert sum(seen) == 1  # the third is reported after the bench has looked


@pytest.mark.parametrize("divisor", [4, 5, 12])
def test_the_transmitter_sends_what_the_receiver_takes(divisor: int) -> None:
    m = Module()
    m.submodules.sender = sender = UARTTransmitter(divisor)
    m.submodules.receiver = receiver = UARTReceiver(divisor)
    m.d.comb += [receiver.rx.eq(sender.tx), receiver.o.ready.eq(1)]
    rng = random.Random(divisor)
    data = [rng.randrange(256) for _ in range(50)]
    out: list[int] = []
    stamps: list[int] = []

    async def feed(ctx: Any) -> None:
        for k, byte in enumerate(data):
            if k > 40:
                await ctx.tick().repeat(rng.randrange(30))
            ctx.set(sender.i.payload, byte)
            ctx.set(sender.i.valid, 1)
            await ctx.tick().until(sender.i.ready)
            ctx.set(sender.i.valid, 0)

    async def drain(ctx: Any) -> None:
        cycle = 0
        while len(out) < len(data):
            _, _, valid, byte = await ctx.tick().sample(receiver.o.valid, receiver.o.payload)
            cycle += 1
            if valid:
                out.append(byte)
                stamps.append(cycle)

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(feed)
    sim.add_testbench(drain)
    sim.run()
    assert out == data
    # Without a gap while there is something to send.
    assert {b - a for a, b in pairwise(stamps[:41])} == {sender.interval}


@pytest.mark.parametrize("component", [UARTReceiver, UARTTransmitter])
def test_a_divisor_below_4_is_refused(component: Any) -> None:
    with pytest.raises(ValueError, match=r"^Divisor must be at least 4 cycles per bit, not 3$"):
        component(3)
