"""The smallest product of two variables on a family."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bittern.hw.operators.booth import BoothProduct
from bittern.hw.operators.product import Product
from bittern.hw.operators.table_product import TableProduct

if TYPE_CHECKING:
    from amaranth import Shape

    from bittern.hw.family import Family
    from bittern.hw.operators.operator import Operator

__all__ = ["best_product"]


def best_product(a: Shape, b: Shape, family: Family, *, registers: bool = False) -> Operator:
    """Return the product of `a` and `b` without DSPs that is estimated to take the fewest LUTs.

    With `registers` it has a register after each level of adders, or each digit; those that only
    delay are not counted.
    """
    candidates: list[Operator] = []
    if not registers and a.width + b.width <= 6:
        candidates.append(TableProduct(a, b))
    candidates += [Product(a, b, registers), BoothProduct(a, b, registers)]
    return min(candidates, key=lambda product: product.lut4(family))
