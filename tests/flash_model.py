# amaranth: UnusedElaboratable=no
"""A serial flash, as a component: wakes up when told to, and reads from an address on."""

from amaranth import Cat, Module, Signal, unsigned
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from bittern.hw.flash_reader import FlashReader


class Flash(wiring.Component):
    """Holds `content` from byte `at` on; asleep at first. Gives ones where it is not asked."""

    def __init__(self, content, at):
        self.content, self.at = content, at
        super().__init__({"cs": In(1), "clk": In(1), "copi": In(1), "cipo": Out(1, init=1)})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.content = content = memory.Memory(
            shape=unsigned(8), depth=len(self.content), init=self.content)
        read = content.read_port(domain="comb")
        before, awake, bits, word = Signal(), Signal(), Signal(32), Signal(32)
        m.d.sync += before.eq(self.clk)
        m.d.comb += read.addr.eq(word[:24] + bits[3:] - 4 - self.at)
        with m.If(~self.cs):
            m.d.sync += [bits.eq(0), self.cipo.eq(1)]
            with m.If((bits == 8) & (word[:8] == 0xAB)):
                m.d.sync += awake.eq(1)
        with m.Elif(self.clk & ~before):
            m.d.sync += bits.eq(bits + 1)
            with m.If(bits < 32):
                m.d.sync += word.eq(Cat(self.copi, word))
        with m.Elif(before & ~self.clk & awake & (bits >= 32) & (word[24:] == 0x03)):
            m.d.sync += self.cipo.eq(read.data.bit_select(~bits[:3], 1))
        return m


class Stored(wiring.Component):
    """A flash and what reads `count` bytes of it, from `address` on."""

    def __init__(self, content, at, address, count):
        self.flash, self.reader = Flash(content, at), FlashReader(address, count, wake=20)
        super().__init__({"o": Out(stream.Signature(8))})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.flash, m.submodules.reader = flash, reader = self.flash, self.reader
        m.d.comb += [getattr(flash, pin).eq(getattr(reader, pin)) for pin in ("cs", "clk", "copi")]
        m.d.comb += reader.cipo.eq(flash.cipo)
        connect(m, reader.o, flipped(self.o))
        return m
