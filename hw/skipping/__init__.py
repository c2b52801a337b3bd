"""Units that save cycles or energy where data are zero, and are exact for all data."""

from __future__ import annotations

from bittern.hw.skipping.early_termination import EarlyTerminationUnit
from bittern.hw.skipping.gating import Gated
from bittern.hw.skipping.zero_skip import NonZeroStream, ZeroSkippingUnit

__all__ = ["EarlyTerminationUnit", "Gated", "NonZeroStream", "ZeroSkippingUnit"]
