"""Pipelines: registers that move together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amaranth import Array, Const, Module, Signal, Value, ValueCastable, unsigned
from amaranth.hdl import Fragment
from amaranth.lib import memory, wiring

from bittern.hw.credit import credit
from bittern.hw.stream import Queue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from amaranth.lib import stream

__all__ = ["BLOCK", "Pipeline", "Stages", "Wires", "draft"]

BLOCK = 2048
"""Bits from which a table is a block of memory: as logic, the ECP5 takes 300 LUTs for so many."""


class Stages:
    """Register levels of a datapath, a step a cycle; used while elaborating.

    Parameters
    ----------
    m : Module
        What the registers become part of.
    enable : Value
        Whether they move in this cycle.
    """

    def __init__(self, m: Module, enable: Value | None = None) -> None:
        self.m = m
        self.enable: Value = Const(1) if enable is None else enable
        self.latency = 0
        self.ff = 0
        """Bits of the registers so far."""

    def stage(self, values: Sequence[Value], name: str) -> list[Value]:
        """Return `values` a level later. All that goes on must pass through the same levels."""
        registers = [Signal.like(v, name=f"{name}_{k}", reset_less=True)
                     for k, v in enumerate(values)]
        with self.m.If(self.enable):
            self.m.d.sync += [q.eq(v) for q, v in zip(registers, values, strict=True)]
        self._count(values)
        return list(registers)

    def _count(self, values: Sequence[Value]) -> None:
        self.latency += 1
        self.ff += sum(len(v) for v in values)

    def beside(self) -> Stages:
        """Return stages that begin here, for what goes on beside the rest."""
        return Stages(self.m, self.enable)

    def parallel(self, paths: Sequence[Callable[[Stages], Value]], name: str) -> list[Value]:
        """Return the results of datapaths side by side, all of the same number of levels."""
        stages = [self.beside() for _ in paths]
        results = [path(own) for path, own in zip(paths, stages, strict=True)]
        (levels,) = {own.latency for own in stages}
        for _ in range(levels):
            self.stage([], name)
        self.ff += sum(own.ff for own in stages)
        return results

    def fence(self, value: Value, name: str) -> Value:
        """Return `value` such that Yosys does not merge its adder with those behind it.

        What it makes of a merged sum of words is up to twice as large.
        """
        wire = Signal.like(value, name=name, attrs={"keep": True})
        self.m.d.comb += wire.eq(value)
        return wire

    def table(self, words: Sequence[int], width: int, address: Value, name: str) -> Value:
        """Return the word at `address`, at the next stage; a constant where all are equal."""
        if len(set(words)) == 1:
            return Const(words[0], width)
        attrs = {"ram_style": "block"} if len(words) * width >= BLOCK else {}
        rom: memory.Memory = memory.Memory(shape=unsigned(width), depth=len(words), init=words,
                                           attrs=attrs)
        self.m.submodules[name] = rom
        port = rom.read_port()
        self.m.d.comb += [port.addr.eq(address), port.en.eq(self.enable)]
        data: Value = port.data
        return data


class Wires(Stages):
    """Stages without registers: the function of a datapath alone, for proofs."""

    def beside(self) -> Wires:
        return Wires(self.m)

    def stage(self, values: Sequence[Value], name: str) -> list[Value]:
        # signals: what reads a level reads them, and not copies of all that leads to it
        wires = [Signal.like(v, name=f"{name}_{k}") for k, v in enumerate(values)]
        self.m.d.comb += [wire.eq(v) for wire, v in zip(wires, values, strict=True)]
        self._count(values)
        return list(wires)

    def table(self, words: Sequence[int], width: int, address: Value, name: str) -> Value:
        word: Value | ValueCastable = Array(Const(w, width) for w in words)[address]
        return Value.cast(word)


def draft(build: Callable[[Stages], object]) -> Stages:
    """Return the stages of a datapath that is only to be counted: nothing is kept of it."""
    stages = Wires(Module())
    build(stages)
    Fragment.get(stages.m, None) # else Amaranth warns that the module was not used
    return stages


class Pipeline(Stages):
    """Stages from stream `i` to stream `o`, a transfer a cycle.

    Call :meth:`finish` at the end. As a rule the stages stop when `o` stalls, and ``ready`` passes
    combinationally from `o` to `i`; without stages it is wires. With a `store` they never stop:
    before `o` is a queue of so many results, a transfer is taken only when there will be room for
    it, and no path is combinational from `i` to `o` or back.
    """

    def __init__(self, m: Module, i: stream.Interface, o: stream.Interface, store: int = 0) -> None:
        self.store, self.o = store, o
        self.valid: Value = i.valid
        if store:
            m.submodules.results = results = Queue(o.payload.shape(), store)
            wiring.connect(m, results.o, wiring.flipped(o))
            taken = Signal()
            may = credit(m, store, taken, o)
            m.d.comb += [i.ready.eq(may), taken.eq(may & i.valid)]
            self.o, self.valid = results.i, taken
            self._step: Value = Const(1)
        else:
            self._step = Signal(name="_step")
            m.d.comb += i.ready.eq(self._step)
        super().__init__(m, self._step)

    def stage(self, values: Sequence[Value], name: str) -> list[Value]:
        """Register `values` and what is valid."""
        valid = Signal(name=f"{name}_valid")
        with self.m.If(self._step):
            self.m.d.sync += valid.eq(self.valid)
        self.valid = valid
        return super().stage(values, name)

    @property
    def goes(self) -> Value:
        """Whether a transfer leaves the current stage."""
        return self._step & self.valid

    def finish(self, payload: Sequence[Value]) -> None:
        """Drive `o`."""
        if not self.store:
            self.m.d.comb += self._step.eq(~self.o.valid | self.o.ready if self.latency
                                            else self.o.ready)
        lanes = self.o.payload
        self.m.d.comb += [self.o.valid.eq(self.valid),
                          *(lanes[k].eq(v) for k, v in enumerate(payload))]
