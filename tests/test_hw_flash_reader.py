# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out, connect, flipped
from flash_model import Flash

from bittern.hw.flash_reader import FlashReader
from bittern.sim.bench import run_stream


class Read(wiring.Component):
    """A flash and what reads it."""

    def __init__(self, content, address, count):
        self.content, self.address, self.count = content, address, count
        super().__init__({"o": Out(stream.Signature(8))})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.flash = flash = Flash(self.content, at=0x1FFFE)
        m.submodules.reader = reader = FlashReader(self.address, self.count, wake=20)
        m.d.comb += [getattr(flash, pin).eq(getattr(reader, pin)) for pin in ("cs", "clk", "copi")]
        m.d.comb += reader.cipo.eq(flash.cipo)
        connect(m, reader.o, flipped(self.o))
        return m


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("stall", [0, 0.9])
def test_bytes_come_once_and_in_order(count, stall):
    content = np.random.default_rng(count).integers(0, 256, 2 + count + 5).tolist()
    run = run_stream(Read(content, 0x20000, count), {}, outputs=count, seed=count, stall=stall)
    assert run.outputs == content[2:2 + count]
    if not stall:
        assert np.all(np.diff(run.stamps) == 17)
