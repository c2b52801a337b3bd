"""How we know: simulation against the golden model."""
