"""Arithmetic as cells: functions of integers with gates of their own, one concept per file."""

from __future__ import annotations

from bittern.hw.operators.binary_dot import BinaryDot
from bittern.hw.operators.bit_planes import BitPlanes, Planes
from bittern.hw.operators.booth import BoothProduct
from bittern.hw.operators.clip import Clip, Wrap
from bittern.hw.operators.constant_matrix import ConstantMatrix
from bittern.hw.operators.constant_product import ConstantProduct
from bittern.hw.operators.dsp_product import DspProduct
from bittern.hw.operators.hard_sigmoid import HardSigmoid, HardSwish
from bittern.hw.operators.leaky_relu import LeakyReLU
from bittern.hw.operators.log_product import LogProduct
from bittern.hw.operators.log_quantize import LogQuantize
from bittern.hw.operators.maximum import ArgMax, Maximum
from bittern.hw.operators.operator import Function, Operate, Operator
from bittern.hw.operators.packed_product import PackedProduct
from bittern.hw.operators.plan import PlanSigmoid, PlanTanh
from bittern.hw.operators.popcount import Popcount
from bittern.hw.operators.power_sum import PowerSum
from bittern.hw.operators.product import Product
from bittern.hw.operators.requantized import Requantized
from bittern.hw.operators.round_shift import RoundShift
from bittern.hw.operators.scaled_ternary import ScaledTernary
from bittern.hw.operators.shift_product import ShiftProduct
from bittern.hw.operators.table_function import TableFunction
from bittern.hw.operators.table_product import TableProduct
from bittern.hw.operators.ternary_dot import TernaryDot
from bittern.hw.operators.truncated_product import TruncatedProduct
from bittern.hw.operators.vote import Vote

__all__ = [
    "OPERATORS", "ArgMax", "BinaryDot", "BitPlanes", "BoothProduct", "Clip", "ConstantMatrix",
    "ConstantProduct",
    "DspProduct", "Function", "HardSigmoid", "HardSwish", "LeakyReLU", "LogProduct", "LogQuantize",
    "Maximum", "Operate", "Operator", "PackedProduct", "PlanSigmoid", "PlanTanh", "Planes",
    "Popcount", "PowerSum", "Product", "Requantized", "RoundShift", "ScaledTernary", "ShiftProduct",
    "TableFunction", "TableProduct", "TernaryDot", "TruncatedProduct", "Vote", "Wrap",
]

OPERATORS: tuple[type[Operator], ...] = (
    Product, Clip, Wrap, RoundShift, BoothProduct, TableProduct, ConstantProduct, ConstantMatrix,
    PackedProduct, TruncatedProduct, Requantized, TableFunction, LeakyReLU, HardSigmoid,
    HardSwish, PlanSigmoid, PlanTanh, DspProduct, ArgMax, Maximum,
    Popcount, BinaryDot, BitPlanes, Vote,
    ShiftProduct, PowerSum, LogQuantize, LogProduct, TernaryDot, ScaledTernary,
)
