"""Run a component with streams in Amaranth's own simulator: no build, for small tests."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from amaranth import ClockDomain, Const, Module, Shape, Value
from amaranth.lib import data
from amaranth.sim import Simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from amaranth.hdl import ShapeLike
    from amaranth.lib import wiring

__all__ = ["Run", "run_stream", "run_streams"]

AFTERWARDS = 32
"""Cycles watched for surplus transfers once everything expected has come out."""


class Run(NamedTuple):
    """What came out of one stream."""

    outputs: list[Any]
    """Payloads: lists of lanes where the payload is an array, else integers."""
    stamps: list[int]
    """Cycle of each output transfer, counted from the one that took the first input transfer."""


def run_stream(component: wiring.Component, transfers: Sequence[Any] | Mapping[str, Sequence[Any]],
               *, outputs: int, seed: int, stall: float = 0.3, limit: int = 5000) -> Run:
    """Feed `transfers` to stream ``i``, or to several streams by name; return what ``o`` gave.

    As :func:`run_streams`, for components with one output stream.
    """
    inputs = transfers if isinstance(transfers, Mapping) else {"i": transfers}
    return run_streams(component, inputs, {"o": outputs}, seed=seed, stall=stall,
                       limit=limit)["o"]


def run_streams(component: wiring.Component, inputs: Mapping[str, Sequence[Any]],
                outputs: Mapping[str, int], *, seed: int, stall: float = 0.3,
                limit: int = 5000) -> dict[str, Run]:
    """Feed the streams `inputs`, return what the streams `outputs` gave.

    Every stream stalls at random, independently of the others; while an input stream stalls its
    payload is random. No output is accepted before it was once seen waiting (unless `stall` is
    zero), which uncovers a component that waits for ``ready`` before it is ``valid``.

    Parameters
    ----------
    component
        The device under test. It can be run several times, and starts anew each time.
    inputs
        Payloads to send, by stream name.
    outputs
        Number of payloads expected, by stream name.
    seed
        Seed of the stalls.
    stall
        Probability that a stream stalls in a cycle. With 0 the stamps are the cycles of the design.
    limit
        Give up after so many cycles without any transfer.

    Raises
    ------
    AssertionError
        If the component withdraws or changes a payload that was not yet taken, gives more or fewer
        outputs than expected, or does not take all the inputs.
    """
    print(f"stream bench: seed {seed}, stall {stall}")
    rng = random.Random(seed)
    sources = [_Source(name, getattr(component, name), list(xs)) for name, xs in inputs.items()]
    sinks = [_Sink(name, getattr(component, name), n) for name, n in outputs.items()]
    ports: list[_Source | _Sink] = [*sources, *sinks]
    names = ", ".join([*inputs, *outputs])

    async def drive(ctx: Any) -> None:
        cycle, last, start = 0, 0, None
        tick = ctx.tick().sample(*(signal for port in ports for signal in port.sampled))
        while cycle - last < (limit if any(port.pending for port in ports) else AFTERWARDS):
            for port in ports:
                port.drive(ctx, rng, stall)
            _, _, *values = await tick
            moved = [source.step(bool(values.pop(0))) for source in sources]
            if any(moved) and start is None:
                start = cycle
            moved += [sink.step(bool(values.pop(0)), int(values.pop(0)), cycle - (start or 0))
                      for sink in sinks]
            cycle += 1
            last = cycle if any(moved) else last
        waiting = ", ".join(port.pending for port in ports if port.pending)
        if waiting:
            raise AssertionError(f"no transfer on {names} for {limit} cycles (seed {seed}); "
                                 f"still waiting: {waiting}")

    _bench(component).run(drive)
    return {sink.name: Run([decode(sink.shape, bits) for bits in sink.received], sink.stamps)
            for sink in sinks}


class _Bench:
    """A component, elaborated, and the testbench that drives it now."""

    drive: Callable[[Any], Awaitable[None]] | None

    def __init__(self, component: wiring.Component) -> None:
        # A component without registers has no clock domain of its own.
        m = Module()
        m.domains.sync = ClockDomain()
        m.submodules.dut = component
        self.simulator, self.drive = Simulator(m), None
        self.simulator.add_clock(1e-6)
        self.simulator.add_testbench(self.testbench)

    async def testbench(self, ctx: Any) -> None:
        assert self.drive
        await self.drive(ctx)

    def run(self, drive: Callable[[Any], Awaitable[None]]) -> None:
        if self.drive:
            self.simulator.reset()
        self.drive = drive
        self.simulator.run()


@lru_cache(maxsize=1) # what is run again, with other stalls, need not be elaborated again
def _bench(component: wiring.Component) -> _Bench:
    return _Bench(component)


def encode(shape: ShapeLike, payload: Any) -> int:
    """Return the bits of a payload: of an integer, or of what a layout makes a constant of."""
    if isinstance(shape, data.Layout):
        return Const.cast(shape.const(payload)).value
    return int(payload)


def decode(shape: ShapeLike, bits: int) -> Any:
    """Return the integer that `bits` are in `shape`, or the list of them where it is an array."""
    if isinstance(shape, data.ArrayLayout):
        width = Shape.cast(shape.elem_shape).width
        return [decode(shape.elem_shape, bits >> k * width & (1 << width) - 1)
                for k in range(shape.length)]
    element = Shape.cast(shape)
    negative = element.signed and bits >> element.width - 1 & 1
    return bits - (1 << element.width) if negative else bits


class _Source:
    """Sends payloads to an input stream."""

    def __init__(self, name: str, port: Any, transfers: list[Any]) -> None:
        self.name, self.port = name, port
        self.bits, shape = Value.cast(port.payload), port.payload.shape()
        # as integers: what they are in a layout would be worked out anew whenever one is set
        self.transfers = [encode(shape, x) for x in transfers]
        self.sampled = [port.ready]
        self.sent, self.valid, self.driven = 0, False, False

    @property
    def pending(self) -> str:
        """What is left to be done, or nothing."""
        left = len(self.transfers) - self.sent
        return f"{self.name} to take {left} of {len(self.transfers)} transfers" if left else ""

    def drive(self, ctx: Any, rng: random.Random, stall: float) -> None:
        """Set the signals for the next cycle; a payload once offered stays until it is taken."""
        if self.valid:
            return
        self.valid = self.sent < len(self.transfers) and rng.random() >= stall
        if self.valid != self.driven:
            ctx.set(self.port.valid, self.valid)
            self.driven = self.valid
        if self.valid:
            ctx.set(self.bits, self.transfers[self.sent])
        elif len(self.bits):
            ctx.set(self.bits, rng.getrandbits(len(self.bits)))

    def step(self, ready: bool) -> bool:
        """Account for the cycle that has passed; return whether there was a transfer."""
        moved = self.valid and ready
        if moved:
            self.sent, self.valid = self.sent + 1, False
        return moved


class _Sink:
    """Takes payloads from an output stream and checks that they are held until taken."""

    def __init__(self, name: str, port: Any, expected: int) -> None:
        self.name, self.port, self.expected = name, port, expected
        self.shape = port.payload.shape()
        self.sampled = [port.valid, Value.cast(port.payload).as_unsigned()]
        self.received: list[int] = []
        self.stamps: list[int] = []
        self.ready, self.seen = False, False
        self.held: int | None = None

    @property
    def pending(self) -> str:
        """What is left to be done, or nothing."""
        left = self.expected - len(self.received)
        return f"{self.name} to give {left} of {self.expected} transfers" if left else ""

    def drive(self, ctx: Any, rng: random.Random, stall: float) -> None:
        """Set the signals for the next cycle."""
        before, self.ready = self.ready, not stall or (self.seen and rng.random() >= stall)
        if self.ready != before:
            ctx.set(self.port.ready, self.ready)

    def step(self, valid: bool, payload: int, cycle: int) -> bool:
        """Account for the cycle that has passed; return whether there was a transfer."""
        where = f"{self.name}, transfer {len(self.received)}, cycle {cycle}"
        if self.held is not None:
            assert valid, f"{where}: valid withdrawn while stalled"
            assert payload == self.held, (f"{where}: payload changed while stalled, "
                                          f"{self.held:#x} to {payload:#x}")
        assert not valid or len(self.received) < self.expected, (
            f"{where}: {payload:#x} comes after all {self.expected} transfers expected")
        self.seen |= valid
        self.held = payload if valid and not self.ready else None
        if valid and self.ready:
            self.received.append(payload)
            self.stamps.append(cycle)
        return valid and self.ready
