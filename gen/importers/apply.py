"""Apply the rule of an operator to the inputs that a node of the file has."""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, Any

from bittern.gen.importers.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["apply"]


def apply(rule: Callable[..., Any], *context: Any, inputs: Sequence[Any]) -> Any:
    """Return ``rule(*context, *inputs)``.

    Raises
    ------
    UnsupportedError
        If the rule takes more inputs, or fewer.
    """
    try:
        signature(rule).bind(*context, *inputs)
    except TypeError:
        raise UnsupportedError(f"has {len(inputs)} inputs, too few or too many") from None
    return rule(*context, *inputs)
