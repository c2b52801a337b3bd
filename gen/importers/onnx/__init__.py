"""ONNX as its quantizers write it: with QuantizeLinear and DequantizeLinear, or QLinearConv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onnx import TensorProto

from bittern.gen.importers import onnx_file
from bittern.gen.importers.errors import UnsupportedError
from bittern.gen.importers.onnx.interpreter import Interpreter

if TYPE_CHECKING:
    from bittern.gen.network import Network

__all__ = ["SUFFIXES", "read", "recognizes"]

SUFFIXES: tuple[str, ...] = (".onnx",)
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinear", "ConvInteger", "MatMulInteger",
             "QGemm")


def recognizes(data: bytes) -> bool:
    """Return whether `data` is an ONNX model with quantized operators that are not QONNX's."""
    operators = onnx_file.operators(data)
    return (any(op.startswith(QUANTIZED) for _, op in operators)
            and not any(domain in onnx_file.QUANTIZED for domain, _ in operators))


def read(data: bytes, name: str) -> Network:
    """Import the content of an ONNX file.

    Raises
    ------
    ValueError
        If `data` is not a whole ONNX file with one quantized network of supported operators.
        Nodes that are not supported are all listed, one a line.
    """
    content = onnx_file.parse(data, name, (TensorProto.FLOAT, TensorProto.INT8, TensorProto.UINT8))
    try:
        return Interpreter(content, int8=False).network()
    except UnsupportedError as first:
        try:
            return Interpreter(content, int8=True).network()
        except UnsupportedError as second:
            raise min(second, first, key=lambda e: str(e).count("\n")) from None
