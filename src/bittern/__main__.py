"""``python -m bittern``."""

from bittern.cli import main

main(prog_name="bittern")
