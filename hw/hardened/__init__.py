"""Weights as wiring: constant matrices as graphs of adders, and how these are found."""
