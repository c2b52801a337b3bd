"""Damaged files: each is refused in clean lines, or is the network its runtime takes it for."""

from __future__ import annotations

import os
import time
from functools import partial

import contained
import damaged
import numpy as np
import pytest

FINE = ("refused", "equal", "alone")


@pytest.mark.parametrize("name", damaged.IMPORTERS)
def test_damaged_files_never_fail_otherwise(name):
    seed, count = 100, 50
    print(f"seeds {seed} to {seed + count - 1}")
    found = dict(zip(range(seed, seed + count), damaged.outcomes(name, range(seed, seed + count)),
                     strict=True))
    assert {k: text for k, text in found.items() if text.split(":")[0] not in FINE} == {}
    kinds = [text.split(":")[0] for text in found.values()]
    assert kinds.count("refused") > 15
    assert kinds.count("equal") > 5


@pytest.mark.parametrize(("function", "fault"), [
    (partial(os._exit, 9), "died: exit code 9"),
    (partial(int, "?"), "ValueError: invalid literal"),
    (lambda: np.ones(2**25).sum(), "memory: "),
    (lambda: np.ones(2**40), "MemoryError")])
def test_every_fault_of_a_process_is_seen(function, fault, monkeypatch):
    monkeypatch.setattr(contained, "MEMORY", 2**27)
    assert fault in contained.call(function).fault


def test_a_process_that_hangs_is_ended(monkeypatch):
    monkeypatch.setattr(contained, "SECONDS", 0.5)
    assert contained.call(time.sleep, 60).fault == "hang"


def test_what_a_process_returns_is_returned():
    assert contained.call(sum, (3, 4)) == contained.Outcome(7)


def test_networks_that_differ_from_their_runtime_are_faults(tmp_path, monkeypatch):
    (tmp_path / "whole.tflite").write_bytes(damaged.tflite(4))
    assert damaged.outcome(tmp_path / "whole.tflite") == "equal"
    right = damaged.expected
    monkeypatch.setattr(damaged, "expected", lambda *given: right(*given) + 1)
    assert damaged.outcome(tmp_path / "whole.tflite").startswith("differs: ")


@pytest.mark.parametrize("message", ["", "two\nlines", "\x07", "long" * 600])
def test_messages_that_are_not_clean_are_faults(message, tmp_path, monkeypatch):
    def read(_path):
        raise ValueError(message)

    monkeypatch.setattr(damaged, "read", read)
    assert "AssertionError" in damaged.outcome(tmp_path / "any")
