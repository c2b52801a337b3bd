# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import signed, unsigned

from bittern.hw import sparse
from bittern.hw.formats import find_format
from bittern.hw.formats.digits import Binary
from bittern.hw.matrix_vector import MatrixVectorUnit
from bittern.hw.sparse import SPARSE_CODES, SparseCode
from bittern.hw.sparse.bitmask import Bitmask
from bittern.hw.sparse.block import Block
from bittern.hw.sparse.compressed_row import CompressedRow
from bittern.hw.sparse.coordinate import Coordinate
from bittern.hw.sparse.decoder import SparseDecoder
from bittern.hw.sparse.engine import Schedule, addresses, schedule_of, spread
from bittern.hw.sparse.matrix_vector import SparseMatrixVectorUnit, sparse_delay_of
from bittern.hw.sparse.structured import Structured
from bittern.hw.sparse.zero_run import ZeroRun
from bittern.sim.bench import run_stream

CODES = [code for kind in SPARSE_CODES for code in kind.examples()]


def pattern_for(code, rng):
    """Return a random pattern that `code` can hold, with rows of zeros and a full one."""
    rows = code.rows if isinstance(code, Coordinate) else 6
    if isinstance(code, Structured):
        groups = -(-code.inputs // code.m)
        order = rng.random((rows, groups, code.m)).argsort(axis=2)
        pattern = order < rng.integers(0, code.n + 1, (rows, groups, 1))
        return pattern.reshape(rows, -1)[:, :code.inputs]
    most = 1 << code.head_width if getattr(code, "count", 0) else code.inputs
    pattern = rng.random((rows, code.inputs)) < rng.choice([0.02, 0.1, 0.5], (rows, 1))
    pattern[0], pattern[-1] = False, most >= code.inputs
    return pattern


def rows_for(code, pattern, rng):
    return [[(int(i), int(rng.integers(1, 1 << code.value))) for i in np.flatnonzero(row)]
            for row in pattern]


def test_every_code_is_in_the_index():
    kinds = {value for value in vars(sparse).values()
             if isinstance(value, type) and issubclass(value, SparseCode)}
    assert kinds - {SparseCode} == set(SPARSE_CODES)


@pytest.mark.parametrize("code", CODES, ids=str)
def test_decode_inverts_encode_and_bits_are_as_stated(code):
    rng = np.random.default_rng(code.inputs)
    for _ in range(5):
        pattern = pattern_for(code, rng)
        rows = rows_for(code, pattern, rng)
        symbols = [code.symbols(row, 0) for row in rows]
        stored = code.encode(symbols)
        assert code.decode(stored) == symbols
        assert code.lengths(pattern).tolist() == [len(row) for row in symbols]
        assert code.bits(pattern) == (len(stored.words) * code.width
                                      + len(stored.heads) * code.head_width)
        assert all(0 <= word < 1 << code.width for word in stored.words)
        assert all(0 <= head < 1 << code.head_width for head in stored.heads)
        assert [[s for s in row if s[1]] for row in symbols] == rows # all else is padding


@pytest.mark.parametrize("stall", [0, 0.3])
@pytest.mark.parametrize("code", CODES, ids=str)
def test_decoder_gives_a_symbol_a_cycle(code, stall):
    rng = np.random.default_rng(len(str(code)))
    pattern = pattern_for(code, rng)
    symbols = [code.symbols(row, 0) for row in rows_for(code, pattern, rng)]
    stored = code.encode(symbols)
    frames = 3
    transfers = {"i": stored.words * frames}
    if code.head_width:
        transfers["heads"] = stored.heads * frames
    expected = [index | value << code.index_width | (k == len(row) - 1) << (
        code.index_width + code.value) for row in symbols for k, (index, value) in enumerate(row)]
    run = run_stream(SparseDecoder(code), transfers, outputs=len(expected) * frames, seed=1,
                     stall=stall)
    assert run.outputs == expected * frames
    if not stall: # counted from the first head, where there are any
        first = run.stamps[0]
        assert first == SparseDecoder.latency + bool(code.head_width)
        assert run.stamps == [*range(first, first + len(expected) * frames)]


def test_parameters_are_those_with_the_fewest_bits():
    nonzero = np.random.default_rng(3).random((40, 96)) < 0.15
    assert (ZeroRun.find(nonzero, 4).bits(nonzero)
            == min(ZeroRun(96, 4, field).bits(nonzero) for field in range(8)))
    assert (Bitmask.find(nonzero, 4).bits(nonzero)
            == min(Bitmask(96, 4, mask).bits(nonzero) for mask in (4, 8, 16, 32, 64)))
    assert (CompressedRow.find(nonzero, 4).bits(nonzero)
            == min(CompressedRow(96, 4, 7, count).bits(nonzero) for count in (0, 5)))
    pairs = np.zeros((8, 64), dtype=bool)
    pairs.reshape(8, 16, 4)[:, :, 1:] = np.array([[1, 1, 0], [0, 1, 1]] * 8)
    assert Structured.find(pairs, 4) == Structured(64, 4, 2, 4)
    assert Structured.find(np.ones((4, 8), dtype=bool), 4) is None
    tiles = np.kron(np.random.default_rng(0).random((8, 16)) < 0.1, np.ones((2, 4))).astype(bool)
    found = Block.find(tiles, 3, lanes=4)
    assert (found.tall, found.wide, found.value) == (2, 4, 6)
    assert Block.find(tiles, 3, lanes=3).tall == 1


@pytest.mark.parametrize(("make", "message"), [
    (lambda: ZeroRun(0, 3, 2), "inputs must be at least 1, not 0"),
    (lambda: ZeroRun(8, 3, 4), r"field must be in 0..3, not 4"),
    (lambda: CompressedRow(8, 3, 2), r"field must be in 3..3, not 2"),
    (lambda: Coordinate(8, 3, 0), "rows must be at least 1, not 0"),
    (lambda: Bitmask(8, 3, 5), r"mask must be one of \(4, 8, 16, 32, 64\), not 5"),
    (lambda: Structured(8, 3, 4, 4), r"n must be in 1..3, not 4"),
    (lambda: Structured(8, 3, 1, 3), r"m must be one of .*, not 3"),
    (lambda: Block(8, 3, 2, 1, 1), "value must be a multiple of tall, 2, not 3"),
    (lambda: Block(8, 3, 1, 3, 1), r"wide must be one of .*, not 3"),
    (lambda: ZeroRun(8, 3, 1).encode([[(5, 1)]]), r"index field must be in 0..1, not 5"),
    (lambda: Structured(8, 3, 1, 4).lengths(np.ones((1, 8), dtype=bool)), "more than 1 non-zeros"),
])
def test_bad_parameters_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def bounds(weights, bias, x):
    lo, hi = (-(1 << x.width - 1), (1 << x.width - 1) - 1) if x.signed else (0, (1 << x.width) - 1)
    low, high = weights.clip(max=0), weights.clip(min=0)
    return lo, hi, {"x": x, "lo": int(((high * lo + low * hi).sum(1) + bias).min()),
                    "hi": int(((high * hi + low * lo).sum(1) + bias).max())}


def unit(kind, weights, bias, x, *, lanes, simd, block=True):
    fmt = find_format(weights)
    code = kind.find(spread(weights != 0, simd), fmt.width, lanes)
    return code and SparseMatrixVectorUnit(weights, bias, fmt, code, **bounds(weights, bias, x)[2],
                                           lanes=lanes, simd=simd, block=block)


def run(dut, x, *, seed, stall):
    frames, inputs = x.shape
    padded = np.random.default_rng(seed).integers(x.min(), x.max() + 1,
                                                  (frames, dut.in_folds * dut.simd))
    padded[:, :inputs] = x # what stands in the lanes beyond the inputs must not matter
    result = run_stream(dut, padded.reshape(-1, dut.simd).tolist(),
                        outputs=frames * dut.out_folds, seed=seed, stall=stall)
    return np.array(result.outputs).reshape(frames, -1), result.stamps


SHAPES = [ # outputs, inputs, lanes, simd, x, block
    (5, 7, 2, 3, unsigned(2), True), (6, 8, 3, 2, signed(3), False),
    (4, 9, 4, 9, unsigned(1), True), (3, 5, 1, 1, signed(2), False),
    (9, 40, 4, 4, signed(4), True), (11, 19, 2, 5, unsigned(4), True),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("kind", SPARSE_CODES)
def test_unit_equals_golden_and_takes_the_cycles_stated(kind, shape):
    outputs, inputs, lanes, simd, x, block = shape
    rng = np.random.default_rng(outputs * inputs)
    dense = rng.choice([0.1, 0.5], (outputs, 1)) # uneven rows, so that lanes keep results
    weights = rng.integers(-4, 5, (outputs, inputs)) * (rng.random((outputs, inputs)) < dense)
    weights[1] = 0
    bias = rng.integers(-9, 9, outputs)
    dut = unit(kind, weights, bias, x, lanes=lanes, simd=simd, block=block)
    if dut is None:
        pytest.skip("no such code for these weights")
    lo, hi, _ = bounds(weights, bias, x)
    data = rng.integers(lo, hi + 1, (4, inputs))
    data[0], data[1] = lo, hi
    golden = data @ weights.T + bias
    for stall in (0.3, 0):
        y, stamps = run(dut, data, seed=7, stall=stall)
        assert np.array_equal(y[:, :outputs], golden)
    assert dut.delay == sparse_delay_of(dut.fmt, x.width)
    ends = np.array(stamps).reshape(4, -1)
    assert set(np.diff(ends[:, -1])) == {max(dut.steps, dut.in_folds)}
    gives = np.flatnonzero(dut.schedule.gives)
    assert (ends[0] == dut.in_folds + gives + dut.latency).all()
    schedule = schedule_of(dut.code, spread(weights != 0, simd), lanes)
    assert (schedule.steps, schedule.gives) == (dut.steps, dut.schedule.gives)


def test_weights_without_a_code_for_zero():
    weights = np.array([[0, 1, 0, -1], [1, 0, 1, 0], [-1, 1, 0, 0], [0, 0, 0, 1]])
    fmt = Binary.find(weights[weights != 0])
    options = bounds(weights, np.zeros(4, dtype=int), signed(3))[2]
    code = CompressedRow.find(weights != 0, fmt.width)
    dut = SparseMatrixVectorUnit(weights, np.zeros(4, dtype=int), fmt, code, **options, lanes=2,
                                 simd=1)
    x = np.random.default_rng(0).integers(-4, 4, (4, 4))
    assert np.array_equal(run(dut, x, seed=1, stall=0.3)[0], x @ weights.T)
    weights[2] = 0
    with pytest.raises(ValueError, match=r"'binary' cannot hold the weight 0, .* pads row 2"):
        SparseMatrixVectorUnit(weights, np.zeros(4, dtype=int), fmt, code, **options, lanes=2,
                               simd=1)


@pytest.mark.parametrize("lanes", [4, 8])
@pytest.mark.parametrize("shape", [(64, 256), (128, 784)])
def test_nine_zeros_in_ten_take_less_than_015_of_the_dense_cycles(shape, lanes):
    rng = np.random.default_rng(shape[0] + lanes)
    weights = rng.integers(1, 8, shape) * (rng.random(shape) < 0.1)
    bias, x = np.zeros(shape[0], dtype=int), unsigned(4)
    dense = MatrixVectorUnit(weights, bias, find_format(weights), **bounds(weights, bias, x)[2],
                             pe=lanes, simd=1)
    dut = unit(ZeroRun, weights, bias, x, lanes=lanes, simd=8)
    data = rng.integers(0, 16, (2, shape[1]))
    y, stamps = run(dut, data, seed=0, stall=0)
    assert np.array_equal(y, data @ weights.T)
    cycles = stamps[-1] - stamps[-1 - dut.out_folds]
    assert cycles == dut.steps <= 0.15 * dense.in_folds * dense.out_folds


def test_lanes_are_even():
    for seed in range(8):
        nonzero = np.random.default_rng(seed).random((64, 256)) < 0.1
        for lanes in (4, 8):
            for kind in SPARSE_CODES:
                schedule = schedule_of(kind.find(nonzero, 4, lanes), nonzero, lanes)
                assert schedule.steps <= 1.05 * schedule.lengths.sum() / schedule.order.shape[1]
                assert (np.sort(schedule.order) == np.arange(schedule.order.shape[1])).all()


def test_rows_keep_their_lanes_where_these_are_even():
    schedule = Schedule.of(np.array([[5, 5], [6, 6], [3, 4]]))
    assert (schedule.order == [0, 1]).all()
    assert (schedule.steps, schedule.depths) == (15, [1, 1])
    assert np.flatnonzero(schedule.gives).tolist() == [4, 10, 14]
    schedule = Schedule.of(np.array([[1, 9], [1, 1], [1, 1], [9, 1]]))
    assert (schedule.order == [0, 1]).all()
    assert (schedule.steps, schedule.depths) == (12, [3, 1])
    assert schedule.store(1) == 4
    assert Schedule.of(np.array([[9, 1], [9, 1]])).order.tolist() in ([[0, 1], [1, 0]],
                                                                     [[1, 0], [0, 1]])


def test_addresses_need_no_division():
    assert addresses(7, 3).tolist() == [0, 1, 2, 4, 5, 6, 8]
    assert addresses(8, 4).tolist() == [*range(8)]
    assert spread(np.arange(1, 8)[None], 3).tolist() == [[1, 2, 3, 0, 4, 5, 6, 0, 7]]


def test_units_name_what_does_not_fit():
    weights = np.eye(4, dtype=int)
    fmt = find_format(weights)
    options = {**bounds(weights, np.zeros(4, dtype=int), unsigned(2))[2]}
    bias = np.zeros(4, dtype=int)
    code = ZeroRun.find(weights != 0, fmt.width)
    with pytest.raises(ValueError, match=r"lanes must be in 1..4 and simd in 1..4, not 5 and 1"):
        SparseMatrixVectorUnit(weights, bias, fmt, code, **options, lanes=5, simd=1)
    with pytest.raises(ValueError, match=r"code.inputs must be 5, .* not 4"):
        SparseMatrixVectorUnit(weights, bias, fmt, code, **options, lanes=2, simd=3)
    with pytest.raises(ValueError, match=r"code.value must be 1, the bits of 1 weights, not 2"):
        SparseMatrixVectorUnit(weights, bias, fmt, ZeroRun(4, 2, 2), **options, lanes=2, simd=1)
    with pytest.raises(ValueError, match=r"lanes must be a multiple of 2"):
        SparseMatrixVectorUnit(weights, bias, fmt, Block(4, 2, 2, 1, 1), **options, lanes=3, simd=1)
