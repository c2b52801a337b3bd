# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import Module, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from bittern.hw.stream import Fork, Narrow, Queue, Widen, lanes
from bittern.sim.bench import run_stream, run_streams


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("stall", [0, 0.5])
def test_queue(depth, stall):
    sent = list(range(40))
    run = run_stream(Queue(unsigned(8), depth), sent, outputs=40, seed=depth, stall=stall)
    assert run.outputs == sent
    if not stall:
        assert run.stamps == [k + (1 if depth == 2 else 2) for k in sent]


@pytest.mark.parametrize("stall", [0, 0.5])
def test_a_queue_with_one_port_keeps_all(stall):
    sent = list(range(40))
    queue = Queue(unsigned(8), 7, one_port=True)
    assert run_stream(queue, sent, outputs=40, seed=1, stall=stall).outputs == sent


class Pairs(wiring.Component):
    """Pairs of transfers through a queue."""

    def __init__(self, *, one_port):
        self.one_port, byte = one_port, lanes(unsigned(8), 1)
        super().__init__({"i": In(byte), "o": Out(byte)})

    def elaborate(self, _platform):
        m = Module()
        cells = [Widen(unsigned(8), 64, narrow=1, wide=2),
                 Queue(data.ArrayLayout(8, 2), 20, one_port=self.one_port),
                 Narrow(unsigned(8), 64, wide=2, narrow=1)]
        ends = [wiring.flipped(self.i), *cells, wiring.flipped(self.o)]
        for k, cell in enumerate(cells):
            m.submodules[f"cell_{k}"] = cell
            wiring.connect(m, ends[k] if k == 0 else ends[k].o, cell.i)
        wiring.connect(m, cells[-1].o, ends[-1])
        return m


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("stall", [0, 0.2, 0.8])
def test_nobody_notices_the_one_port_of_a_queue_of_pairs(seed, stall):
    sent = [[k] for k in range(64 * 4)]
    one, two = (run_stream(Pairs(one_port=one_port), sent, outputs=len(sent), seed=seed,
                           stall=stall) for one_port in (True, False))
    assert one.outputs == sent
    assert one.stamps == two.stamps


@pytest.mark.parametrize("features", [8, 10, 7, 1])
@pytest.mark.parametrize(("wide", "narrow"), [(4, 1), (4, 2), (6, 3), (8, 1), (5, 5)])
@pytest.mark.parametrize("stall", [0, 0.4])
def test_widen_and_narrow_keep_frames(features, wide, narrow, stall):
    frames = 4
    x = np.random.default_rng(features).integers(0, 8, (frames, features))

    def packed(lanes):
        padded = np.full((frames, -(-features // lanes) * lanes), 5)
        padded[:, :features] = x
        return padded.reshape(-1, lanes).tolist()

    for cell, i, o in [(Widen(unsigned(3), features, narrow=narrow, wide=wide), narrow, wide),
                       (Narrow(unsigned(3), features, wide=wide, narrow=narrow), wide, narrow)]:
        expected = len(packed(o))
        run = run_stream(cell, packed(i), outputs=expected, seed=wide, stall=stall)
        assert np.array_equal(np.array(run.outputs).reshape(frames, -1)[:, :features], x)
        if not stall:
            gaps = len(packed(i)) if isinstance(cell, Narrow) else 0
            assert run.stamps[-1] - run.stamps[0] <= max(len(packed(i)), expected) + gaps


@pytest.mark.parametrize("stall", [0, 0.4])
def test_fork(stall):
    sent = list(range(30))
    cell = Fork(data.ArrayLayout(unsigned(5), 1), 3)
    runs = run_streams(cell, {"i": [[v] for v in sent]}, {f"o{k}": 30 for k in range(3)},
                       seed=1, stall=stall)
    assert all([v for (v,) in run.outputs] == sent for run in runs.values())


def test_widths_must_divide():
    with pytest.raises(ValueError, match="narrow must divide wide, not 2 and 5"):
        Narrow(unsigned(1), 10, wide=5, narrow=2)
    with pytest.raises(ValueError, match="depth must be at least 2, not 1"):
        Queue(unsigned(1), 1)
