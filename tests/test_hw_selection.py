# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import signed, unsigned

from bittern.hw.arg_max import FrameArgMax
from bittern.hw.top_k import TopK
from bittern.sim.bench import run_stream

FRAMES = 6
SEED = 11


def frames(shape, features):
    """Few different integers, so that many are equal, and the extremes."""
    rng = np.random.default_rng(SEED)
    lo, hi = (-(1 << shape.width - 1), (1 << shape.width - 1) - 1) if shape.signed else (
        0, (1 << shape.width) - 1)
    x = rng.choice([lo, lo + 1, hi - 1, hi], (FRAMES, features))
    x[0] = lo
    return x


@pytest.mark.parametrize(("shape", "features", "pe"), [
    (signed(8), 10, 1), (signed(8), 10, 2), (unsigned(4), 10, 3), (signed(5), 7, 4),
    (unsigned(2), 8, 8), (signed(2), 2, 1), (signed(16), 5, 5)])
def test_arg_max(shape, features, pe):
    dut = FrameArgMax(shape, features, pe=pe)
    x = frames(shape, features)
    folds = -(-features // pe)
    sent = np.full((FRAMES, folds * pe), x.max()) # what lies beyond the frame does not count
    sent[:, :features] = x
    sent = sent.reshape(-1, pe).tolist()
    y = np.argmax(x, axis=1).tolist()
    assert run_stream(dut, sent, outputs=FRAMES, seed=SEED, stall=0.4).outputs == y
    run = run_stream(dut, sent, outputs=FRAMES, seed=SEED, stall=0)
    assert run.outputs == y
    assert run.stamps == [folds * (n + 1) - 1 + dut.latency for n in range(FRAMES)]


@pytest.mark.parametrize(("shape", "features", "k"), [
    (signed(8), 10, 3), (unsigned(4), 6, 6), (signed(3), 9, 1), (unsigned(2), 2, 2)])
def test_top_k(shape, features, k):
    dut = TopK(shape, features, k)
    x = frames(shape, features)
    order = np.argsort(-x, axis=1, kind="stable")[:, :k]
    layout = dut.o.payload.shape()
    y = [layout.const({"values": row[at].tolist(), "at": at.tolist()}).as_value().value
         for row, at in zip(x, order, strict=True)]
    sent = x.ravel().tolist()
    assert run_stream(dut, sent, outputs=FRAMES, seed=SEED, stall=0.4).outputs == y
    run = run_stream(dut, sent, outputs=FRAMES, seed=SEED, stall=0)
    assert run.outputs == y
    assert run.stamps == [features * (n + 1) - 1 + dut.latency for n in range(FRAMES)]


@pytest.mark.parametrize("make", [
    lambda: FrameArgMax(signed(8), 1, pe=1), lambda: FrameArgMax(signed(8), 4, pe=5),
    lambda: FrameArgMax(signed(8), 4, pe=0), lambda: TopK(signed(8), 1, 1),
    lambda: TopK(signed(8), 4, 5), lambda: TopK(signed(8), 4, 0)])
def test_parameters_out_of_range_are_named(make):
    with pytest.raises(ValueError, match=r"(features|pe|k) must be .*, not \d"):
        make()
