"""Weights as numbers of the entries of a codebook."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import TYPE_CHECKING, Self

import numpy as np
from amaranth import Cat, Const

from bittern.hw.formats.digits import Binary, Digits, Plane, Ternary
from bittern.hw.formats.format import Format, Term

if TYPE_CHECKING:
    from amaranth import Value

    from bittern.hw.ints import Ints

__all__ = ["Codebook"]

@dataclass(frozen=True)
class Codebook(Format):
    """Weights of few distinct values: a code of ``ceil(log2(values))`` bits says which.

    A table in LUTs expands it to the code of another format, `inner`, which multiplies. Of up to
    16 entries it takes a LUT for each bit that is no bit of the code already, of up to 4 none: the
    code itself then says what each digit of its weight is.

    Source: the weight sharing of Deep Compression (S. Han et al., arXiv:1510.00149), decoded as in
    EIE (arXiv:1602.01528).

    Parameters
    ----------
    operands : tuple[int, ...]
        The code in `inner` of each code; their number is a power of two.
    inner : Format
    """

    operands: tuple[int, ...]
    inner: Format

    name = "codebook"

    def __post_init__(self) -> None:
        count, bits = len(self.operands), self.inner.width
        if count < 2 or count & (count - 1):
            raise ValueError(f"operands must be 2, 4, 8, … in number, not {count}")
        if not all(0 <= c < 1 << bits for c in self.operands):
            raise ValueError(f"operands must be in 0..{(1 << bits) - 1}, not {self.operands}")
        if self._pad is None:
            raise ValueError("one of operands must have no correction in the inner format, "
                             f"not {self.operands}")

    @property
    def width(self) -> int:  # type: ignore[override]
        return len(self.operands).bit_length() - 1

    @property
    def operand_width(self) -> int:
        return self.inner.operand_width

    @property
    def masks(self) -> bool:  # type: ignore[override]
        return 0 not in self._values

    @classmethod
    def find(cls, weights: Ints) -> Self | None:
        """Return the format if its codes are narrower than those of the others."""
        values = np.unique(weights)
        others = [f for kind in (Binary, Ternary, Digits) if (f := kind.find(values))]
        most = min((f.width for f in others), default=0) - 1
        if _width(len(values)) > most:
            return None
        found = None
        if len(values) == 1 << _width(len(values)):
            found = cls._of(values)
        found = found or cls._of(np.union1d(values, 0))
        return found if found and found.width <= most else None

    @classmethod
    def _of(cls, values: Ints) -> Self | None:
        """Return the codebook of `values`, or None where it has no code to pad with."""
        width = _width(len(values))
        if width <= 2:
            inner, operands = _shared(values, width)
        else:
            inner = _expanded(values)
            operands = _order(inner.encode(values).tolist(), inner.width, width)
        if not any(_pads(inner, c) for c in operands):
            return None
        return cls(tuple(operands), inner)

    @cached_property
    def _values(self) -> Ints:
        """The integer of every code."""
        return self.inner.decode(np.array(self.operands))

    def decode(self, codes: Ints) -> Ints:
        found: Ints = self._values[codes]
        return found

    def encode(self, weights: Ints) -> Ints:
        values, codes = np.unique(self._values, return_index=True)
        at = np.searchsorted(values, weights).clip(max=len(values) - 1)
        wrong = values[at] != weights
        if wrong.any():
            raise ValueError(f"format {self.name!r} cannot hold the weight {weights[wrong][0]}")
        found: Ints = codes[at]
        return found

    def correction(self, codes: Ints, x_width: int) -> Ints:
        return self.inner.correction(np.array(self.operands)[codes], x_width)

    def expand(self, code: Value) -> Value:
        bits = range(self.inner.width)
        tables = [sum((c >> b & 1) << k for k, c in enumerate(self.operands)) for b in bits]
        return self.inner.expand(Cat(Const(t, len(self.operands)).bit_select(code, 1)
                                     for t in tables))

    def times(self, operand: Value, x: Value) -> list[Term]:
        return self.inner.times(operand, x)

    def lut4(self, x_width: int) -> int:
        codes = np.arange(len(self.operands))
        wires = {tuple(codes >> b & 1) for b in range(self.width)}
        tables = {tuple(np.array(self.operands) >> b & 1) for b in range(self.inner.width)}
        functions = [t for t in tables - wires if len(set(t)) == 2]
        # Beyond four inputs, a tree of multiplexers of two.
        each = 1 if self.width <= 4 else (1 << self.width - 3) - 1
        return len(functions) * each + self.inner.lut4(x_width)

    @cached_property
    def _pad(self) -> int | None:
        """The code of zero, or another whose terms are zero for ``x == 0``."""
        codes = [c for c, operand in enumerate(self.operands) if _pads(self.inner, operand)]
        return min(codes, key=lambda c: (self._values[c] != 0, c), default=None)

    @property
    def pad(self) -> int:
        assert self._pad is not None
        return self._pad


def _width(count: int) -> int:
    return max((count - 1).bit_length(), 1)


def _pads(inner: Format, operand: int) -> bool:
    return not inner.correction(np.array([operand]), 8).any()


def _order(operands: list[int], inner_width: int, width: int) -> tuple[int, ...]:
    """Return the operand of each code of `width` bits, most bits of which are bits of it.

    A bit of the operands is taken as a bit of the codes where what is left of these suffices to
    tell the operands apart.
    """
    cells = {0: sorted(operands)}
    taken: list[int] = []
    for bit in range(inner_width):
        split = {key | side << len(taken): [c for c in cell if c >> bit & 1 == side]
                 for key, cell in cells.items() for side in (0, 1)}
        if (len(taken) < width
                and max(map(len, split.values())) <= 1 << width - len(taken) - 1):
            cells, taken = split, [*taken, bit]
    ordered = [0] * (1 << width)
    for key, cell in cells.items():
        unused = sum((key >> k & 1) << bit for k, bit in enumerate(taken))
        for k in range(1 << width - len(taken)):
            ordered[k << len(taken) | key] = cell[min(k, len(cell) - 1)] if cell else unused
    return tuple(ordered)


def _shared(values: Ints, width: int) -> tuple[Digits, tuple[int, ...]]:
    """Return planes for up to four values, whose digits all have the code itself as theirs.

    Up to three planes are searched for which each value is a sum of digits of -2 to 2, one of each
    plane; more are those of the values as digits.
    """
    padded = np.zeros(1 << width, dtype=np.int64)
    padded[:len(values)] = values
    top = int(np.abs(padded).max()).bit_length()
    for count in range(1, 4):
        # few negative digits and few doubled ones
        digits = np.array(sorted(product(range(-2, 3), repeat=count), key=lambda d: (
            sum(v < 0 for v in d), sum(abs(v) == 2 for v in d))))
        found = []
        for shifts in combinations(range(top), count):
            equal = digits @ (1 << np.array(shifts)) == padded[:, None]
            if equal.any(axis=1).all():
                chosen = digits[equal.argmax(axis=1)].T.tolist()
                found.append(Digits(tuple(Plane(s, tuple(d))
                                          for s, d in zip(shifts, chosen, strict=True))))
        if found:
            inner = min(found, key=lambda f: f.lut4(8))
            break
    else:
        inner = Digits(tuple(Plane(p.shift, tuple(d.tolist())) for p, d in _digits(padded)))
    repeat = sum(1 << k * width for k in range(len(inner.planes)))
    return inner, tuple(code * repeat for code in range(1 << width))


def _expanded(values: Ints) -> Digits:
    """Return planes that hold each of `values`, without those and without bits that none needs."""
    planes = []
    for plane, digits in _digits(values):
        used = np.union1d(digits, 0)
        planes.append(Plane(plane.shift, (0, int(used[used != 0][0])))
                      if len(used) == 2 else plane)
    return Digits(tuple(planes))


def _digits(values: Ints) -> list[tuple[Plane, Ints]]:
    """Return the planes of the narrowest digits, and of each the digit of every value."""
    fmt = Digits.find(values)
    assert fmt is not None
    fields, found = fmt.encode(values), []
    for plane in fmt.planes:
        digits = np.array(plane.digits)[fields & (1 << plane.width) - 1]
        fields = fields >> plane.width
        if digits.any():
            found.append((plane, digits))
    return found
