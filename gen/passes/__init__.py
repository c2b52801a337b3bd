"""Passes over the graph, one file each."""

from bittern.gen.ir import Pass
from bittern.gen.passes.absorb_offsets import absorb_offsets
from bittern.gen.passes.fit_requantization import fit_requantization
from bittern.gen.passes.strip_common_factor import strip_common_factor

__all__ = ["PIPELINE", "absorb_offsets", "fit_requantization", "strip_common_factor"]

PIPELINE: tuple[Pass, ...] = (strip_common_factor, fit_requantization, absorb_offsets)
"""In the order in which they run."""
