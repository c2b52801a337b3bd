"""What `make measure-cells` measures beside the operators; each area has its file."""
