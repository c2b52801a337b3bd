"""A function in a process of its own: what it takes of time and memory is limited and seen."""

from __future__ import annotations

import multiprocessing
import os
import resource
import traceback
import warnings
from typing import NamedTuple

SECONDS = 30
"""Wall time of a call."""
MEMORY = 2**30
"""Bytes that may be resident on top of what the caller has."""
ADDRESSES = 12 * 2**30
"""Bytes of addresses that may be reserved on top of the caller's: for the machine's sake."""


class Outcome(NamedTuple):
    """What became of a call: one of the fields says it."""

    value: object = None
    fault: str = ""
    """``"hang"``, ``"memory: … MB"``, ``"died: …"``, or a traceback."""


def call(function, *arguments):
    """Return the outcome of a function: it may crash, hang, or ask for any amount of memory.

    An exception is a fault. Standard error of the process is dropped.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(there, function, arguments))
    with warnings.catch_warnings(): # from Python 3.12 on: of threads, which here wait for work
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    there.close()
    try:
        outcome = here.recv() if here.poll(SECONDS) else Outcome(fault="hang")
    except EOFError:
        process.join()
        outcome = Outcome(fault=f"died: exit code {process.exitcode}")
    process.kill()
    process.join()
    process.close()
    here.close()
    return outcome


def _run(connection, function, arguments):
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    with open("/proc/self/statm") as file:
        reserved, resident = (int(n) * resource.getpagesize() for n in file.read().split()[:2])
    resource.setrlimit(resource.RLIMIT_AS, (reserved + ADDRESSES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        outcome = Outcome(function(*arguments))
    except BaseException:
        outcome = Outcome(fault=traceback.format_exc())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - resident
    if peak > MEMORY:
        outcome = Outcome(fault=f"memory: {peak >> 20} MB\n{outcome.fault}")
    connection.send(outcome)
