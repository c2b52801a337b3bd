# amaranth: UnusedElaboratable=no
"""Conformance of every unit that multiplies by weights, and how formats are found."""

import numpy as np
import pytest
from amaranth import signed, unsigned

from bittern.gen.compile import with_formats
from bittern.gen.ir import Graph, Node, Tensor
from bittern.gen.layers import Dense
from bittern.gen.timing import Cell, Source, simulate
from bittern.gen.units import UNITS, check_format, find_units
from bittern.hw.stream import transfers
from bittern.sim.bench import run_stream

FRAMES = 6


def matrix(kind, outputs, inputs, seed=1):
    rng = np.random.default_rng(seed)
    size = outputs, inputs
    values = {"binary": [-2, 2], "ternary": [-1, 0, 1], "two scales": [-5, 0, 12],
              "few values": [0, 19], "powers": [0, 1, -2, 4, -8, 64],
              "two powers": [3, -5, 10, 33, 96, -72, 0],
              "codebook": [-113, -77, -53, -37, 5, 11, 19, 0], "integers": range(-128, 128)}
    if kind in values:
        return rng.choice(values[kind], size)
    if kind == "all zero but one":
        one = np.zeros(size, dtype=int)
        one[outputs // 2, inputs - 1] = 7
        return one
    kept = {"pruned": rng.random(size) < 0.2,
            "2 of 4": (rng.random((outputs, -(-inputs // 4), 4)).argsort().argsort() < 2
                       ).reshape(outputs, -1)[:, :inputs],
            "blocks": np.repeat(rng.random((outputs, -(-inputs // 4))) < 0.3, 4, axis=1
                                )[:, :inputs]}
    return rng.integers(-60, 60, size) * kept[kind]


KINDS = ("binary", "ternary", "two scales", "few values", "powers", "two powers", "codebook",
         "integers", "pruned", "2 of 4", "blocks", "all zero but one")
FOUND = [(kind, name) for kind in KINDS for name in find_units(matrix(kind, 5, 12))]


def check(unit, weights, x_shape, fold, seed):
    """Run frames back to back, with and without stalls; the timing is as promised."""
    rng = np.random.default_rng(seed)
    layer = Dense(weights, rng.integers(-50, 50, len(weights)))
    lo, hi = ((-(1 << x_shape.width - 1), (1 << x_shape.width - 1) - 1) if x_shape.signed
              else (0, (1 << x_shape.width) - 1))
    x_type = Tensor((weights.shape[1],), lo, hi)
    y_type = layer.infer(x_type)
    x = rng.integers(lo, hi + 1, (FRAMES, weights.shape[1]))
    x[0], x[1] = lo, hi
    dut = unit.build(fold, layer.bias, x_shape, y_type.lo, y_type.hi)
    padded = rng.integers(lo, hi + 1, (FRAMES, transfers(weights.shape[1], fold.simd) * fold.simd))
    padded[:, :weights.shape[1]] = x
    sent = padded.reshape(-1, fold.simd).tolist()
    count = transfers(len(weights), fold.pe)
    for stall in (0, 0.3):
        run = run_stream(dut, sent, outputs=FRAMES * count, seed=seed, stall=stall)
        y = np.array(run.outputs).reshape(FRAMES, -1)[:, :len(weights)]
        assert np.array_equal(y, layer.golden(x)), (fold, stall)
        if stall == 0:
            timing = simulate([Cell(unit.timing(fold, x_shape), (Source(-1),))],
                              [len(sent) // FRAMES], count, frames=FRAMES)
            ends = run.stamps[count - 1::count]
            assert (ends[0], ends[-1] - ends[-2]) == (timing.latency, timing.interval), fold


@pytest.mark.parametrize(("kind", "name"), FOUND)
def test_every_unit_is_exact_and_as_fast_as_it_says(kind, name):
    x = (unsigned(3), signed(4))[(KINDS.index(kind) + len(name)) % 2]
    weights = matrix(kind, 5, 12)
    unit = find_units(weights, absorbs=len(kind) % 2 == 0)[name]
    folds = unit.folds(x)
    rng = np.random.default_rng(len(name))
    for k in {len(folds) - 1, int(rng.integers(len(folds)))}:
        check(unit, weights, x, folds[k], seed=k)


@pytest.mark.parametrize(("outputs", "inputs"), [(1, 1), (1, 7), (7, 1), (3, 13)])
def test_small_and_prime_sizes(outputs, inputs):
    weights = matrix("pruned", outputs, inputs, seed=3)
    weights[0, 0] = 5
    for unit in find_units(weights).values():
        for fold in unit.folds(unsigned(2))[::7]:
            check(unit, weights, unsigned(2), fold, seed=outputs)


def test_what_is_found():
    found = {kind: set(find_units(matrix(kind, 5, 12))) for kind in KINDS}
    assert "binary" in found["binary"]
    assert "ternary" in found["ternary"]
    assert "powers" in found["powers"] & found["two powers"]
    assert "codebook" in found["codebook"] & found["two scales"]
    assert {"multiplier", "packed-multiplier", "digits"} <= found["integers"]
    assert not found["integers"] & {"binary", "ternary", "powers", "zero-run", "n-of-m"}
    assert {"zero-run", "bitmask", "coordinate", "block"} <= found["pruned"] & found["blocks"]
    assert "n-of-m" in found["2 of 4"]
    assert "factorised" in found["few values"] & found["ternary"]


def test_every_kind_of_unit_has_names_of_its_own():
    names = [name for kind in UNITS for name in kind.formats()]
    assert len(names) == len(set(names))
    assert not any(set(" =") & set(name) for name in names)


@pytest.mark.parametrize(("name", "weights", "message"), [
    ("ternary", [[1, 0, -1], [0, 7, 1]], "the 7 of output 1, input 1 does not fit"),
    ("binary", [[2, -2, 2], [2, -2, 0]], "the 0 of output 1, input 2 does not fit"),
    ("n-of-m", [[0, 0, 3, 4], [5, 6, 7, 0]], "the 7 of output 1, input 2 does not fit"),
    ("codebook", [[1, -1], [1, 1]], "does not suit"),
    ("ternery", [[1, 0], [0, 1]], "there is no format 'ternery'; there are: .*binary"),
])
def test_a_format_that_does_not_fit_says_why(name, weights, message):
    with pytest.raises(ValueError, match=message):
        check_format(np.array(weights), name)


def test_a_layer_takes_the_format_it_is_told():
    layer = Dense(np.array([[1, 0], [-1, 1]]), np.zeros(2, dtype=int))
    graph = Graph(Tensor((2,), 0, 3), (Node("fc", layer, ("input",)),))
    (node,) = with_formats(graph, {"fc": "digits"}).nodes
    assert set(node.layer.units) == {"digits"}
    with pytest.raises(ValueError, match="layer 'fc': format 'binary' cannot hold"):
        with_formats(graph, {"fc": "binary"})
    with pytest.raises(ValueError, match="no layer 'fd' with weights; there are: fc"):
        with_formats(graph, {"fd": "binary"})
