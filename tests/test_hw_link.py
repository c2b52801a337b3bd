# amaranth: UnusedElaboratable=no
"""The host link: what is on the wire on one side, whole frames on the other."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from amaranth.sim import Simulator

from bittern.boards.host import check, frame, stuff, unframe
from bittern.hw.link import END, ESC, OUTSTANDING, Command, Link, Status
from bittern.hw.uart import UARTReceiver
from bittern.sim.pty import AmaranthPins, receive, send

IDENTITY = bytes([END, ESC, 0, 1, 2, 0xDC, 0xDD, 0xFF])
DIVISOR = 4

SHAPES = {  # i_bits, i_transfers, o_bits, o_transfers
    "bytes": (8, 4, 8, 3),
    "primes": (13, 7, 11, 5),
    "bits": (1, 1, 1, 1),
    "wide": (40, 3, 67, 2),
    "one byte to many": (8, 1, 24, 4),
}


@dataclass
class Bench:
    """A link, a core behind it that the bench plays, and what is sent and comes back."""

    i_bits: int
    i_transfers: int
    o_bits: int
    o_transfers: int
    seed: int = 1
    stall: float = 0.3
    slow: int = 0
    """Cycles in which the core takes nothing, from the start."""
    seen: list[list[int]] = field(default_factory=list)
    """Frames that the core took."""
    taken: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.link = Link(i_bits=self.i_bits, i_transfers=self.i_transfers, o_bits=self.o_bits,
                         o_transfers=self.o_transfers, identity=IDENTITY, divisor=DIVISOR)

    def payload(self) -> bytes:
        """Return a random input frame with a taste for special bytes, unused bits set too."""
        return bytes(self.rng.choice([END, ESC, 0xDC, 0xDD, self.rng.randrange(256)])
                     for _ in range(self.link.i_bytes))

    def transfers(self, payload: bytes) -> list[int]:
        size = -(-self.i_bits // 8)
        return [int.from_bytes(payload[k:k + size], "little") & (1 << self.i_bits) - 1
                for k in range(0, len(payload), size)]

    def result(self, transfers: list[int]) -> list[int]:
        """Return what the core makes of a frame: all of its outputs depend on all of it."""
        rng = random.Random(repr(transfers))
        return [rng.getrandbits(self.o_bits) for _ in range(self.o_transfers)]

    def answer(self, payload: bytes) -> bytes:
        size = -(-self.o_bits // 8)
        return b"".join(value.to_bytes(size, "little")
                        for value in self.result(self.transfers(payload)))

    def run(self, wire: bytes, answers: int, *, pauses: bool = False) -> list[bytes]:
        """Put `wire` on the wire; return the bodies of so many answers, and see no more come."""
        print(f"link bench: seed {self.seed}")
        got: list[bytes] = []
        done = False

        async def host(ctx: Any) -> None:
            pins = AmaranthPins(ctx, self.link)
            await pins.wait(10)
            for byte in wire:
                await send(pins, byte, DIVISOR)
                if pauses and self.rng.random() < 0.3:
                    await pins.wait(self.rng.randrange(100))
            nonlocal done
            done = True

        async def listen(ctx: Any) -> None:
            pins = AmaranthPins(ctx, self.link)
            while True:
                raw = b""
                while (byte := await receive(pins, DIVISOR)) != END:
                    raw += bytes([byte])
                body = unframe(raw)
                assert body is not None, raw.hex()
                got.append(body)

        async def wait(ctx: Any) -> None:
            before, quiet = None, 0
            while quiet < 30 and not (done and len(got) >= answers):
                await ctx.delay(100e-6)
                now = done, len(got), len(self.taken), len(self.wanted)
                before, quiet = now, quiet + 1 if done and now == before else 0
            await ctx.delay(800e-6)

        self.taken, self.wanted = [], []
        sim = Simulator(self.link)
        sim.add_clock(1e-6)
        sim.add_testbench(wait)
        for bench in (host, listen, self.take, self.give):
            sim.add_testbench(bench, background=True)
        sim.run()
        assert len(self.taken) % self.i_transfers == 0, "the core saw a torn frame"
        return got

    async def take(self, ctx: Any) -> None:
        """Take frames as the core does, and hold the link to the rules of streams."""
        o = self.link.o
        await ctx.tick().repeat(self.slow + 1)
        held = None
        while True:
            ready = self.rng.random() >= self.stall
            ctx.set(o.ready, ready)
            tick = ctx.tick().sample(o.valid, o.payload)
            *_, valid, payload = await tick
            assert held is None or (valid and payload == held)
            held = payload if valid and not ready else None
            if valid and ready:
                self.taken.append(payload)
                if len(self.taken) % self.i_transfers == 0:
                    self.seen.append(self.taken[-self.i_transfers:])
                    self.wanted.extend(self.result(self.seen[-1]))

    async def give(self, ctx: Any) -> None:
        """Give results as the core does."""
        i = self.link.i
        while True:
            if not self.wanted or self.rng.random() < self.stall:
                await ctx.tick()
                continue
            ctx.set(i.valid, 1)
            ctx.set(i.payload, self.wanted[0])
            await ctx.tick().until(i.ready)
            ctx.set(i.valid, 0)
            self.wanted.pop(0)


def request(sequence: int, command: int, payload: bytes = b"") -> bytes:
    return frame(bytes([sequence, command]) + payload)


def infer(sequence: int, payload: bytes) -> bytes:
    return request(sequence, Command.INFER.value, payload)


def ok(sequence: int, payload: bytes) -> bytes:
    return bytes([sequence, Status.OK.value]) + payload


def failed(sequence: int, status: Status) -> bytes:
    return bytes([sequence, status.value])


@pytest.mark.parametrize("stall", [0.0, 0.5])
@pytest.mark.parametrize("shape", SHAPES)
def test_frames_reach_the_core_and_its_answers_the_host(shape: str, stall: float) -> None:
    bench = Bench(*SHAPES[shape], seed=len(shape), stall=stall)
    # One by one, so that a core that answers more than it takes is never busy.
    for k in range(2):
        payload = bench.payload()
        got = bench.run(infer(k, payload), 1, pauses=k == 1)
        assert got == [ok(k, bench.answer(payload))]
        assert bench.seen.pop() == bench.transfers(payload)


@pytest.mark.parametrize("shape", ["bytes", "primes"])
def test_requests_back_to_back_are_answered_in_order(shape: str) -> None:
    bench = Bench(*SHAPES[shape], seed=7)
    payloads = [bench.payload() for _ in range(6)]
    got = bench.run(b"".join(infer(250 + k, p) for k, p in enumerate(payloads)), 6)
    assert got == [ok(250 + k, bench.answer(p)) for k, p in enumerate(payloads)]
    assert bench.seen == [bench.transfers(p) for p in payloads]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_core_has_the_first_transfer_after_the_latency(shape: str) -> None:
    bench = Bench(*SHAPES[shape])
    link, taken = bench.link, []

    async def host(ctx: Any) -> None:
        pins = AmaranthPins(ctx, link)
        await pins.wait(10)
        for byte in infer(1, bench.payload())[:-1]:
            await send(pins, byte, DIVISOR)
        await ctx.tick()
        ctx.set(link.rx, 0)  # The start bit of END, whose other bits follow.
        cycles = 0
        while not ctx.get(link.o.valid):
            await ctx.tick()
            cycles += 1
            if cycles % DIVISOR == 0 and cycles < 10 * DIVISOR:
                ctx.set(link.rx, (END << 1 | 1 << 9) >> cycles // DIVISOR & 1)
        taken.append(cycles)

    sim = Simulator(link)
    sim.add_clock(1e-6)
    sim.add_testbench(host)
    sim.run()
    assert taken == [UARTReceiver(DIVISOR).latency + link.latency]


def test_it_says_what_it_is() -> None:
    bench = Bench(*SHAPES["primes"])
    [got] = bench.run(request(END, Command.IDENTIFY.value), 1)
    assert got == ok(END, IDENTITY + (14).to_bytes(4, "little") + (10).to_bytes(4, "little"))


PAYLOAD = bytes([1, 2, 3, 4, 5, 6])
BODY = bytes([9, Command.INFER.value]) + PAYLOAD
#: Bad frames and what their answers have after the sequence byte; None if there is no answer.
BAD: dict[str, tuple[bytes, Status | None]] = {
    "truncated": (frame(BODY)[:5] + bytes([END]), Status.BAD_CRC),
    "torn between sequence and command": (bytes([9, END]), Status.BAD_CRC),
    "wrong CRC": (stuff(BODY + bytes([b ^ 1 for b in check(BODY)])), Status.BAD_CRC),
    "flipped bit": (stuff(BODY[:-1] + bytes([7]) + check(BODY)), Status.BAD_CRC),
    "lost byte": (stuff(BODY[:-1] + check(BODY)), Status.BAD_CRC),
    "doubled byte": (stuff(BODY + BODY[-1:] + check(BODY)), Status.BAD_CRC),
    "garbage": (bytes(range(30)) + bytes([END]), Status.BAD_CRC),
    "too short": (frame(BODY[:-1]), Status.BAD_LENGTH),
    "too long": (frame(BODY + b"\0"), Status.BAD_LENGTH),
    "far too long": (frame(BODY + bytes(300)), Status.BAD_LENGTH),
    "no payload": (frame(BODY[:2]), Status.BAD_LENGTH),
    "identify with payload": (request(9, Command.IDENTIFY.value, PAYLOAD), Status.BAD_LENGTH),
    "unknown command": (request(9, 0x77, PAYLOAD), Status.UNKNOWN),
    "only an escape": (bytes([ESC, END]), None),
    "many ENDs": (bytes([END] * 50), None),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_frame_is_answered_and_harms_no_other(name: str) -> None:
    bench = Bench(13, 3, 8, 2, seed=len(name))
    wrong, status = BAD[name]
    second = bench.payload()
    answers = [ok(1, bench.answer(PAYLOAD)), ok(2, bench.answer(second))]
    got = bench.run(infer(1, PAYLOAD) + wrong + infer(2, second), 2 + (status is not None))
    if status is not None:
        between = got.pop(1)
        assert between[1:] == bytes([status.value])
        assert between[0] == 9 or status is Status.BAD_CRC
    assert got == answers
    assert bench.seen == [bench.transfers(PAYLOAD), bench.transfers(second)]


def test_garbage_before_a_frame_is_ended_by_a_delimiter() -> None:
    bench = Bench(*SHAPES["bytes"])
    payload = bench.payload()
    got = bench.run(b"\x00noise\xdb" + bytes([END]) + infer(3, payload), 2)
    assert [body[1] for body in got] == [Status.BAD_CRC.value, Status.OK.value]
    assert got[1] == ok(3, bench.answer(payload))


def test_random_bytes_never_reach_the_core() -> None:
    bench = Bench(8, 2, 8, 1, seed=11)
    noise = bytes(bench.rng.choice([END, ESC, 2, bench.rng.randrange(256)]) for _ in range(500))
    payload = bench.payload()
    # Some answers are lost: what comes in frames of two bytes is answered in seven.
    got = bench.run(noise + bytes([END] * 150) + infer(3, payload), 1000)
    assert got[-1] == ok(3, bench.answer(payload))
    assert all(body[1] != Status.OK.value for body in got[:-1])
    assert bench.seen == [bench.transfers(payload)]


def test_a_frame_that_overtakes_a_stalled_core_is_answered_busy() -> None:
    bench = Bench(8, 6, 8, 2, seed=3, stall=0.0, slow=2600)
    payloads = [bytes(range(k, k + 6)) for k in range(10, 50, 10)]
    wire = b"".join(infer(k, p) for k, p in enumerate(payloads))
    got = bench.run(wire + bytes([END] * 60) + infer(9, payloads[0]), 5)
    assert got == [ok(0, bench.answer(payloads[0])),
                   *(failed(k, Status.BUSY) for k in (1, 2, 3)), ok(9, bench.answer(payloads[0]))]
    assert bench.seen == [bench.transfers(payloads[0])] * 2


def test_no_more_inferences_wait_than_it_has_room_for() -> None:
    # Long answers to short questions, from a core that takes all questions at once.
    bench = Bench(8, 1, 8, 90, seed=5, stall=0.0)
    wire = b"".join(infer(k, bytes([k])) for k in range(OUTSTANDING + 2))
    got = bench.run(wire, OUTSTANDING + 2)
    assert [body[:2] for body in got] == [
        *(ok(k, b"") for k in range(OUTSTANDING)),
        *(failed(OUTSTANDING + k, Status.BUSY) for k in range(2))]


@pytest.mark.parametrize(("change", "message"), [
    ({"i_bits": 0}, r"^Bits and transfers must be at least 1, not 0, 4, 8 and 3$"),
    ({"identity": b"short"}, r"^Identity must be 8 bytes, not b'short'$"),
    ({"divisor": 3}, r"^Divisor must be at least 4 cycles per bit, not 3$"),
])
def test_parameters_are_checked(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"i_bits": 8, "i_transfers": 4, "o_bits": 8, "o_transfers": 3,
                            "identity": IDENTITY, "divisor": 4}
    with pytest.raises(ValueError, match=message):
        Link(**good | change)
