"""Arithmetic as cells: functions of integers with gates of their own, one concept per file."""

from __future__ import annotations

from bittern.hw.operators.clip import Clip, Wrap
from bittern.hw.operators.operator import Function, Operate, Operator
from bittern.hw.operators.product import Product
from bittern.hw.operators.round_shift import RoundShift

__all__ = [
    "OPERATORS", "Clip", "Function", "Operate", "Operator", "Product", "RoundShift", "Wrap",
]

OPERATORS: tuple[type[Operator], ...] = (
    Product, Clip, Wrap, RoundShift,
)
