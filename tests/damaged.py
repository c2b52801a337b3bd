"""Model files cut anywhere, or with random bytes changed, and what becomes of them."""

from __future__ import annotations

import random
import tempfile
import warnings
from pathlib import Path

import contained
import numpy as np
import onnx_networks
import qonnx_networks
import tflite_networks
from onnx import ModelProto

from bittern.gen.importers import onnx_file, read
from bittern.gen.importers.tflite import file as tflite_file

FRAMES = 3
WHOLE = 24
"""Networks whose files are damaged."""
LINE = 2000
"""Characters that a line of a message may have."""


def tflite(seed):
    """Return a small file."""
    kind = "INT16" if seed % 4 == 3 else "INT8"
    return tflite_networks.Random(seed, kind, steps=1 + seed % 5).model.file()


def onnx(seed):
    return onnx_networks.random_model(seed)[0].data()


def qonnx(seed):
    return qonnx_networks.RandomModel(seed).proto().SerializeToString()


def damage(data, rng):
    """Return a file with one to four bytes or words changed, or cut, or both."""
    data = bytearray(data)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(4):
            case 0:
                data[at:at + 1] = rng.randbytes(1)
            case 1:
                data[at:at + 1] = bytes(byte ^ 1 << rng.randrange(8) for byte in data[at:at + 1])
            case 2:
                word = rng.choice([0, 1, 2**31 - 1, 2**31, 2**32 - 1, rng.randrange(2**32)])
                at &= ~3
                data[at:at + 4] = word.to_bytes(4, "little")
            case 3:
                del data[at:at + rng.choice([1, 1, 4])]
    if rng.random() < 0.25:
        del data[rng.randrange(len(data) + 1):]
    return bytes(data)


def leaves(message):
    """Yield all numbers and texts in a protobuf: the message, the field, and its place there."""
    for field, value in message.ListFields():
        repeated = hasattr(value, "append") and not isinstance(value, (str, bytes))
        for at, item in enumerate(value if repeated else [value]):
            if hasattr(item, "ListFields"):
                yield from leaves(item)
            else:
                yield message, field.name, at if repeated else None


def change(data, rng):
    """Return a protobuf of which a number or a text is another, or is missing."""
    model = ModelProto.FromString(data)
    places = [*leaves(model)]
    message, name, at = rng.choice(places)
    value = getattr(message, name) if at is None else getattr(message, name)[at]
    match value:
        case int():
            value = rng.choice([0, 1, -1, 2, value + 1, value - 1, 2**31 - 1, rng.randrange(99)])
        case float():
            value = rng.choice([0.0, -value, 2 * value, 0.7 * value, 1e-30, 1e30, float("nan"),
                                float("inf"), rng.random()])
        case bytes():
            value = damage(value, rng)
        case str():
            texts = [other for m, n, k in places if isinstance(
                other := getattr(m, n) if k is None else getattr(m, n)[k], str)]
            value = rng.choice([*texts, "", value[1:]])
    try:
        if rng.random() < 0.1:
            message.ClearField(name)
        elif at is None:
            setattr(message, name, value)
        else:
            getattr(message, name)[at] = value
    except ValueError: # more than the field can hold
        message.ClearField(name)
    return model.SerializeToString()


def imported(path):
    """Import a file; return the message of the error, or some frames and what they come to."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            network = read(path)
    except ValueError as error:
        lines = str(error).splitlines()
        assert lines, "no message"
        assert all(line.isprintable() and len(line) < LINE for line in lines), lines
        assert all(line.startswith("  ") for line in lines[1:]), lines
        return str(error)
    rng = np.random.default_rng(0)
    data = path.read_bytes()
    if tflite_file.recognizes(data):
        dtype = np.dtype(tflite_networks.DTYPES[tflite_file.parse(data, "").input.type])
    else:
        dtype = onnx_networks.input_dtype(data)
    shape = (FRAMES, *network.input_shape)
    if dtype.kind == "f":
        xs = (np.round(rng.normal(size=shape) * 64) / 32).astype(dtype)
    else:
        xs = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max + 1, shape).astype(dtype)
    y = network.decode(network.graph.golden(network.encode(xs)))
    return xs, y, any(onnx_networks.INT8 in rule.rule for rule in network.rules)


def is_qonnx(data):
    return any(domain in onnx_file.QUANTIZED for domain, _ in onnx_file.operators(data))


def ties(path, xs):
    """Return whether the executor differs only where float sums that it rounds decide."""
    return bool(qonnx_networks.Stored(path.read_bytes()).differs_by_ties(xs))


def expected(path, xs, int8):
    """Return what the runtime of a file makes of frames."""
    data = path.read_bytes()
    if tflite_file.recognizes(data):
        return tflite_networks.reference(data, xs)
    if is_qonnx(data):
        return qonnx_networks.Stored(data).reference(xs)
    return onnx_networks.reference(data, xs, int8=int8)


def outcome(path):
    """Return what becomes of a file, in words of which the first is one of

    * ``refused:`` with a message of clean lines;
    * ``equal``: imported, and every bit equals the runtime's, ties of QONNX's float sums aside;
    * ``alone:`` imported, but the runtime refuses it, or dies of it;
    * ``differs:``, ``hang``, ``memory:``, ``died:`` or a traceback, which are faults.
    """
    mine = contained.call(imported, path)
    if mine.fault or isinstance(mine.value, str):
        return mine.fault or f"refused: {mine.value}"
    xs, y, int8 = mine.value
    theirs = contained.call(expected, path, xs, int8)
    if theirs.fault:
        return f"alone: {theirs.fault.strip().splitlines()[-1]}"
    try:
        np.testing.assert_array_equal(y, theirs.value)
    except AssertionError as error:
        if is_qonnx(path.read_bytes()) and contained.call(ties, path, xs).value is True:
            return "equal"
        return f"differs: {' '.join(str(error).split())}"
    return "equal"


IMPORTERS = {"tflite": tflite, "onnx": onnx, "qonnx": qonnx}
"""Functions of a seed that return the content of a file."""


def outcomes(name, seeds):
    """Yield what becomes of a damaged file of each seed."""
    whole = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"damaged.{'tflite' if name == 'tflite' else 'onnx'}"
        for seed in seeds:
            rng = random.Random(seed)
            network = rng.randrange(WHOLE)
            if network not in whole:
                whole[network] = IMPORTERS[name](network)
            deep = name != "tflite" and rng.random() < 0.5 # bytes of a protobuf are mostly lengths
            path.write_bytes((change if deep else damage)(whole[network], rng))
            yield outcome(path)
