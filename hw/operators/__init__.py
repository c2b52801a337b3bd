"""Arithmetic as cells: functions of integers with gates of their own, one concept per file."""

from __future__ import annotations

from bittern.hw.operators.operator import Function, Operate, Operator
from bittern.hw.operators.product import Product

__all__ = ["OPERATORS", "Function", "Operate", "Operator", "Product"]

OPERATORS: tuple[type[Operator], ...] = (Product,)
