"""How a network becomes cells."""
