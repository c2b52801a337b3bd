# amaranth: UnusedElaboratable=no
"""Conformance of every layer in the index: nothing here names one."""

from dataclasses import replace

import numpy as np
import pytest

from bittern.gen.layers import LAYERS
from bittern.gen.timing import Cell, Source, simulate
from bittern.sim.bench import run_stream

EXAMPLES = [(layer, xs) for kind in LAYERS for layer, xs in kind.examples()]
IDS = [f"{type(layer).__name__}{k}" for k, (layer, _) in enumerate(EXAMPLES)]
FRAMES = 4


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


def lanes_of(values, x, lanes):
    """Return the transfers of `values`, frames of `x`; what is beyond a vector is 0."""
    padded = np.zeros((len(values) * x.vectors, -(-x.channels // lanes) * lanes), dtype=int)
    padded[:, :x.channels] = values.reshape(-1, x.channels)
    return padded.reshape(-1, lanes).tolist()


@pytest.mark.parametrize(("layer", "xs"), EXAMPLES, ids=IDS)
def test_hardware_equals_golden(layer, xs):
    data = [corners_and_random(x, seed) for seed, x in enumerate(xs)]
    y_type = layer.infer(*xs)
    golden = layer.golden(*data)
    folds = some(layer.folds(*xs))
    others = {layer.without_ready_path(fold, *xs) for fold in folds} - {None}
    in_spram = [replace(fold, spram=True) for fold in folds
                if (layer.stores(fold, *xs) or [0])[0] > 1]
    for fold in (*folds, *others, *in_spram):
        dut = layer.build(fold, *xs)
        if hasattr(dut, "load"): # something must hold the stream back until all has come
            continue
        names = ["i"] if len(xs) == 1 else [f"i{k}" for k in range(len(xs))]
        sent = {}
        for name, x, values in zip(names, xs, data, strict=True):
            sent[name] = lanes_of(values, x, fold.simd)
        count = len(lanes_of(golden, y_type, fold.pe)) // FRAMES
        for stall in (0, 0.3):
            run = run_stream(dut, sent, outputs=FRAMES * count, seed=fold.pe, stall=stall)
            y = np.array(run.outputs).reshape(FRAMES * y_type.vectors, -1)[:, :y_type.channels]
            assert np.array_equal(y, golden.reshape(y.shape)), (fold, stall)
            promise = layer.timing(fold, *xs)
            if stall == 0 and promise.latency:
                cell = Cell(promise, tuple(Source(-1, k) for k in range(len(xs))))
                taken = [len(sent[name]) // FRAMES for name in names]
                timing = simulate([cell], taken, count, frames=FRAMES)
                ends = run.stamps[count - 1::count]
                assert (ends[0], ends[-1] - ends[-2]) == (timing.latency, timing.interval), fold
                assert timing.interval == layer.cycles(fold, *xs), fold
