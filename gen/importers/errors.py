"""What is wrong with a model file, and how large its tensors may be."""

__all__ = ["LARGEST", "LARGEST_MAP", "MalformedError", "UnsupportedError"]

LARGEST = 2**25
"""Elements a tensor may have: a damaged file must not take all memory."""
LARGEST_MAP = 2**22
"""Elements an edge of the graph may have, which is computed for many frames at once."""


class MalformedError(ValueError):
    """Something in the file is wrong, and nothing can be said about the rest."""


class UnsupportedError(ValueError):
    """A node cannot be imported; others may be looked at."""
