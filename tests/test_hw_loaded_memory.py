# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from bittern.boards.board import Family
from bittern.boards.synthesis import synthesize
from bittern.gen.rtlil import to_rtlil
from bittern.hw.loaded_memory import LoadedMemory, image_of
from bittern.sim.bench import run_streams


class Lookup(wiring.Component):
    """Words at the addresses that come, read once they are loaded."""

    def __init__(self, depth, width):
        self.memory = LoadedMemory(depth, width)
        super().__init__({"load": In(stream.Signature(8)), "i": In(stream.Signature(range(depth))),
                          "o": Out(stream.Signature(width))})

    def elaborate(self, _platform):
        m = Module()
        m.submodules.memory = memory = self.memory
        connect(m, flipped(self.load), memory.load)
        step = memory.loaded & (self.o.ready | ~self.o.valid)
        m.d.comb += [memory.addr.eq(self.i.payload), memory.en.eq(step & self.i.valid),
                     self.i.ready.eq(step), self.o.payload.eq(memory.data)]
        with m.If(step):
            m.d.sync += self.o.valid.eq(self.i.valid)
        return m


@pytest.mark.parametrize(("depth", "width"), [(2, 1), (5, 8), (16, 9), (7, 16), (9, 20)])
@pytest.mark.parametrize("stall", [0, 0.4])
def test_words_are_loaded_and_read(depth, width, stall):
    rng = np.random.default_rng(depth)
    words = rng.integers(0, 1 << width, depth).tolist()
    at = rng.integers(0, depth, 50).tolist()
    runs = run_streams(Lookup(depth, width), {"load": list(image_of(words, width)), "i": at},
                       {"o": len(at)}, seed=width, stall=stall)
    assert runs["o"].outputs == [words[k] for k in at]


def test_no_more_bytes_are_taken():
    with pytest.raises(AssertionError, match="load to take 1 of 7 transfers"):
        run_streams(Lookup(3, 12), {"load": [1] * 7, "i": [0]}, {"o": 1}, seed=1, limit=50)


@pytest.mark.parametrize(("depth", "width", "blocks"),
                         [(16384, 16, 1), (300, 9, 1), (16384, 17, 2)])
def test_it_is_spram_on_the_ultraplus(depth, width, blocks):
    cells = synthesize(to_rtlil(LoadedMemory(depth, width)), Family.ICE40)
    assert cells["SB_SPRAM256KA"] == blocks
    assert "SB_RAM40_4K" not in cells
    assert cells["SB_LUT4"] < 60
