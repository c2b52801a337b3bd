"""Arithmetic as cells: functions of integers with gates of their own, one concept per file."""

from __future__ import annotations

from bittern.hw.operators.booth import BoothProduct
from bittern.hw.operators.clip import Clip, Wrap
from bittern.hw.operators.constant_product import ConstantProduct
from bittern.hw.operators.operator import Function, Operate, Operator
from bittern.hw.operators.packed_product import PackedProduct
from bittern.hw.operators.product import Product
from bittern.hw.operators.round_shift import RoundShift
from bittern.hw.operators.table_product import TableProduct
from bittern.hw.operators.truncated_product import TruncatedProduct

__all__ = ["OPERATORS", "BoothProduct", "Clip", "ConstantProduct", "Function", "Operate",
           "Operator", "PackedProduct", "Product", "RoundShift", "TableProduct", "TruncatedProduct",
           "Wrap"]

OPERATORS: tuple[type[Operator], ...] = (
    Product, Clip, Wrap, RoundShift, BoothProduct, TableProduct, ConstantProduct, PackedProduct,
    TruncatedProduct,
)
