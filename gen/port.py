"""Port: how a tensor travels over the stream at the edge of a design."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from bittern.hw.ints import Ints

__all__ = ["Port"]


@dataclass(frozen=True)
class Port:
    """A stream that carries frames of integers, several in each transfer.

    Parameters
    ----------
    features
        Integers in a vector.
    lanes
        Integers in a transfer. Where they do not divide the features, the last transfer of a vector
        is partly filled, from lane 0.
    width
        Bits of an integer. Lane 0 is in the lowest bits of the payload.
    signed
        Whether the integers are in two's complement.
    vectors
        Of a frame.
    """

    features: int
    lanes: int
    width: int
    signed: bool
    vectors: int = 1

    @property
    def bits(self) -> int:
        """Width of the payload."""
        return self.lanes * self.width

    @property
    def transfers(self) -> int:
        """Transfers in a frame."""
        return self.vectors * -(-self.features // self.lanes)

    @property
    def size(self) -> int:
        """Integers in a frame."""
        return self.vectors * self.features

    @property
    def masks(self) -> tuple[int, ...]:
        """For each transfer of a frame, the bits of the payload that are defined."""
        others = (self.features - 1) // self.lanes
        last = self.features - others * self.lanes
        return (*[(1 << self.bits) - 1] * others, (1 << last * self.width) - 1) * self.vectors

    def to_bytes(self, x: Ints) -> NDArray[np.uint8]:
        """Return the payloads of the frames `x`, ``(frames, …)``, as ``(transfers, bytes)``.

        The bytes are in little-endian order, lanes and bits without an integer are 0.
        """
        lo, hi = (-1 << self.width - 1, (1 << self.width - 1) - 1) if self.signed else \
            (0, (1 << self.width) - 1)
        if not x.size or not np.issubdtype(x.dtype, np.integer):
            raise ValueError(f"expected integers, not {x.size} elements of {x.dtype}")
        if x.size != len(x) * self.size:
            raise ValueError(f"expected {self.size} integers per frame, not {x[0].size}")
        if not lo <= x.min() <= x.max() <= hi:
            raise ValueError(f"expected integers in {lo}..{hi}, not {x.min()}..{x.max()}")
        filled = -(-self.features // self.lanes) * self.lanes
        lanes = np.zeros((len(x) * self.vectors, filled), "<i8")
        lanes[:, :self.features] = x.reshape(-1, self.features)
        bits = np.unpackbits(lanes.view(np.uint8).reshape(-1, 8), axis=1, count=self.width,
                             bitorder="little")
        return np.packbits(bits.reshape(-1, self.bits), axis=1, bitorder="little")

    def from_bytes(self, payloads: NDArray[np.uint8]) -> Ints:
        """Return the frames, ``(frames, size)``, that payloads ``(transfers, bytes)`` carry."""
        bits = np.unpackbits(payloads, axis=1, count=self.bits, bitorder="little")
        weights = np.int64(1) << np.arange(self.width)
        if self.signed:
            weights[-1] *= -1
        lanes = bits.reshape(-1, self.width) @ weights
        filled = -(-self.features // self.lanes) * self.lanes
        return lanes.reshape(-1, filled)[:, :self.features].reshape(-1, self.size)

    def pack(self, x: Ints) -> list[int]:
        """Return the payloads of the frames `x` as integers."""
        return [int.from_bytes(row.tobytes(), "little") for row in self.to_bytes(x)]

    def unpack(self, payloads: Iterable[int]) -> Ints:
        """Return the frames, ``(frames, size)``, that `payloads` carry."""
        size = -(-self.bits // 8)
        raw = b"".join(payload.to_bytes(size, "little") for payload in payloads)
        return self.from_bytes(np.frombuffer(raw, np.uint8).reshape(-1, size))
