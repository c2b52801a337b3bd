"""When a router of nextpnr is not going to finish."""

from __future__ import annotations

import re

__all__ = ["Patience"]

ARCS = re.compile(r"Info: Routing (\d+) arcs")
ROUTER1 = re.compile(r"Info: +(\d+) \| +\d+ +\d+ \|")
ROUTER2 = re.compile(r"Info: +iter=(\d+) ")

# Routing that succeeds took 1.3 times as many steps as there are arcs, and up to 80 iterations;
# some never ends, with the same two wires contended for. Counted, not timed: a busy machine
# must not change the result.
STEPS_PER_ARC = 8
ITERATIONS = 300


class Patience:
    """Reads the log of a router, line by line, and tells when it has taken too long."""

    def __init__(self) -> None:
        self.arcs = 0

    def ends(self, line: str) -> bool:
        """Return whether to give up, having read `line` too."""
        if match := ARCS.match(line):
            self.arcs = int(match[1])
        if match := ROUTER1.match(line):
            return int(match[1]) > max(1000, STEPS_PER_ARC * self.arcs)
        if match := ROUTER2.match(line):
            return int(match[1]) > ITERATIONS
        return False
