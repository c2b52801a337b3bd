# amaranth: UnusedElaboratable=no
"""Layers that treat vectors as they stream by: every transfer in its cycle, and what is refused."""

import numpy as np
import pytest
from amaranth import unsigned

from bittern.gen.ir import Tensor
from bittern.gen.layers.add import Add
from bittern.gen.layers.channels import Channels
from bittern.gen.layers.concatenate import Concatenate
from bittern.gen.layers.multiply import Multiply
from bittern.gen.layers.reshape import Reshape
from bittern.gen.layers.softmax import Softmax
from bittern.gen.layers.spatial_sum import SpatialSum
from bittern.hw.channel_selection import ChannelSelection
from bittern.hw.concatenation import Concatenation
from bittern.hw.softmax import SoftmaxSpec
from bittern.sim.bench import run_stream

FRAMES = 4
EXAMPLES = [(layer, xs, fold)
            for kind in (Add, Channels, Concatenate, Multiply, Reshape, Softmax, SpatialSum)
            for layer, xs in kind.examples() for fold in layer.folds(*xs)]
IDS = [f"{type(layer).__name__}-{'-'.join(str(x.shape) for x in xs)}-{fold.pe}{fold.format}"
       for layer, xs, fold in EXAMPLES]


def transfers_of(values, x, lanes):
    padded = np.full((values.size // x.channels, -(-x.channels // lanes) * lanes), x.hi)
    padded[:, :x.channels] = values.reshape(-1, x.channels)
    return padded.reshape(-1, lanes)


@pytest.mark.parametrize(("layer", "xs", "fold"), EXAMPLES, ids=IDS)
def test_every_transfer_leaves_in_its_cycle(layer, xs, fold):
    rng = np.random.default_rng(0)
    data = [rng.integers(x.lo, x.hi + 1, (FRAMES, *x.shape)) for x in xs]
    for frames, x in zip(data, xs, strict=True):
        frames[0], frames[1] = x.lo, x.hi
    y_type, golden = layer.infer(*xs), layer.golden(*data)
    y_type.check(golden)
    names = [f"i{k}" for k in range(len(xs))] if len(xs) > 1 else ["i"]
    sent = {name: transfers_of(values, x, fold.simd).tolist()
            for name, values, x in zip(names, data, xs, strict=True)}
    dut, steps = layer.build(fold, *xs), layer.timing(fold, *xs)
    expected = transfers_of(golden, y_type, fold.pe)
    used = transfers_of(np.ones(golden.shape, dtype=int), Tensor(y_type.shape, 0, 0), fold.pe)
    for stall in (0.5, 0):
        run = run_stream(dut, sent, outputs=len(expected), seed=1, stall=stall)
        assert np.array_equal(np.array(run.outputs) * used, expected * used)
    periods = FRAMES * layer.cycles(fold, *xs) // len(steps.gives)
    assert run.stamps == [steps.latency + k for k, gives in enumerate(steps.gives * periods)
                          if gives]


def tensors(*shapes, lo=-128, hi=127):
    return [Tensor(shape, lo, hi) for shape in shapes]


@pytest.mark.parametrize(("layer", "xs", "error"), [
    (Add(), tensors((2, 3), (3, 2)), r"cannot add tensors of shapes \(2, 3\) and \(3, 2\)"),
    (Multiply(), tensors((3,), (2,)), r"cannot multiply tensors of shapes \(3,\) and \(2,\)"),
    (Multiply(1), tensors((3,), (3,), lo=0, hi=65535), "up to 16 bits, .*, not 17: requantize"),
    (Channels(2, 5), tensors((4,)), r"there are no channels 2\.\.4 in a tensor"),
    (Concatenate(), tensors((3,)), "joins at least two tensors, not 1"),
    (Concatenate(), tensors((2, 3), (4, 3)), r"cannot join tensors of shapes \(2, 3\) and"),
    (Reshape((5,)), tensors((2, 3)), r"of shape \(2, 3\) cannot have the shape \(5,\)"),
    (Softmax(SoftmaxSpec.of(0.1)), tensors((1,)), "takes 2 to 511 elements .*, not 1"),
    (Softmax(SoftmaxSpec.of(0.1)), tensors((3,), hi=128), "takes int8, not"),
])
def test_what_a_layer_cannot_read_is_refused(layer, xs, error):
    with pytest.raises(ValueError, match=error):
        layer.infer(*xs)


@pytest.mark.parametrize(("make", "error"), [
    (lambda: Concatenation([(0, 1), (0, 1)], channels=[4, 6], pe=4), "pe must divide all of"),
    (lambda: ChannelSelection(unsigned(1), channels=4, first=3, last=2, pe=1), "must ascend"),
    (lambda: ChannelSelection(unsigned(1), channels=4, first=1, last=3, pe=2), "pe must divide"),
])
def test_lanes_that_do_not_suit_are_refused(make, error):
    with pytest.raises(ValueError, match=error):
        make()
