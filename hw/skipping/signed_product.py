"""Products of weights in any format that stand by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from amaranth import Cat, Const, Shape, Signal, Value

from bittern.hw.formats.multiplier import Multiplier
from bittern.hw.pipeline import draft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bittern.hw.formats.format import Format
    from bittern.hw.pipeline import Stages

__all__ = ["SignedProduct", "add", "products_latency", "signed_products"]


@dataclass(frozen=True)
class SignedProduct:
    """What a product leaves: ``value + carry``, which the next adder takes free."""

    value: Value
    """Signed."""
    carry: Value


def signed_products(fmt: Format, stages: Stages, codes: Sequence[Value], x: Value, name: str
                    ) -> list[SignedProduct]:
    """Return the products of `x` and the integers of stored codes, in registers.

    The terms of a format lack a correction that depends on the code, which a row of weights adds up
    beforehand. Where it is not known beforehand which activations take part, it must be in each
    product. A term is the multiple of `x` by a digit, or for a negative digit its complement, so
    that in two's complement it lacks only a one there: each adder has a carry-in for one of them.

    Parameters
    ----------
    fmt : Format
        Of terms that are multiples of `x` or their complements, or ``Multiplier``.
    stages : Stages
    codes : Sequence[Value]
    x : Value
        Signed or unsigned.
    name : str
        Of the registers.
    """
    if isinstance(fmt, Multiplier):
        values = stages.stage([code.as_signed() * x for code in codes], name)
        return [SignedProduct(value, Const(0, 1)) for value in values]
    operands = [fmt.expand(code) for code in codes]
    if operands[0] is not codes[0]:
        *operands, x = stages.stage([*operands, x], f"{name}_operand")
    products = [_terms(fmt, operand, x) for operand in operands]
    products = _stage(stages, products, name)
    level = 0
    while len(products[0]) > 1:
        products = _stage(stages, [
            [_merge(*pair) if len(pair) > 1 else pair[0]
             for pair in (parts[k:k + 2] for k in range(0, len(parts), 2))]
            for parts in products], f"{name}_{level}")
        level += 1
    return [SignedProduct(Cat(part.carry.replicate(part.shift), part.value).as_signed(), part.carry)
            for part, in products]


def add(a: Value, product: SignedProduct, width: int) -> Value:
    """Return the sum modulo ``2**width``, in one adder."""
    low, high = (Cat(product.carry, Cat(v, v[-1].replicate(max(width - len(v), 0)))[:width])
                 for v in (a, product.value))
    return (low + high)[1:width + 1]


@dataclass(frozen=True)
class _Part:
    """``value + carry``, times ``2**shift``."""

    shift: int
    value: Value
    carry: Value


def _terms(fmt: Format, operand: Value, x: Value) -> list[_Part]:
    """Return the terms of a product in two's complement, those of the lowest shift first."""
    n, signed = len(x), x.shape().signed
    top = x[-1] if signed else Const(0, 1)
    parts = []
    for k, term in enumerate(fmt.times(operand, x.as_unsigned())):
        width = len(term.value) + (not signed)
        # with so many more bits of `x` that all bits of this term are right
        wide = fmt.times(operand, Cat(x, top.replicate(width - n)))[k].value[:width]
        minus = fmt.times(operand, Const(0, n))[k].value[0] # the complement of 0 is all ones
        parts.append(_Part(term.shift, wide, minus))
    return sorted(parts, key=lambda part: part.shift)


def _merge(low: _Part, high: _Part) -> _Part:
    """Add two parts: the carry of the lower one is left, and its low bits stay as they are."""
    apart = high.shift - low.shift
    a = Cat(low.value, low.value[-1].replicate(max(apart + 1 - len(low.value), 0)))
    width = max(len(a) - apart, len(high.value)) + 1
    total = add(a[apart:], SignedProduct(high.value, high.carry), width)
    return _Part(low.shift, Cat(a[:apart], total), low.carry)


def _stage(stages: Stages, products: list[list[_Part]], name: str) -> list[list[_Part]]:
    values = iter(stages.stage([v for parts in products for part in parts
                                for v in (part.value, part.carry)], name))
    return [[_Part(part.shift, next(values), next(values)) for part in parts]
            for parts in products]


@lru_cache(maxsize=4096)
def products_latency(fmt: Format, x: Shape) -> int:
    """Return the register levels of :func:`signed_products`."""
    return draft(lambda stages: signed_products(
        fmt, stages, [Signal(fmt.width)], Signal(x), "product")).latency
