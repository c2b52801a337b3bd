"""Families of devices: what a LUT, a carry and a multiplier can do differs between them."""

from __future__ import annotations

from enum import Enum

__all__ = ["Family"]


class Family(Enum):
    """Which synthesis, place and route, packer and PLL a device takes."""

    ICE40 = "iCE40"
    ECP5 = "ECP5"
    GOWIN = "Gowin"
    """GW1N and GW2A."""
