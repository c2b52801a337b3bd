"""Host link: inference requests over a UART, framed, checked, and answered in order.

On the wire a frame is ``[sequence, command, payload..., CRC low, CRC high]``, byte-stuffed and
ended by `END` as in SLIP (RFC 1055). Its answer is ``[sequence, status, payload..., CRC low, CRC
high]``, likewise. The CRC is `CHECK` over all bytes before it. Empty frames are ignored, so an
`END` ahead of a frame ends whatever garbage came before it.

==============  =====================  =========================================================
command         payload                payload of the answer, if its status is ``OK``
==============  =====================  =========================================================
``IDENTIFY``    none                   the identity, 8 bytes; bytes per input frame and bytes
                                       per output frame, 4 bytes each, lowest first
``INFER``       one input frame        one output frame
==============  =====================  =========================================================

A frame is a fixed number of transfers, each in whole bytes, lowest first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.crc.catalog import CRC16_IBM_SDLC  # type: ignore[import-untyped]
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from bittern.hw.ints import width_of
from bittern.hw.uart import UARTReceiver, UARTTransmitter, check_divisor

if TYPE_CHECKING:
    from amaranth.hdl import Shape, Value

__all__ = ["CHECK", "END", "ESC", "ESC_END", "ESC_ESC", "OUTSTANDING", "Command", "Link", "Status"]

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD

#: CRC of a frame, for hardware and software.
CHECK = CRC16_IBM_SDLC(8)

#: Inferences that may wait for their answers; more are answered ``BUSY``.
OUTSTANDING = 8
BLOCK = 1024 # bits from which frames are kept in a block of memory


class Command(enum.Enum, shape=8):
    """What a request asks for."""

    IDENTIFY = 1
    INFER = 2


class Status(enum.Enum, shape=3):
    """What became of a request."""

    #: Done.
    OK = 0
    #: The CRC is wrong; then the sequence byte of the answer may be, too.
    BAD_CRC = 1
    #: No such command.
    UNKNOWN = 2
    #: The payload is not as long as the command wants it.
    BAD_LENGTH = 3
    #: No room; ask again after the next answer.
    BUSY = 4


class Link(wiring.Component):
    """Serve the input and output stream of a network to a host, over a UART.

    The payload of a request waits in a memory until its CRC is right, then goes to the core at a
    byte a cycle: the core sees whole frames only. The next request is received while the core
    takes the last one, as long as it does not overtake it; one that would is answered ``BUSY``,
    and so is one when `OUTSTANDING` inferences wait for their answers. Any frame that is not
    empty is answered, but for those that come when twice as many answers are waiting: they are
    lost. Answers go out in the order of the requests, and no faster than the wire: the core is
    stalled meanwhile.

    `latency` is the cycles from the receiver's ``o.valid``, for the `END` of a request, to the
    first transfer on ``o``. With 64 bytes in and 10 out, in transfers of a byte, on an iCE40: 330
    LUT4, 2 block RAMs of 4 kbit, 52 MHz on a UP5K.

    Parameters
    ----------
    i_bits, i_transfers : int
        Width of a transfer to the core, and transfers of an input frame.
    o_bits, o_transfers : int
        Width of a transfer from the core, and transfers of an output frame.
    identity : bytes
        Eight bytes that name the design.
    divisor : int
        Cycles per bit of the UART, at least 4.

    Members
    -------
    rx : ``In(1)``
        Wire from the host.
    tx : ``Out(1)``
        Wire to the host.
    o : ``Out(stream.Signature(unsigned(i_bits)))``
        To the input of the core.
    i : ``In(stream.Signature(unsigned(o_bits)))``
        From the output of the core.

    Attributes
    ----------
    i_bytes, o_bytes : int
        Bytes of an input and an output frame.
    """

    rx: Signal
    tx: Signal
    o: stream.Interface
    i: stream.Interface

    def __init__(self, *, i_bits: int, i_transfers: int, o_bits: int, o_transfers: int,
                 identity: bytes, divisor: int) -> None:
        if min(i_bits, i_transfers, o_bits, o_transfers) < 1:
            raise ValueError("Bits and transfers must be at least 1, not "
                             f"{i_bits}, {i_transfers}, {o_bits} and {o_transfers}")
        if len(identity) != 8:
            raise ValueError(f"Identity must be 8 bytes, not {identity!r}")
        check_divisor(divisor)
        self.i_bits, self.i_transfers = i_bits, i_transfers
        self.o_bits, self.o_transfers = o_bits, o_transfers
        self.i_bytes, self.o_bytes = i_transfers * -(-i_bits // 8), o_transfers * -(-o_bits // 8)
        self.identity, self.divisor = identity, divisor
        self.latency = 2 - (-i_bits // 8)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1),  # type: ignore[call-arg]
                          "o": Out(stream.Signature(unsigned(i_bits))),
                          "i": In(stream.Signature(unsigned(o_bits)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UARTReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UARTTransmitter(self.divisor)
        m.submodules.intake = intake = _Intake(self.i_bits, self.i_bytes)
        m.submodules.answers = answers = _Answers(self)
        m.submodules.stuffer = stuffer = _Stuffer()
        # A power of two in its memory, and one at its output.
        m.submodules.queue = queue = SyncFIFOBuffered(width=_Answer.size,
                                                      depth=2 * OUTSTANDING + 1)
        wiring.connect(m, receiver.o, intake.i)
        wiring.connect(m, intake.o, wiring.flipped(self.o))
        wiring.connect(m, wiring.flipped(self.i), answers.i)
        wiring.connect(m, answers.o, stuffer.i)
        wiring.connect(m, stuffer.o, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx),
            intake.room.eq(queue.r_level < OUTSTANDING),
            queue.w_data.eq(intake.answer), queue.w_en.eq(intake.ended),
            answers.answer.payload.eq(queue.r_data), answers.answer.valid.eq(queue.r_rdy),
            queue.r_en.eq(answers.answer.ready),
        ]
        return m


#: What is to be answered: to which request, and with the payload of which command.
_Answer = data.StructLayout({"sequence": 8, "status": Status, "identify": 1})

#: A byte of a frame, or its end.
_Byte = data.StructLayout({"byte": 8, "end": 1})


class _Intake(wiring.Component):
    """Take frames off the wire: decide on each at its end, send the payload of good ones.

    Members
    -------
    i : ``In(stream.Signature(8))``
        Bytes from the wire, always taken.
    o : ``Out(stream.Signature(unsigned(bits)))``
        Transfers of whole input frames, `size` bytes each.
    room : ``In(1)``
        Whether another inference can be answered.
    ended : ``Out(1)``
        High for a cycle at the end of a frame that is not empty.
    answer : ``Out(_Answer)``
        How to answer the frame that ended.
    """

    i: stream.Interface
    o: stream.Interface
    room: Signal
    ended: Signal
    answer: data.View

    def __init__(self, bits: int, size: int) -> None:
        self.bits, self.size = bits, size
        super().__init__({"i": In(stream.Signature(8)),
                          "o": Out(stream.Signature(unsigned(bits))),
                          "room": In(1), "ended": Out(1), "answer": Out(_Answer)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory: Memory[Shape, Value] = Memory(
            shape=unsigned(8), depth=self.size, init=[],
            attrs={"ram_style": "block"} if 8 * self.size >= BLOCK else {})
        m.submodules.memory = memory
        writer, reader = memory.write_port(), memory.read_port()
        m.submodules.drain = drain = _Drain(self.bits, self.size)
        m.submodules.check = check = CHECK.create()
        wiring.connect(m, drain.o, wiring.flipped(self.o))
        m.d.comb += [reader.addr.eq(drain.at), reader.en.eq(drain.fetch),
                     drain.byte.eq(reader.data)]

        # Bytes come tens of cycles apart: whatever depends on them has settled in a register when
        # the next one comes, and no path is long.
        byte, taken, ended, escaped = Signal(8), Signal(), Signal(), Signal()
        delimiter, escape = self.i.payload == END, self.i.payload == ESC
        m.d.comb += self.i.ready.eq(1)
        m.d.sync += [taken.eq(self.i.valid & ~delimiter & ~escape),
                     ended.eq(self.i.valid & delimiter)]
        with m.If(self.i.valid):
            # What else is escaped was not stuffed by these rules; the CRC finds it.
            m.d.sync += [escaped.eq(escape),
                         byte.eq(Mux(escaped, Mux(self.i.payload[0], ESC, END), self.i.payload))]

        # `at` is the index of the byte in the payload: -2 is the sequence byte, and what lies past
        # the payload is the CRC. It stops where a frame is too long for any.
        at = Signal(signed(width_of(-2, self.size + 3)), init=-2)
        sequence, command = Signal(8), Signal(8)
        top, head, payload, overtakes, torn = (Signal() for _ in range(5))
        m.d.comb += [check.data.eq(byte), check.valid.eq(taken), check.start.eq(ended),
                     writer.addr.eq(at), writer.data.eq(byte),
                     writer.en.eq(taken & payload & ~overtakes & ~torn)]
        # The memory is free up to the byte that the core has yet to get.
        m.d.sync += [top.eq(at == self.size + 3), head.eq(at < 0),
                     payload.eq((at >= 0) & (at < self.size)),
                     overtakes.eq(drain.busy & (at[:-1] >= drain.at))]
        with m.If(taken):
            m.d.sync += [at.eq(at + ~top), torn.eq(torn | (payload & overtakes))]
            # The last two bytes ahead of the payload.
            with m.If(head):
                m.d.sync += Cat(sequence, command).eq(Cat(command, byte))
        with m.If(ended):
            m.d.sync += [at.eq(-2), torn.eq(0)]

        empty, whole, fits, infer, identify = (Signal() for _ in range(5))
        m.d.sync += [empty.eq(at == -2), whole.eq(check.match_detected),
                     infer.eq(command == Command.INFER), identify.eq(command == Command.IDENTIFY),
                     fits.eq(at == Mux(infer, self.size + 2, 2))]
        m.d.comb += [self.ended.eq(ended & ~empty), self.answer.sequence.eq(sequence),
                     self.answer.identify.eq(identify)]
        with m.If(~whole):
            m.d.comb += self.answer.status.eq(Status.BAD_CRC)
        with m.Elif(~infer & ~identify):
            m.d.comb += self.answer.status.eq(Status.UNKNOWN)
        with m.Elif(~fits):
            m.d.comb += self.answer.status.eq(Status.BAD_LENGTH)
        with m.Elif(infer & (torn | ~self.room)):
            m.d.comb += self.answer.status.eq(Status.BUSY)
        with m.Else():
            m.d.comb += drain.start.eq(self.ended & infer)
        return m


class _Drain(wiring.Component):
    """Read a frame from memory, a byte a cycle, and send it in transfers.

    Members
    -------
    start : ``In(1)``
        High for a cycle, while not `busy`, when the memory holds a frame.
    busy : ``Out(1)``
        Whether bytes of the frame are still to be read.
    at : ``Out(range(size))``
        The next of them.
    fetch : ``Out(1)``
        Whether it is read now, to be `byte` from the next cycle until the next is.
    byte : ``In(8)``
        The byte last read.
    o : ``Out(stream.Signature(unsigned(bits)))``
        Transfers.
    """

    start: Signal
    busy: Signal
    at: Signal
    fetch: Signal
    byte: Signal
    o: stream.Interface

    def __init__(self, bits: int, size: int) -> None:
        self.size, self.lanes = size, -(-bits // 8)
        super().__init__({"start": In(1), "busy": Out(1), "at": Out(range(size)),
                          "fetch": Out(1), "byte": In(8),
                          "o": Out(stream.Signature(unsigned(bits)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        held, lane = Signal(), Signal(range(self.lanes))
        before = Signal(8 * (self.lanes - 1), reset_less=True)
        last: Value = lane == self.lanes - 1
        step: Value = held & (~last | self.o.ready)
        m.d.comb += [self.o.payload.eq(Cat(before, self.byte)), self.o.valid.eq(held & last),
                     self.fetch.eq(self.busy & (~held | step))]
        with m.If(step):
            m.d.sync += [held.eq(0), lane.eq(Mux(last, 0, lane + 1)),
                         before.eq(Cat(before, self.byte)[8:])]
        with m.If(self.fetch):
            m.d.sync += [held.eq(1), self.at.eq(self.at + 1)]
            with m.If(self.at == self.size - 1):
                m.d.sync += [self.busy.eq(0), self.at.eq(0)]
        with m.If(self.start):
            m.d.sync += self.busy.eq(1)
        return m


class _Answers(wiring.Component):
    """Put answers together: head, payload and CRC.

    Members
    -------
    answer : ``In(stream.Signature(_Answer))``
        What is to be answered, taken when it is.
    i : ``In(stream.Signature(unsigned(o_bits)))``
        Transfers of output frames.
    o : ``Out(stream.Signature(_Byte))``
        Bytes of the answers.
    """

    answer: stream.Interface
    i: stream.Interface
    o: stream.Interface

    def __init__(self, link: Link) -> None:
        self.identity = (link.identity + link.i_bytes.to_bytes(4, "little")
                         + link.o_bytes.to_bytes(4, "little"))
        self.lanes, self.size = -(-link.o_bits // 8), link.o_bytes
        super().__init__({"answer": In(stream.Signature(_Answer)),
                          "i": In(stream.Signature(unsigned(link.o_bits))),
                          "o": Out(stream.Signature(_Byte))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.check = check = CHECK.create()
        answer, byte = self.answer.payload, self.o.payload.byte
        identity = Const(int.from_bytes(self.identity, "little"), 8 * len(self.identity))
        at = Signal(range(max(self.size, len(self.identity))))
        lane = Signal(range(self.lanes))
        step, checked = self.o.valid & self.o.ready, Signal(init=1)
        m.d.comb += [self.o.valid.eq(1), check.data.eq(byte), check.valid.eq(step & checked)]
        with m.FSM(name="answer"):
            with m.State("SEQUENCE"):
                m.d.comb += [self.o.valid.eq(self.answer.valid), byte.eq(answer.sequence)]
                with m.If(step):
                    m.next = "STATUS"
            with m.State("STATUS"):
                m.d.comb += byte.eq(answer.status)
                with m.If(step):
                    m.next = "CRC_LOW"
                    with m.If(answer.status == Status.OK):
                        m.next = "INFERENCE"
                        with m.If(answer.identify):
                            m.next = "IDENTITY"
            with m.State("IDENTITY"):
                m.d.comb += byte.eq(identity.word_select(at[:4], 8))
                with m.If(step):
                    m.d.sync += at.eq(at + 1)
                    with m.If(at == len(self.identity) - 1):
                        m.d.sync += at.eq(0)
                        m.next = "CRC_LOW"
            with m.State("INFERENCE"):
                last = lane == self.lanes - 1
                m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(step & last),
                             byte.eq(self.i.payload.word_select(lane, 8))]
                with m.If(step):
                    m.d.sync += [at.eq(at + 1), lane.eq(Mux(last, 0, lane + 1))]
                    with m.If(at == self.size - 1):
                        m.d.sync += at.eq(0)
                        m.next = "CRC_LOW"
            with m.State("CRC_LOW"):
                m.d.comb += [byte.eq(check.crc[:8]), checked.eq(0)]
                with m.If(step):
                    m.next = "CRC_HIGH"
            with m.State("CRC_HIGH"):
                m.d.comb += [byte.eq(check.crc[8:]), checked.eq(0)]
                with m.If(step):
                    m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o.payload.end.eq(1), checked.eq(0), check.start.eq(step),
                             self.answer.ready.eq(step)]
                with m.If(step):
                    m.next = "SEQUENCE"
        return m


class _Stuffer(wiring.Component):
    """Stuff bytes as SLIP does. Takes a byte when the last one is out.

    Members
    -------
    i : ``In(stream.Signature(_Byte))``
        Bytes of frames.
    o : ``Out(stream.Signature(8))``
        Bytes for the wire.
    """

    i: stream.Interface
    o: stream.Interface

    def __init__(self) -> None:
        super().__init__({"i": In(stream.Signature(_Byte)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte, end, full, escaped, special = Signal(8), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~full), self.o.valid.eq(full), self.o.payload.eq(byte),
            special.eq(~end & ((byte == END) | (byte == ESC))),
        ]
        with m.If(end):
            m.d.comb += self.o.payload.eq(END)
        with m.Elif(special):
            m.d.comb += self.o.payload.eq(
                Mux(escaped, Mux(byte == END, ESC_END, ESC_ESC), ESC))
        with m.If(self.i.valid & ~full):
            m.d.sync += [Cat(byte, end).eq(self.i.payload), full.eq(1), escaped.eq(0)]
        with m.Elif(full & self.o.ready):
            m.d.sync += [escaped.eq(1), full.eq(special & ~escaped)]
        return m
