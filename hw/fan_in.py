"""Lower bounds of circuits: what each result depends on."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bittern.hw.family import Family

if TYPE_CHECKING:
    from bittern.hw.ints import Ints
    from bittern.hw.operators.operator import Operator

__all__ = ["fan_in_bound"]

CASES = 4096


def fan_in_bound(operator: Operator, family: Family) -> tuple[float, str]:
    """Return a lower bound on the LUT sites of any circuit for `operator`, and why it is one.

    Each bit of the results that is neither constant nor an operand's bit, nor the same as another,
    needs a site of its own; and a tree of sites that sees `n` bits has ``(n - 1) / (k - 1)``, where
    a site sees `k`. Which bits a result depends on is seen from samples: it may be more, never
    fewer.
    """
    results, widest = _seen(operator)
    site = 4 if family is Family.ICE40 else 5 # a LUT, and the carry that comes beside it
    by_fan_in = -(-(widest - 1) // (site - 1))
    if by_fan_in > results:
        return by_fan_in, f"a result depends on {widest} bits, a site on {site}"
    return results, "different bits of the results"


@lru_cache(maxsize=256)
def _seen(operator: Operator) -> tuple[int, int]:
    """Return how many different bits the results have, and on how many bits one depends."""
    rng = np.random.default_rng(0)
    # small integers as often as large ones: many functions saturate
    codes = [rng.integers(0, 1 << s.width, CASES) >> rng.integers(0, s.width, CASES)
             for s in operator.inputs]
    codes = [(c ^ -rng.integers(0, 2, CASES)) & (1 << s.width) - 1
             for c, s in zip(codes, operator.inputs, strict=True)]
    reference = _bits(operator, codes)
    depends = np.zeros(len(reference), dtype=np.int64)
    for k, shape in enumerate(operator.inputs):
        for bit in range(shape.width):
            flipped = [*codes[:k], codes[k] ^ 1 << bit, *codes[k + 1:]]
            depends += (_bits(operator, flipped) != reference).any(axis=1)
    # a bit and its complement may share a LUT
    different = {(row ^ row[0]).tobytes() for row in reference[depends > 1]}
    return len(different), int(max(depends, default=0))


def _bits(operator: Operator, codes: list[Ints]) -> Ints:
    """Return the bits of the results, ``(bits, cases)``, for operands as unsigned codes."""
    operands = [c - ((c >> s.width - 1) << s.width) if s.signed else c
                for c, s in zip(codes, operator.inputs, strict=True)]
    return np.array([y >> bit & 1 for y, s in zip(operator(*operands), operator.outputs,
                                                  strict=True) for bit in range(s.width)])
