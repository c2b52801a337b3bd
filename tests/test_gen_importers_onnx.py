"""The importer of quantized ONNX files against ONNX Runtime."""

from __future__ import annotations

import pytest
from onnx_networks import compare


@pytest.mark.parametrize("seed", range(40))
def test_random_networks_equal_the_reference(seed):
    print(f"seed {seed}")
    assert compare(seed) == "equal"
