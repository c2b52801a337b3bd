# amaranth: UnusedElaboratable=no
"""The host's side: with simulated designs, with devices that misbehave, and with none."""

from __future__ import annotations

import os
import random
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from amaranth import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.boards.host import Device, Identity, check, frame, pack, stuff, unframe, unpack
from bittern.gen.port import Port
from bittern.gen.verilog import to_verilog
from bittern.hw.link import CHECK, END, ESC, Command, Status
from bittern.hw.serial import Serial
from bittern.sim.pty import simulated, terminal, verilated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IDENTITY = b"\xc0\xdbtest\x00\xff"


class Increment(wiring.Component):
    """Add 1 to every lane, modulo its width; take a transfer only `every` so many cycles."""

    i: stream.Interface
    o: stream.Interface

    def __init__(self, port: Port, every: int = 1) -> None:
        self.every = every
        payload = stream.Signature(data.ArrayLayout(port.width, port.lanes))
        super().__init__({"i": In(payload), "o": Out(payload)})

    def elaborate(self, _platform: object) -> Module:
        m = Module()
        timer = Signal(range(self.every))
        go = Signal()
        m.d.sync += timer.eq(Mux(timer == self.every - 1, 0, timer + 1))
        m.d.comb += [go.eq((timer == 0) & (~self.o.valid | self.o.ready)), self.i.ready.eq(go)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(go & self.i.valid):
            m.d.sync += self.o.valid.eq(1)
            m.d.sync += [y.eq(x + 1) for x, y in zip(self.i.payload, self.o.payload, strict=True)]
        return m


def design(port: Port, *, every: int = 1, divisor: int = 4) -> Serial:
    return Serial(Increment(port, every), i_transfers=port.transfers, o_transfers=port.transfers,
                  identity=IDENTITY, divisor=divisor)


PORTS = [Port(features=20, lanes=3, width=5, signed=False), Port(7, 1, 13, False),
         Port(1, 1, 1, False), Port(6, 2, 8, False)]


@pytest.mark.parametrize("port", PORTS, ids=str)
def test_a_simulated_design_is_used_like_a_board(port: Port) -> None:
    x = np.random.default_rng(7).integers(0, 1 << port.width, (6, port.features))
    counts: list[int] = []
    with (simulated(design(port)) as name,
          Device(name, 115200, design=IDENTITY, timeout=10) as device):
        size = port.transfers * -(-port.bits // 8)
        assert device.identity == device.identify() == Identity(IDENTITY, size, size)
        y = unpack(port, device.infer(pack(port, x), progress=counts.append))
        assert device.infer([]) == []
    assert np.array_equal(y, (x + 1) % (1 << port.width))
    assert counts == [1, 2, 3, 4, 5, 6]


def test_the_host_finds_the_pace_of_a_slow_core() -> None:
    port = Port(6, 1, 8, False)
    x = np.arange(60).reshape(10, 6)
    with (simulated(design(port, every=500)) as name,
          Device(name, 115200, timeout=10, window=8) as device):
        assert np.array_equal(unpack(port, device.infer(pack(port, x))), x + 1)


def test_a_design_survives_hosts_that_come_and_go() -> None:
    port = PORTS[-1]
    with simulated(design(port)) as name:
        for k in range(3):
            line = os.open(name, os.O_RDWR | os.O_NOCTTY)
            os.write(line, random.Random(k).randbytes(30) + frame(b"\x01\x02" + bytes(6))[:-3])
            os.close(line)
            with Device(name, 3_000_000, timeout=10) as device:
                assert unpack(port, device.infer([bytes(6)])).tolist() == [[1] * 6]


@pytest.mark.slow
def test_the_same_host_talks_to_a_design_in_verilator(tmp_path: Path) -> None:
    port = PORTS[0]
    x = np.random.default_rng(8).integers(0, 32, (100, port.features))
    with (verilated(to_verilog(design(port, divisor=8)), 8, tmp_path) as name,
          Device(name, 115200, design=IDENTITY, timeout=20) as device):
        y = unpack(port, device.infer(pack(port, x)))
    assert np.array_equal(y, (x + 1) % 32)


@contextmanager
def acted(act: Callable[[bytes], bytes]) -> Iterator[str]:
    """Give a terminal behind which `act` answers the frames it gets, each a raw one."""
    with terminal() as (descriptor, name):
        stop = threading.Event()
        os.set_blocking(descriptor, False)

        def run() -> None:
            received = b""
            while not stop.wait(0.001):
                try:
                    received += os.read(descriptor, 4096)
                except BlockingIOError:
                    continue
                *frames, received = received.split(bytes([END]))
                os.write(descriptor, b"".join(act(raw) for raw in frames if raw))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield name
        finally:
            stop.set()
            thread.join()


def answer(raw: bytes) -> bytes:
    """Answer as a design does whose frames are 4 bytes and 2, of which it takes the first."""
    body = unframe(raw)
    if body is None:
        return frame(bytes([raw[0], Status.BAD_CRC.value]))
    payload = body[2:4] if body[1] == Command.INFER.value else \
        IDENTITY + bytes([4, 0, 0, 0, 2, 0, 0, 0])
    return frame(bytes([body[0], Status.OK.value]) + payload)


class Troubled:
    """A design on a bad line, from the second request on."""

    def __init__(self, trouble: Callable[[random.Random, bytes], bytes]) -> None:
        self.trouble, self.rng, self.count = trouble, random.Random(1), 0

    def __call__(self, raw: bytes) -> bytes:
        self.count += 1
        if self.count == 1 or self.rng.random() < 0.6:
            return answer(raw)
        return self.trouble(self.rng, raw)


TROUBLES: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "lost answers": lambda *_: b"",
    "damaged requests": lambda _, raw: answer(raw[:-1]),
    "damaged sequence": lambda _, raw: answer(b"\x05" + raw[1:-1]),
    "damaged answers": lambda _, raw: b"\x07" + answer(raw),
    "truncated answers": lambda _, raw: answer(raw)[:4],
    "answers twice": lambda _, raw: answer(raw) * 2,
    "busy": lambda _, raw: frame(bytes([raw[0], Status.BUSY.value])),
    "noise between": lambda rng, raw: rng.randbytes(20) + bytes([END, END]) + answer(raw),
    "strange status": lambda _, raw: frame(bytes([raw[0], 99])),
}


@pytest.mark.parametrize("name", TROUBLES)
def test_what_goes_wrong_is_asked_again(name: str) -> None:
    frames = [bytes([k, ESC, 255 - k, END]) for k in range(20)]
    with (acted(Troubled(TROUBLES[name])) as port,
          Device(port, 115200, timeout=0.06, retries=12) as device):
        assert device.infer(frames) == [payload[:2] for payload in frames]


def garbage(_: bytes) -> bytes:
    return random.Random(2).randbytes(3000)


HINT = r"is this the port of the board, is its bitstream loaded, and does it run at 115200 baud\?$"


@pytest.mark.parametrize(("act", "error", "message"), [
    (lambda _: b"", TimeoutError, r"^\S+: no answer within 0.05 s, asked 2 times: " + HINT),
    (lambda raw: raw + bytes([END]), ConnectionError,
     r"^\S+: the design refused a request 2 times: "),
    (garbage, ConnectionError, r"^\S+: \d+ bytes came that are no answer: " + HINT),
    (lambda _: b"\x00" * 3, ConnectionError, r"^\S+: \d+ bytes came that are no answer"),
    (lambda _: bytes([END]) * 4000, ConnectionError, r"^\S+: \d+ bytes came that are no answer"),
    (lambda raw: frame(bytes([raw[0], Status.BUSY.value])), ConnectionError,
     r"^\S+: the design refused a request 2 times: it is busy$"),
    (lambda raw: frame(bytes([raw[0], 0, 1, 2])), ConnectionError,
     r"^\S+: the design refused a request 2 times: its answer has the wrong length$"),
])
def test_a_device_that_is_none_is_given_up(act: Callable[[bytes], bytes], error: type[OSError],
                                           message: str) -> None:
    with acted(act) as port, pytest.raises(error, match=message):
        Device(port, 115200, timeout=0.05, retries=1)


def test_another_design_is_refused() -> None:
    with acted(answer) as port:
        with pytest.raises(ValueError, match=rf"^{port}: the board holds the design "
                           r"c0db7465737400ff, not 3132333435363738: flash the bitstream that "
                           r"belongs to this network$"):
            Device(port, 115200, design=b"12345678")
        with Device(port, 115200) as device, pytest.raises(
                ValueError, match=rf"^{port}: the design takes frames of 4 bytes, but frame 1 has "
                "3$"):
            device.infer([bytes(4), bytes(3)])


def test_a_port_that_does_not_open_says_why(tmp_path: Path, monkeypatch: Any) -> None:
    missing, file = tmp_path / "ttyUSB9", tmp_path / "file"
    file.write_text("no terminal")
    with pytest.raises(FileNotFoundError, match=r"^\S+ttyUSB9: there is no such port: is the "
                       r"board plugged in\?$"):
        Device(str(missing), 115200)
    with pytest.raises(OSError, match=r"^\S+file: does not open: .*$"):
        Device(str(file), 115200)
    with acted(answer) as port:
        with Device(port, 115200), pytest.raises(
                OSError, match=r"^\S+: another program has it open: end that one$"):
            Device(port, 115200)

        def refuse(*_args: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(PermissionError, match=r"^\S+: may not be opened by you: join the "
                           r"group that owns it \(often dialout\), and log in again$"):
            Device(port, 115200)


def test_a_port_that_goes_away_says_so() -> None:
    device, host = os.openpty()
    name = os.ttyname(host)

    def leave() -> None:
        os.read(device, 100)
        os.close(host)
        os.close(device)

    thread = threading.Thread(target=leave)
    thread.start()
    with pytest.raises(ConnectionError, match=rf"^{name}: the port has gone away \(.*\): plug it "
                       "in again$"):
        Device(name, 115200)
    thread.join()


def test_the_window_is_checked() -> None:
    with pytest.raises(ValueError, match=r"^the window must be 1 to 8, not 9$"):
        Device("nowhere", 115200, window=9)


def test_frames_are_those_of_the_hardware() -> None:
    rng = random.Random(3)
    for size in range(60):
        body = bytes(rng.choice([END, ESC, rng.randrange(256)]) for _ in range(size))
        assert check(body) == CHECK.compute(body).to_bytes(2, "little")
        raw = frame(body)
        assert raw.count(END) == 1
        assert unframe(raw[:-1]) == (body if size >= 2 else None)
    assert unframe(stuff(b"\x01\x00\x00\x00")[:-1]) is None
    assert unframe(bytes([1, ESC])) is None
    assert unframe(bytes([ESC, 5, 2, 2, 2])) is None
