"""Pipeline: registers between two streams that move together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amaranth.lib import stream

__all__ = ["Pipeline"]


class Pipeline:
    """Stages from stream `i` to stream `o`, a transfer a cycle, that stop when `o` stalls.

    Used while elaborating: call :meth:`stage` for each register level and :meth:`finish` at the
    end. Without stages it is wires. ``ready`` passes combinationally from `o` to `i`.
    """

    def __init__(self, m: Module, i: stream.Interface, o: stream.Interface) -> None:
        self.m, self.o = m, o
        self.valid: Value = i.valid
        self.latency = 0
        self._step = Signal()
        m.d.comb += i.ready.eq(self._step)

    def stage(self, values: Sequence[Value], name: str) -> list[Value]:
        """Register `values` and what is valid."""
        registers = [Signal.like(v, name=f"{name}_{k}", reset_less=True)
                     for k, v in enumerate(values)]
        valid = Signal(name=f"{name}_valid")
        with self.m.If(self._step):
            self.m.d.sync += [valid.eq(self.valid),
                              *(q.eq(v) for q, v in zip(registers, values, strict=True))]
        self.valid = valid
        self.latency += 1
        return list(registers)

    def count(self, transfers: int, name: str) -> Value:
        """Return which transfer of a frame of `transfers` stands here, at the current stage."""
        k = Signal(range(transfers), name=f"{name}_count")
        with self.m.If(self._step & self.valid):
            self.m.d.sync += k.eq(Mux(k == transfers - 1, 0, k + 1))
        return k

    def table(self, words: Sequence[int], width: int, address: Value, name: str) -> Value:
        """Return the word at `address`, at the next stage; a constant where all are equal."""
        if len(set(words)) == 1:
            return Const(words[0], width)
        rom: memory.Memory = memory.Memory(shape=unsigned(width), depth=len(words), init=words)
        self.m.submodules[name] = rom
        port = rom.read_port()
        self.m.d.comb += [port.addr.eq(address), port.en.eq(self._step)]
        data: Value = port.data
        return data

    def finish(self, payload: Sequence[Value]) -> None:
        """Drive `o`."""
        lanes = self.o.payload
        self.m.d.comb += [self.o.valid.eq(self.valid),
                          *(lanes[k].eq(v) for k, v in enumerate(payload))]
        self.m.d.comb += self._step.eq(~self.o.valid | self.o.ready if self.latency
                                       else self.o.ready)
