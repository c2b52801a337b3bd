"""The cells: what is built."""
