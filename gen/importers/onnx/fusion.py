"""Which operators the reference fuses, and which it looks through to do so."""

__all__ = ["CARRIERS", "DEQUANTIZE", "INT8_ALLOWED", "NOTHING", "OLDEST", "OUTPUT_DTYPE",
           "QUANTIZE"]

QUANTIZE = ("QuantizeLinear", "com.microsoft.QuantizeLinear")
DEQUANTIZE = ("DequantizeLinear", "com.microsoft.DequantizeLinear")
CARRIERS = ("MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze")
"""Operators before which the reference puts QuantizeLinear, and behind which DequantizeLinear."""
NOTHING = ("Cast", "Dropout", "Identity")
"""Operators that the reference leaves out where they change nothing."""
INT8_ALLOWED = "session.qdqisint8allowed=1"
"""The option of the reference with which, on all processors, it fuses int8 as well as uint8."""
OLDEST = 13
"""The first operator set in which scales differ by channel."""
OUTPUT_DTYPE = 21
"""The first operator set in which QuantizeLinear has the attribute output_dtype."""
