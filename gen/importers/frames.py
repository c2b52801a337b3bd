"""The frames that a user gives to a network."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["frames"]


def frames(x: NDArray[Any], frame: tuple[int, ...]) -> NDArray[Any]:
    """Return `x` as finite numbers of shape ``(frames, *frame)``.

    Raises
    ------
    ValueError
        For a wrong shape, or elements that are no numbers.
    """
    x, flat = np.asarray(x), (prod(frame),)
    if x.dtype.kind not in "fiub":
        raise ValueError(f"the input has type {x.dtype}; accepted: numbers")
    if x.shape[1:] not in (frame, flat) or x.ndim == 0:
        shapes = " or ".join(str(("frames", *s)).replace("'", "")
                             for s in dict.fromkeys((frame, flat)))
        hint = "; one frame needs an axis before it, x[np.newaxis]"
        raise ValueError(f"the input has shape {x.shape}; accepted: {shapes}"
                         f"{hint if x.shape in (frame, flat) else ''}")
    if not (finite := np.isfinite(x.reshape(len(x), *flat)).all(axis=1)).all():
        raise ValueError(f"the input has a NaN or an infinity in frame {(~finite).argmax()}")
    return x.reshape(len(x), *frame)
