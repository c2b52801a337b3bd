# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from amaranth import signed, unsigned

from bittern.hw.folded_sums import in_block, is_far
from bittern.hw.formats import find_format
from bittern.hw.matrix_vector import MatrixVectorUnit
from bittern.sim.bench import run_stream

WEIGHTS = {"binary": (-1, 1), "doubled": (-2, 2), "bits": (0, 1), "ternary": (-1, 0, 1),
           "4 bits": range(-8, 8), "6 bits": range(-32, 32), "unsigned": range(8)}


FOLDS = ((5, 7), (5, 3), (2, 7), (2, 3), (1, 1), (3, 7), (5, 1), (1, 7))


def unit(weights, bias, x, **options):
    lo, hi = (-(1 << x.width - 1), (1 << x.width - 1) - 1) if x.signed else (0, (1 << x.width) - 1)
    low, high = weights.clip(max=0), weights.clip(min=0)
    least, most = high * lo + low * hi, high * hi + low * lo
    return MatrixVectorUnit(weights, bias, find_format(weights), x=x,
                            lo=int((least.sum(1) + bias).min()),
                            hi=int((most.sum(1) + bias).max()), **options), lo, hi


def run(dut, x, *, seed, stall):
    frames, inputs = x.shape
    padded = np.random.default_rng(seed).integers(x.min(), x.max() + 1,
                                                  (frames, dut.in_folds * dut.simd))
    padded[:, :inputs] = x # what stands in the lanes beyond the inputs must not matter
    transfers = padded.reshape(-1, dut.simd).tolist()
    result = run_stream(dut, transfers, outputs=frames * dut.out_folds, seed=seed, stall=stall)
    return np.array(result.outputs).reshape(frames, -1), result.stamps


@pytest.mark.parametrize("x", [unsigned(1), unsigned(2), unsigned(5), signed(2), signed(4)],
                         ids=str)
@pytest.mark.parametrize("kind", WEIGHTS)
def test_hardware_equals_golden_under_stalls(kind, x):
    seed = len(kind) * 100 + x.width
    rng = np.random.default_rng(seed)
    outputs, inputs = 5, 7
    for pe, simd in FOLDS[x.width % 2::2]: # every fold with every kind, and with every other x
        weights = rng.choice(list(WEIGHTS[kind]), (outputs, inputs))
        bias = rng.integers(-40, 40, outputs)
        dut, lo, hi = unit(weights, bias, x, pe=pe, simd=simd)
        data = rng.integers(lo, hi + 1, (4, inputs))
        data[0], data[1] = lo, hi
        y, _ = run(dut, data, seed=seed, stall=0.3)
        assert np.array_equal(y[:, :outputs], data @ weights.T + bias), (pe, simd)


@pytest.mark.parametrize(("pe", "simd"), [(5, 7), (5, 3), (2, 7), (2, 3), (1, 1), (3, 2)])
def test_a_step_a_cycle_once_full(pe, simd):
    rng = np.random.default_rng(pe)
    dut, _, hi = unit(rng.integers(-8, 8, (5, 7)), np.zeros(5, dtype=int), unsigned(3),
                      pe=pe, simd=simd)
    frames = 6
    _, stamps = run(dut, rng.integers(0, hi, (frames, 7)), seed=0, stall=0)
    ends = stamps[dut.out_folds - 1::dut.out_folds]
    assert ends[-1] - ends[-2] == dut.in_folds * dut.out_folds
    if dut.out_folds == 1:
        assert stamps[0] == dut.in_folds - 1 + dut.latency


def test_wide_operands():
    rng = np.random.default_rng(16)
    weights = np.array([[-32768, 32767, 5], [1, -1, 0]])
    dut, lo, hi = unit(weights, np.array([7, -7]), signed(16), pe=1, simd=2)
    data = rng.integers(lo, hi + 1, (6, 3))
    data[0], data[1] = lo, hi
    y, _ = run(dut, data, seed=1, stall=0.3)
    assert np.array_equal(y, data @ weights.T + [7, -7])


@pytest.mark.parametrize("simd", [1, 2, 3])
def test_many_biases_are_in_a_block_of_memory(simd):
    rng = np.random.default_rng(simd)
    weights, bias = rng.integers(-8, 8, (251, 3)), rng.integers(-(1 << 17), 1 << 17, 251)
    dut, lo, hi = unit(weights, bias, unsigned(4), pe=2, simd=simd)
    assert in_block(dut.out_folds, dut.pe * dut.acc.width)
    data = rng.integers(lo, hi + 1, (3, 3))
    y, _ = run(dut, data, seed=simd, stall=0.3)
    assert np.array_equal(y[:, :251], data @ weights.T + bias)


@pytest.mark.parametrize(("pe", "simd"), [(5, 7), (10, 7), (5, 14), (4, 5)])
def test_wide_words_are_read_two_steps_ahead(pe, simd):
    rng = np.random.default_rng(pe * simd)
    weights, bias = rng.integers(-128, 128, (10, 14)), rng.integers(-99, 99, 10)
    for stall in (0, 0.3):
        dut, lo, hi = unit(weights, bias, unsigned(3), pe=pe, simd=simd)
        assert is_far(dut.fmt.width * dut.codes[0, 0].size)
        data = rng.integers(lo, hi + 1, (5, 14))
        y, stamps = run(dut, data, seed=pe, stall=stall)
        assert np.array_equal(y[:, :10], data @ weights.T + bias)
        if not stall:
            ends = stamps[dut.out_folds - 1::dut.out_folds]
            assert ends[-1] - ends[-2] == dut.in_folds * dut.out_folds
