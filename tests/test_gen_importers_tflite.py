"""The TFLite importer against LiteRT's reference kernels."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import tflite_networks

from bittern.gen.importers import read

SHARED = Path(os.environ.get("BITTERN_SHARED", Path(__file__).parents[2] / "shared"))
FRAMES = 25
"""Golden models of images take memory."""


@pytest.mark.parametrize("name", ["mlperf_tiny_ad", "mlperf_tiny_ic", "mlperf_tiny_kws"])
def test_real_networks_equal_their_reference(name):
    path = SHARED / "models" / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"{path} is not there; BITTERN_SHARED names the folder")
    network, data = read(path), np.load(SHARED / "data" / f"{name}.npz")
    assert network.input_shape == data["x"].shape[1:]
    for start in range(0, len(data["x"]), FRAMES):
        part = slice(start, start + FRAMES)
        y = network.decode(network.graph.golden(network.encode(data["x"][part])))
        assert y.dtype == data["y"].dtype
        np.testing.assert_array_equal(y, data["y"][part])


@pytest.mark.parametrize("kind", ["INT8", "INT16"])
def test_random_networks_equal_the_reference(kind):
    seed = 100
    print(f"seed {seed}")
    assert tflite_networks.fuzz(40 if kind == "INT8" else 10, seed, kind) == []
