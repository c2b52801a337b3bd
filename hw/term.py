"""What sums of products are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amaranth import Value

__all__ = ["Term"]


@dataclass(frozen=True)
class Term:
    """A summand of a product: the unsigned `value`, which is at most `high`, times ``2**shift``."""

    shift: int
    value: Value
    high: int
