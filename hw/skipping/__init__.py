"""Units whose cycles depend on the data, and exact for all data."""

from __future__ import annotations

from bittern.hw.skipping.zero_skip import NonZeroStream, ZeroSkippingUnit

__all__ = ["NonZeroStream", "ZeroSkippingUnit"]
