"""Progress: how what takes long tells what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Progress", "silent"]

Progress: TypeAlias = "Callable[[str, float], None]"
"""Is told what is being done, and which part of it is over (0 to 1)."""


def silent(_step: str, _part: float) -> None:
    """Show no progress."""
