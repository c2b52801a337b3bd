"""Frames survive packing, and land where the layout says."""

from __future__ import annotations

import numpy as np
import pytest

from bittern.gen.port import Port

PORTS = [Port(1, 1, 1, False), Port(64, 8, 4, False), Port(10, 4, 7, True), Port(3, 5, 16, True),
         Port(784, 784, 8, False), Port(9, 2, 1, True), Port(5, 1, 40, True)]


def random_frames(port: Port, frames: int) -> np.ndarray:
    rng = np.random.default_rng(port.features)
    lo, hi = (-1 << port.width - 1, 1 << port.width - 1) if port.signed else (0, 1 << port.width)
    return rng.integers(lo, hi, (frames, port.features))


@pytest.mark.parametrize("port", PORTS, ids=str)
def test_unpack_inverts_pack(port: Port) -> None:
    x = random_frames(port, 7)
    payloads = port.pack(x)
    assert len(payloads) == 7 * port.transfers
    assert all(0 <= payload < 1 << port.bits for payload in payloads)
    np.testing.assert_array_equal(port.unpack(payloads), x)
    np.testing.assert_array_equal(port.from_bytes(port.to_bytes(x)), x)


@pytest.mark.parametrize("port", PORTS, ids=str)
def test_masks_cover_exactly_the_features(port: Port) -> None:
    assert len(port.masks) == port.transfers
    assert sum(mask.bit_count() for mask in port.masks) == port.features * port.width
    dirty = [payload | (1 << port.bits) - 1 & ~mask for payload, mask in
             zip(port.pack(random_frames(port, 1)), port.masks, strict=True)]
    np.testing.assert_array_equal(port.unpack(dirty), random_frames(port, 1))


def test_the_first_element_is_in_the_lowest_bits() -> None:
    assert Port(3, 2, 4, True).pack(np.array([[1, -1, -8]])) == [0xF1, 0x08]


def test_frames_may_have_any_shape() -> None:
    assert Port(4, 2, 4, False).pack(np.arange(8).reshape(2, 2, 2)) == [0x10, 0x32, 0x54, 0x76]


@pytest.mark.parametrize(("x", "message"), [
    (np.array([[0, 16]]), r"integers in 0\.\.15, not 0\.\.16"),
    (np.array([[-1, 0]]), r"integers in 0\.\.15, not -1\.\.0"),
    (np.array([[1, 2, 3]]), "2 integers per frame, not 3"),
    (np.array([[0.5, 1]]), "float64"),
    (np.zeros((0, 2), np.int64), "0 elements"),
])
def test_what_does_not_fit_is_refused(x: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Port(2, 1, 4, False).pack(x)
