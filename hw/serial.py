# amaranth: UnusedElaboratable=no
"""A design at its pins: a network behind the host link."""

from __future__ import annotations

from typing import Any, Protocol, cast

from amaranth import Module, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.link import Link
from bittern.hw.stream import Queue

__all__ = ["Core", "Serial"]


class Core(Protocol):
    """A network: a component with an input and an output stream, and perhaps a third to load."""

    i: stream.Interface
    o: stream.Interface

    @property
    def signature(self) -> wiring.Signature:
        """Of its ports."""

    def elaborate(self, platform: object) -> Module:
        """Return the hardware."""


class Serial(wiring.Component):
    """Serve a network over a UART: a core and its :class:`Link`, and two pins.

    Simulated as it is; a board only adds a clock and pads.

    Parameters
    ----------
    core : Core
        The network: streams ``i`` and ``o`` with payloads of any layout, and maybe ``load``.
    i_transfers, o_transfers : int
        Transfers of an input and of an output frame of it.
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
    load : ``In(stream.Signature(8))``
        That of `core`, if it has one.
    """

    rx: Signal
    tx: Signal
    load: stream.Interface

    def __init__(self, core: Core, *, i_transfers: int, o_transfers: int,
                 identity: bytes, divisor: int) -> None:
        self.core = core
        self.link = Link(i_bits=len(Value.cast(core.i.payload)), i_transfers=i_transfers,
                         o_bits=len(Value.cast(core.o.payload)), o_transfers=o_transfers,
                         identity=identity, divisor=divisor)
        loads = {"load": In(stream.Signature(8))} if "load" in core.signature.members else {}
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1),  # type: ignore[call-arg]
                          **loads})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.core, m.submodules.link = self.core, self.link
        m.d.comb += [self.link.rx.eq(self.rx), self.tx.eq(self.link.tx)]
        if "load" in self.signature.members:
            wiring.connect(m, wiring.flipped(self.load), cast("Any", self.core).load)
        # queues cut the paths between what counts bytes and whole layers
        for name, source, sink in (("requests", self.link.o, self.core.i),
                                   ("replies", self.core.o, self.link.i)):
            m.submodules[name] = queue = Queue(unsigned(len(Value.cast(source.payload))))
            m.d.comb += [
                queue.i.payload.eq(Value.cast(source.payload)), queue.i.valid.eq(source.valid),
                source.ready.eq(queue.i.ready),
                Value.cast(sink.payload).eq(queue.o.payload), sink.valid.eq(queue.o.valid),
                queue.o.ready.eq(sink.ready),
            ]
        return m
