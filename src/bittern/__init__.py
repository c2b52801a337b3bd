"""Bittern: quantized neural networks on open FPGAs, proved to the bit."""

__version__ = "0.1.0"
