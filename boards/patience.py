"""What nextpnr is doing, and when it is not going to finish."""

from __future__ import annotations

import re
from math import log

__all__ = ["Patience"]

ARCS = re.compile(r"Info: Routing (\d+) arcs")
ROUTER1 = re.compile(r"Info: +(\d+) \| +\d+ +\d+ \|")
ROUTER2 = re.compile(r"Info: +iter=(\d+) wires=\d+ overused=(\d+) ")

# Routing that succeeds took 1.3 times as many steps as there are arcs, and up to 80 iterations;
# some never ends, with the same two wires contended for. Counted, not timed: a busy machine
# must not change the result.
STEPS_PER_ARC = 8
ITERATIONS = 300
DENSE = "ERROR: Unable to find legal placement"


class Patience:
    """Reads the log of nextpnr, line by line, and tells when its router has taken too long."""

    doing = "placing"
    part = 0.0
    """Which part of the routing is done, as far as one can tell (0 to 1)."""

    def __init__(self) -> None:
        self.arcs = self.worst = 0

    def ends(self, line: str) -> bool:
        """Return whether to give up, having read `line` too."""
        if line.startswith(DENSE):
            return True
        if match := ARCS.match(line):
            self.arcs = int(match[1])
            self.doing = "routing"
        if match := ROUTER1.match(line):
            self.part = min(1, int(match[1]) / max(1, self.arcs))
            return int(match[1]) > max(1000, STEPS_PER_ARC * self.arcs)
        if match := ROUTER2.match(line):
            overused = int(match[2])
            self.doing, self.worst = "routing", max(self.worst, overused)
            # each iteration leaves about the same share of what the one before it left
            self.part = 1 - log(1 + overused) / log(2 + self.worst)
            return int(match[1]) > ITERATIONS
        return False
