"""A design at its pins, simulated, behind a pseudo-terminal: a host talks to it as to a board.

Bits of the wires ``rx`` and ``tx`` become bytes of the terminal and back, in Amaranth's simulator
(:func:`simulated`: at once, 40,000 cycles a second) or in Verilator (:func:`verilated`: after ten
seconds of compilation; 160,000 cycles a second, 50,000 while bytes pass both ways).
"""

from __future__ import annotations

import multiprocessing
import os
import select
import subprocess
import sys
import tty
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import cocotb
import cocotb_tools.config as cocotb_config
import find_libpython
from amaranth.sim import Simulator
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

from bittern.gen.progress import Progress, silent
from bittern.sim.verilate import verilate, write_source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bittern.hw.serial import Serial

__all__ = ["Bridge", "Pins", "receive", "send", "simulated", "verilated"]

QUIET = 100_000
"""Cycles without a byte after which the simulation slows down to leave the processor to others."""


class Pins(Protocol):
    """The two wires of a design in a running simulation."""

    @property
    def tx(self) -> int:
        """Level of the wire from the design."""

    def drive(self, rx: int) -> None:
        """Set the wire to the design."""

    async def fall(self) -> None:
        """Wait until `tx` falls."""

    async def wait(self, cycles: float) -> None:
        """Wait for so many cycles of the clock."""


async def send(pins: Pins, byte: int, divisor: int) -> None:
    """Send a byte to the design."""
    for k in range(10):
        pins.drive((byte << 1 | 1 << 9) >> k & 1)
        await pins.wait(divisor)


async def receive(pins: Pins, divisor: int) -> int:
    """Return the next byte from the design, or -1 if it has no stop bit."""
    await pins.fall()
    await pins.wait(divisor / 2)
    bits = 0
    for k in range(9):
        await pins.wait(divisor)
        bits |= pins.tx << k
    return bits - 256 if bits >> 8 else -1


class Bridge:
    """Carries bytes between a terminal and the pins of a design.

    Parameters
    ----------
    descriptor
        The device's side of a pseudo-terminal.
    divisor
        Cycles per bit of the design.
    running
        Says whether to go on.
    """

    def __init__(self, descriptor: int, divisor: int, running: Callable[[], bool]) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor, self.divisor, self.running = descriptor, divisor, running
        self.unsent = bytearray()
        self.quiet = 0

    async def requests(self, pins: Pins) -> None:
        """Carry what the host sends, until the end."""
        pins.drive(1)
        while self.running():
            data = self.transfer(0.02 if self.quiet > QUIET else 0)
            for byte in data:
                await send(pins, byte, self.divisor)
            if data:
                self.quiet = 0
            else:
                await pins.wait(10 * self.divisor)
                self.quiet += 10 * self.divisor

    async def answers(self, pins: Pins) -> None:
        """Carry what the design sends, forever."""
        while True:
            if (byte := await receive(pins, self.divisor)) >= 0:
                self.unsent.append(byte)
                self.transfer(0, read=False)
            self.quiet = 0

    def transfer(self, timeout: float, *, read: bool = True) -> bytes:
        """Give the host what it has room for; return what it sent, within `timeout` seconds."""
        if self.unsent:
            with suppress(BlockingIOError):
                del self.unsent[:os.write(self.descriptor, self.unsent)]
        ready = read and select.select([self.descriptor], [], [], timeout)[0]
        return os.read(self.descriptor, 4096) if ready else b""


@contextmanager
def terminal() -> Iterator[tuple[int, str]]:
    """Open a pseudo-terminal: the descriptor of the device's side, the name of the host's."""
    # The host's side stays open here, too: it may come and go.
    device, host = os.openpty()
    try:
        tty.setraw(host)
        yield device, os.ttyname(host)
    finally:
        os.close(device)
        os.close(host)


class AmaranthPins:
    """Pins in Amaranth's simulator, at a clock of 1 MHz."""

    def __init__(self, ctx: Any, design: Serial) -> None:
        self.ctx, self.design = ctx, design

    @property
    def tx(self) -> int:
        """Level of the wire from the design."""
        return int(self.ctx.get(self.design.tx))

    def drive(self, rx: int) -> None:
        """Set the wire to the design."""
        self.ctx.set(self.design.rx, rx)

    async def fall(self) -> None:
        """Wait until `tx` falls."""
        await self.ctx.negedge(self.design.tx)

    async def wait(self, cycles: float) -> None:
        """Wait for so many cycles of the clock."""
        await self.ctx.delay(cycles * 1e-6)


@contextmanager
def simulated(design: Serial) -> Iterator[str]:
    """Simulate `design` in a process; give the name of the terminal it is behind.

    Raises
    ------
    AssertionError
        If the simulation ended early; it has said why on stderr.
    """
    parent = os.getpid()
    with terminal() as (descriptor, name):
        bridge = Bridge(descriptor, design.link.divisor, lambda: os.getppid() == parent)

        async def requests(ctx: Any) -> None:
            await bridge.requests(AmaranthPins(ctx, design))

        async def answers(ctx: Any) -> None:
            await bridge.answers(AmaranthPins(ctx, design))

        def run() -> None:
            simulator = Simulator(design)
            simulator.add_clock(1e-6)
            simulator.add_testbench(requests)
            simulator.add_testbench(answers, background=True)
            simulator.run()

        # A thread would not do: host and simulator would wait for each other's interpreter lock.
        process = multiprocessing.get_context("fork").Process(target=run, daemon=True)
        process.start()
        try:
            yield name
        finally:
            ended = process.exitcode is not None
            process.kill()
            process.join()
            process.close()
    if ended:
        raise AssertionError("the simulation ended early")


class CocotbPins:
    """Pins in a simulator that cocotb drives, at a clock of 100 MHz."""

    def __init__(self, dut: Any) -> None:
        self.dut, self._fall = dut, FallingEdge(dut.tx)

    @property
    def tx(self) -> int:
        """Level of the wire from the design."""
        return int(self.dut.tx.value)

    def drive(self, rx: int) -> None:
        """Set the wire to the design."""
        self.dut.rx.value = rx

    async def fall(self) -> None:
        """Wait until `tx` falls."""
        await self._fall

    async def wait(self, cycles: float) -> None:
        """Wait for so many cycles of the clock."""
        await Timer(round(cycles * 10), "ns")


@cocotb.test()
async def serve(dut: Any) -> None:
    """Serve the terminal that the environment names, as long as the process lives."""
    parent = os.getppid()
    bridge = Bridge(int(os.environ["BITTERN_TERMINAL"]), int(os.environ["BITTERN_DIVISOR"]),
                    lambda: os.getppid() == parent)
    pins = CocotbPins(dut)
    pins.drive(1)
    Clock(dut.clk, 10, unit="ns").start()
    for level in (0, 1, 0):
        dut.rst.value = level
        await pins.wait(2)
    cocotb.start_soon(bridge.answers(pins))
    await bridge.requests(pins)


@contextmanager
def verilated(verilog: str | Path, divisor: int, folder: Path, *, toplevel: str = "top",
              progress: Progress = silent) -> Iterator[str]:
    """Simulate a design in Verilator, a process; give the name of the terminal it is behind.

    Parameters
    ----------
    verilog
        The design, or the file it is in: its ports are clk, rst, rx and tx.
    divisor
        Cycles per bit.
    folder
        Where to work; ``terminal.log`` in it has the output of the tools.
    toplevel
        Name of the design's top module.
    progress
        Is told what is being done.

    Raises
    ------
    AssertionError
        If the design does not compile, or the simulation ended early: with the end of the log.
    """
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "terminal.log"
    log.unlink(missing_ok=True)
    public = folder / "pins.vlt"
    public.write_text("`verilator_config\n" + "".join(
        f'public_flat_rw -module "{toplevel}" -var "{port}"\n'
        for port in ("clk", "rst", "rx", "tx")))
    libraries = cocotb_config.libs_dir
    progress("compile", 0)
    program = verilate(
        [public, write_source(verilog, folder, toplevel)],
        Path(cocotb_config.share_dir, "lib", "verilator", "verilator.cpp"), folder / "verilated",
        toplevel=toplevel, log=log,
        args=["--vpi", "-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator"])
    progress("compile", 1)
    with terminal() as (descriptor, name), log.open("a") as file, subprocess.Popen(
            [program], cwd=folder, stdout=file, stderr=subprocess.STDOUT, pass_fds=[descriptor],
            env={**os.environ,
                 "BITTERN_TERMINAL": str(descriptor),
                 "BITTERN_DIVISOR": str(divisor),
                 "COCOTB_TEST_MODULES": __name__,
                 "COCOTB_TOPLEVEL": toplevel,
                 "COCOTB_RESULTS_FILE": str(folder / "terminal.xml"),
                 "COCOTB_TRUST_INERTIAL_WRITES": "1",  # as cocotb's own runner does
                 "GPI_USERS": f"{find_libpython.find_libpython()};"
                              f"{cocotb_config.pygpi_entry_point()}",
                 "PYGPI_PYTHON_BIN": sys.executable,
                 "PYTHONPATH": os.pathsep.join(sys.path),
                 "TOPLEVEL_LANG": "verilog"}) as process:
        try:
            yield name
        finally:
            ended = process.poll() is not None
            process.kill()
    if ended:
        raise AssertionError(f"the simulation ended early, all it said is in {log}:\n"
                             + "\n".join(log.read_text().splitlines()[-15:]))
