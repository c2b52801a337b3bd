# amaranth: UnusedElaboratable=no
"""Conformance of every layer in the index: nothing here names one."""

import numpy as np
import pytest

from bittern.gen.layers import LAYERS
from bittern.gen.port import Port
from bittern.gen.timing import Cell, Source, simulate
from bittern.sim.bench import run_stream

EXAMPLES = [(layer, xs) for kind in LAYERS for layer, xs in kind.examples()]
IDS = [f"{type(layer).__name__}{k}" for k, (layer, _) in enumerate(EXAMPLES)]
FRAMES = 5


def corners_and_random(x, seed):
    rng = np.random.default_rng(seed)
    data = rng.integers(x.lo, x.hi + 1, (FRAMES, *x.shape))
    data[0], data[1] = x.lo, x.hi
    return data


@pytest.mark.parametrize(("layer", "xs"), EXAMPLES, ids=IDS)
def test_the_output_is_within_its_type(layer, xs):
    y = layer.golden(*(corners_and_random(x, seed) for seed, x in enumerate(xs)))
    layer.infer(*xs).check(y)


def some(folds):
    """All folds of the first format, of the others the narrowest, one between and the widest."""
    by_format = {}
    for fold in folds:
        by_format.setdefault(fold.format, []).append(fold)
    first, *others = by_format.values()
    return first + [fold for own in others for fold in {own[0], own[len(own) // 2], own[-1]}]


@pytest.mark.parametrize(("layer", "xs"), EXAMPLES, ids=IDS)
def test_hardware_equals_golden(layer, xs):
    data = [corners_and_random(x, seed) for seed, x in enumerate(xs)]
    y_type = layer.infer(*xs)
    golden = layer.golden(*data)
    for fold in some(layer.folds(*xs)):
        dut = layer.build(fold, *xs)
        names = ["i"] if len(xs) == 1 else [f"i{k}" for k in range(len(xs))]
        sent = {}
        for name, x, values in zip(names, xs, data, strict=True):
            port = Port(x.size, fold.simd, x.element.width, x.element.signed)
            padded = np.zeros((FRAMES, port.transfers * port.lanes), dtype=int)
            padded[:, :x.size] = values.reshape(FRAMES, -1)
            sent[name] = padded.reshape(-1, port.lanes).tolist()
        count = -(-y_type.size // fold.pe)
        for stall in (0, 0.3):
            run = run_stream(dut, sent, outputs=FRAMES * count, seed=fold.pe, stall=stall)
            y = np.array(run.outputs).reshape(FRAMES, -1)[:, :y_type.size]
            assert np.array_equal(y, golden.reshape(FRAMES, -1)), (fold, stall)
            promise = layer.timing(fold, *xs)
            if stall == 0 and promise.latency:
                cells = [Cell(promise, (Source(-1),) * len(xs))]
                timing = simulate(cells, count, frames=FRAMES)
                ends = run.stamps[count - 1::count]
                assert (ends[0], ends[-1] - ends[-2]) == (timing.latency, timing.interval), fold
