"""Networks in QONNX files, made here or at random, and what the QONNX executor makes of them."""

from __future__ import annotations

import warnings

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

from bittern.gen.importers import qonnx
from bittern.gen.ir import INPUT

with warnings.catch_warnings(): # of other packages, when they are imported
    warnings.simplefilter("ignore")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

DOMAIN = "qonnx.custom_op.general"
CHANNELS_LAST = "qonnx.custom_op.channels_last"
QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant", "Trunc")


class Model:
    """A model under construction: each operator reads what the one before it made."""

    input = "x"

    def __init__(self, *shape, opset=13, quantizers=1):
        self.shape, self.opset, self.quantizers = shape, opset, quantizers
        self.nodes, self.constants, self.last = [], {}, "x"
        self.shapes = {}
        """Of tensors, where the reference cannot infer them."""

    def constant(self, value):
        name = f"c{len(self.constants)}"
        array = np.asarray(value)
        self.constants[name] = array.astype(np.float32) if array.dtype.kind == "f" else array
        return name

    def __call__(self, op, *operands, x=None, domain=None, **attributes):
        names = [o if isinstance(o, str) else self.constant(o) for o in operands]
        if x != "":
            names.insert(0, x or self.last)
        self.last = f"t{len(self.nodes)}"
        domain = domain or (DOMAIN if op in QUANTIZERS else "")
        self.nodes.append(helper.make_node(op, names, [self.last], f"{op}_{len(self.nodes)}",
                                           domain=domain, **attributes))
        return self

    def quant(self, scale=0.25, zero=0.0, bits=4.0, signed=1, narrow=0, mode="ROUND", **kw):
        return self("Quant", np.float32(scale), np.float32(zero), np.float32(bits), signed=signed,
                    narrow=narrow, rounding_mode=mode, **kw)

    def weights(self, array, **kw):
        last = self.last
        name = self.quant(x=self.constant(np.float32(array)), **kw).last
        self.last = last
        return name

    def proto(self, **changes):
        kind = TensorProto.INT64 if self.nodes[-1].op_type == "ArgMax" else TensorProto.FLOAT
        shape = changes.get("shape", self.shape)
        graph = helper.make_graph(
            self.nodes, "network",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(changes.get("output", self.last), kind, None)],
            [numpy_helper.from_array(a, n) for n, a in self.constants.items()],
            value_info=[helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
                        for name, shape in self.shapes.items()])
        return helper.make_model(graph, ir_version=8, opset_imports=[
            helper.make_opsetid("", self.opset), helper.make_opsetid(DOMAIN, self.quantizers),
            helper.make_opsetid(CHANNELS_LAST, 14)])

    def network(self, **changes):
        return qonnx.read(self.proto(**changes).SerializeToString(), "model")

    def context(self, x):
        """Return what the executor makes of a frame: every tensor, by name."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ModelWrapper(self.proto()).transform(InferShapes())
            return execute_onnx(model, {self.input: x.reshape(self.shape)}, True)

    def reference(self, xs):
        proto = self.proto()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ModelWrapper(proto).transform(InferShapes())
            shape = execute_onnx(model, {self.input: xs[0].reshape(self.shape)})[self.last].shape
            ys = [execute_onnx(model, {self.input: x.reshape(self.shape)})[self.last] for x in xs]
        return np.stack([y.reshape(shape[1:]) for y in ys])

    def run(self, xs, **changes):
        network = self.network(**changes)
        return network.decode(network.graph.golden(network.encode(xs)))

    def check(self, xs):
        """Assert that every bit equals the executor's; return the network."""
        network = self.network()
        y = network.decode(network.graph.golden(network.encode(xs)))
        np.testing.assert_array_equal(y, self.reference(xs))
        assert set(network.formats) == {INPUT, *(n.name for n in network.graph.nodes)}
        assert [r.op.split(".")[-1] for r in network.rules] == [n.op_type for n in self.nodes]
        return network

    def differs_by_ties(self, xs):
        """Return whether every frame that differs from the reference meets a tie there."""
        mine, theirs = self.run(xs), self.reference(xs)
        return all(self.meets_a_tie(x) for x, a, b in zip(xs, mine, theirs, strict=True)
                   if not np.array_equal(a, b))

    def meets_a_tie(self, x):
        """Return whether `x` differs from the reference because of a tie there.

        Then the input of the first quantizer that differs is the same but for what float sums
        round off; or the output, if no quantizer differs.
        """
        theirs, floats = self.context(x), [
            n for n in self.nodes if n.op_type in QUANTIZERS and n.input[0] not in self.constants]
        for node in floats:
            mine = self.run(x[np.newaxis], output=node.output[0])[0]
            if not np.array_equal(mine.ravel(), theirs[node.output[0]].ravel()):
                return self.is_rounded(x, node.input[0], theirs)
        return self.is_rounded(x, self.last, theirs)

    def is_rounded(self, x, name, theirs):
        """Return whether a tensor differs from the reference's by what float sums round off."""
        off = self.run(x[np.newaxis], output=name).ravel() - theirs[name].ravel()
        return np.abs(off).max() < 2.0**-20 * np.abs(theirs[name]).max()


class Stored(Model):
    """A model as a file has it."""

    def __init__(self, data):
        self.stored = ModelProto.FromString(data)
        graph = self.stored.graph
        self.nodes, self.last = graph.node, graph.output[0].name
        self.constants = {t.name for t in graph.initializer}
        x = next(i for i in graph.input if i.name not in self.constants)
        self.input, self.shape = x.name, tuple(d.dim_value for d in x.type.tensor_type.shape.dim)

    def proto(self, **changes):
        proto = ModelProto.FromString(self.stored.SerializeToString())
        if "output" in changes:
            proto.graph.output[0].name = changes["output"]
            proto.graph.output[0].type.tensor_type.ClearField("shape")
        return proto


def frames(*shape, seed=0, scale=2.0):
    return np.random.default_rng(seed).normal(size=shape, scale=scale).astype(np.float32)


MODES = ("ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "round")


class RandomModel(Model):
    """A convolutional network of random layers.

    Every third has scales that are no powers of two. Those are drawn for each quantizer, so that
    the reference meets no ties, on which its own rounding errors would decide.
    """

    def __init__(self, seed):
        self.rng = rng = np.random.default_rng(seed)
        self.power = seed % 3 > 0
        self.channels = int(rng.integers(1, 5))
        self.sizes = [int(n) for n in rng.integers(4, 10, 1 if rng.random() < 0.2 else 2)]
        last = self.chance(0.2)
        shape = (*self.sizes, self.channels) if last else (self.channels, *self.sizes)
        super().__init__(1, *shape, opset=int(rng.choice([11, 13])),
                         quantizers=int(rng.choice([1, 2])))
        self.scale, self.bits = None, 0
        self.calibration = self.draw(3)
        before = self.chance(0.5)
        if last and before:
            self.turn(first=True)
        if self.chance(0.3) and (before or not last):
            self.host()
        self.quantize(plain=last)
        if last and not before:
            self.turn(first=True)
        layers = [self.block, self.block, self.residual, self.branches, self.pool, self.average,
                  self.upsample, self.padding, self.shuffle, self.turned]
        for _ in range(rng.integers(1, 5)):
            layers[rng.integers(len(layers))]()
        self.head()

    def chance(self, p):
        return self.rng.random() < p

    def draw(self, count):
        """Return frames in steps of 1/32: sums of the host are exact."""
        return np.round(self.rng.normal(size=(count, *self.shape[1:]), scale=64)).astype(
            np.float32) / 32

    def seen(self):
        """Return what a few frames come to here, so that parameters can be of this size."""
        if not any(n.op_type in QUANTIZERS and n.input[0] not in self.constants
                   for n in self.nodes):
            return self.draw(2)
        return self.run(self.calibration)

    def step(self, values, bits):
        """Return a scale for values."""
        scale = 4 * (values.std() or 1) / 2**bits
        if self.power:
            return 2.0**np.round(np.log2(scale))
        return float(np.float32(scale * self.rng.uniform(0.7, 1.4)))

    def column(self, values):
        return np.reshape(values, (1, -1, *(1 for _ in self.sizes)))

    def quantize(self, *, scale=None, plain=False):
        """Quantize; `plain` with one scale and one zero point."""
        rng, values, per_channel = self.rng, self.seen(), False
        self.bits, self.scale = int(rng.choice([2, 2, 3, 3, 4, 4, 5, 6, 7, 8])), None
        if scale is None and 0.1 < (values > 0).mean() < 0.9 and self.chance(0.2):
            scale = self.step(values, 1)
            return self.quant(scale, bits=1) if self.chance(0.3) else (
                self("BipolarQuant", np.float32(scale)))
        scale = scale or self.step(values, self.bits)
        signed = int(self.chance(0.6))
        zero = np.clip(np.round(-values.mean() / scale), -9999, 9999) + (0 if signed else
                                                                     2**self.bits // 2)
        if self.chance(0.6):
            signed, zero = int((values < 0).any()), 0
        if not plain and self.power and self.chance(0.2):
            scale, per_channel = self.column(scale * 2.0**rng.integers(-1, 2, self.channels)), True
        if not plain and self.chance(0.1):
            zero, per_channel = self.column(zero + rng.integers(-2, 3, self.channels)), True
        if not per_channel and not zero:
            self.scale = scale
        return self.quant(scale, zero, self.bits, signed, int(self.chance(0.3)),
                          str(rng.choice(MODES)))

    def host(self):
        kind = self.rng.integers(4)
        if kind == 0:
            self("Mul", self.column(2.0**self.rng.integers(-1, 2, self.channels)))
        elif kind == 1:
            self.padding()
        elif kind == 2:
            self.conv()
        else:
            self.pooled("MaxPool")

    def turn(self, *, first):
        rank = len(self.sizes) + 2
        self("Transpose", perm=[0, rank - 1, *range(1, rank - 1)] if first else
             [0, *range(2, rank), 1])

    def window(self, *, same=False, dilated=True):
        """Return attributes of windows that fit, and the sizes they leave."""
        rng, n = self.rng, len(self.sizes)
        kernel = [int(min(k, s)) for k, s in zip(rng.integers(1, 4, n), self.sizes, strict=True)]
        strides = [1] * n if same else rng.integers(1, 3, n).tolist()
        dilations = rng.integers(1, 3, n).tolist() if dilated and self.chance(0.2) else [1] * n
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        if same or (self.chance(0.2) and max(dilations) == 1
                    and all(k >= s for k, s in zip(kernel, strides, strict=True))):
            auto = str(rng.choice(["SAME_UPPER", "SAME_LOWER"]))
            sizes = [-(-size // s) for size, s in zip(self.sizes, strides, strict=True)]
            if not same:
                return {"kernel_shape": kernel, "strides": strides, "auto_pad": auto}, sizes
            pads = [(r - 1) // 2 for r in reach] + [r // 2 for r in reach]
        else:
            pads = [int(rng.integers(0, k)) * self.chance(0.7) for k in kernel * 2]
        if any(size + pads[i] + pads[n + i] < reach[i] for i, size in enumerate(self.sizes)):
            return self.window(same=same, dilated=dilated)
        sizes = [(size + pads[i] + pads[n + i] - reach[i]) // strides[i] + 1
                 for i, size in enumerate(self.sizes)]
        attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads}
        return attributes | ({"dilations": dilations} if dilated else {}), sizes

    def conv(self, *, outputs=None, same=False, bias=0.3):
        rng = self.rng
        group, per_group = 1, int(rng.integers(1, 6))
        if outputs is None and self.chance(0.3):
            group, per_group = self.channels, int(rng.integers(1, 3))
        elif self.channels % 2 == 0 and (outputs or 2) % 2 == 0 and self.chance(0.3):
            group = 2
        outputs = outputs or group * per_group
        attributes, sizes = self.window(same=same)
        shape = (outputs, self.channels // group, *attributes["kernel_shape"])
        values = rng.normal(size=shape)
        scale = float(2.0**-rng.integers(0, 3) if self.power else rng.uniform(0.2, 1))
        x = self.last
        last = "pads" in attributes and self.chance(0.2)
        if last:
            values = np.moveaxis(values, 1, -1)
            self.shapes[f"t{len(self.nodes)}"] = values.shape
            self.shapes[f"t{len(self.nodes) + 1}"] = (1, *self.sizes, self.channels)
        if self.chance(0.2):
            weights = self("BipolarQuant", np.float32(scale), x=self.constant(values)).last
        else:
            if self.chance(0.3):
                ones = (1 for _ in shape[1:])
                scale = scale * (2.0**rng.integers(-1, 2, outputs)).reshape(-1, *ones)
            weights = self.weights(values, scale=scale, bits=int(rng.integers(1, 6)))
        self.last = x
        operands = [weights]
        if self.chance(bias):
            operands.append(np.round(rng.normal(size=outputs) * 8) / 8)
        if last:
            self.turn(first=False)
            attributes = {"dilations": [1] * len(sizes)} | attributes
            self("Conv", *operands, domain=CHANNELS_LAST, group=group, **attributes)
            self.turn(first=True)
        else:
            self("Conv", *operands, group=group, **attributes)
        self.channels, self.sizes = outputs, sizes
        return self

    def batch_norm(self):
        gain, bias, mean, variance = self.rng.normal(size=(4, self.channels))
        values = self.seen()
        self("BatchNormalization", gain, bias, values.mean() + mean * values.std(),
             (values.var() or 1) * (np.abs(variance) + 0.1))

    def pooled(self, op):
        attributes, sizes = self.window(dilated=op == "MaxPool")
        if op == "AveragePool":
            attributes["count_include_pad"] = int(self.rng.integers(2))
        elif "pads" in attributes and self.chance(0.2):
            found = self.ceil(**attributes)
            attributes, sizes = attributes | {"ceil_mode": int(found is not None)}, found or sizes
        self(op, **attributes)
        self.sizes = sizes
        return attributes["kernel_shape"]

    def ceil(self, kernel_shape, strides, pads, dilations):
        """Return the sizes with `ceil_mode`, unless ONNX' and its runtime's opinions differ."""
        sizes = []
        for i, size in enumerate(self.sizes):
            before, after = pads[i::len(self.sizes)]
            reach = (kernel_shape[i] - 1) * dilations[i] + 1
            sizes.append(-(-(size + before + after - reach) // strides[i]) + 1)
            if (sizes[-1] - 1) * strides[i] >= size + before:
                return None
        return sizes

    def block(self):
        self.conv()
        if self.chance(0.2):
            self("Add", self.column(self.rng.normal(size=self.channels)))
        if self.chance(0.5):
            self.batch_norm()
        if self.chance(0.5):
            self("Relu")
        if self.chance(0.2):
            self.pooled("MaxPool")
        self.quantize()

    def pool(self):
        self.pooled("MaxPool")

    def average(self):
        scale, bits = self.scale, self.bits
        kernel = int(np.prod(self.pooled("AveragePool")))
        if scale and self.chance(0.5):
            self("Mul", np.float32(kernel))
            extra = int(kernel - 1).bit_length()
            if self.quantizers == 1:
                self("Trunc", np.float32(scale), np.float32(0), np.float32(bits + extra),
                     np.float32(bits), rounding_mode="FLOOR")
            else:
                self("Trunc", np.float32(scale), np.float32(0), np.float32(bits + extra),
                     np.float32(scale * 2**extra), np.float32(bits), rounding_mode="FLOOR",
                     signed=1, narrow=0)
            self.scale = None
        else:
            self.quantize()

    def residual(self):
        scale = self.step(self.seen(), int(self.rng.integers(2, 9)))
        self.quantize(scale=scale, plain=True)
        skip = self.last
        self.conv(outputs=self.channels, same=True, bias=0)
        if not self.power or self.chance(0.7):
            factor = 2.0**self.rng.integers(-2, 3) if self.power else 1
            self.quantize(scale=scale * factor, plain=True)
        self("Add", skip)
        if self.chance(0.5):
            self("Relu")
        self.quantize()

    def branches(self):
        x, channels = self.last, self.channels
        names, total = [], 0
        for _ in range(self.rng.integers(2, 4)):
            self.last, self.channels = x, channels
            if self.chance(0.8):
                self.conv(outputs=int(self.rng.integers(1, 5)), same=True)
                if self.chance(0.3):
                    self.batch_norm()
                self.quantize()
            names.append(self.last)
            total += self.channels
        self("Concat", *names[1:], x=names[0], axis=1)
        self.channels, self.scale = total, None
        if not self.power or self.chance(0.3):
            self.quantize()

    def upsample(self):
        if max(self.sizes) > 12:
            return
        factors = self.rng.integers(1, 3, len(self.sizes))
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"} if (
            self.chance(0.5)) else {}
        self("Resize", np.empty(0, np.float32), np.float32([1, 1, *factors]), **how)
        self.sizes = [int(n * f) for n, f in zip(self.sizes, factors, strict=True)]

    def padding(self):
        n = len(self.sizes)
        pads = self.rng.integers(0, 3, 2 * n)
        if self.chance(0.2):
            pads[:n] = [-(size > 1) for size in self.sizes]
        self("Pad", np.array([0, 0, *pads[:n], 0, 0, *pads[n:]]), np.float32(0))
        self.sizes = [int(s + pads[i] + pads[n + i]) for i, s in enumerate(self.sizes)]

    def shuffle(self):
        n = len(self.sizes)
        groups = next(g for g in (3, 2, 1) if self.channels % g == 0)
        self("Reshape", np.array([1, groups, self.channels // groups, *self.sizes]))
        self("Transpose", perm=[0, 2, 1, *range(3, n + 3)])
        self("Reshape", np.array([0, self.channels, *self.sizes]))
        self.scale = None

    def turned(self):
        self.turn(first=False)
        if self.chance(0.5):
            self("Mul", 2.0**self.rng.integers(-1, 2, self.channels)
                 if self.power else np.float32(2))
            self.scale = None
        if self.chance(0.3):
            self.quantize(plain=True)
        self.turn(first=True)

    def head(self):
        rng, n = self.rng, len(self.sizes)
        kind = rng.integers(6)
        if kind == 0:
            self("GlobalAveragePool").quantize(plain=True)("Flatten")
            self.sizes = [1] * n
        elif kind == 1:
            self("ReduceMean", axes=[*range(2, n + 2)], keepdims=0).quantize(plain=True)
            self.sizes = [1] * n
        elif kind == 2:
            self("Flatten")
        elif kind == 3:
            self("Transpose", perm=[0, *range(2, n + 2), 1])("Reshape", np.array([1, -1]))
        else:
            if kind == 4 or not self.power:
                self.quantize()
            return
        inputs, outputs = self.channels * int(np.prod(self.sizes)), int(rng.integers(1, 7))
        scale = 0.5 if self.power else float(rng.uniform(0.2, 1))
        if self.chance(0.5):
            self("Gemm", self.weights(rng.normal(size=(outputs, inputs)), scale=scale),
                 np.round(rng.normal(size=outputs) * 8) / 8, transB=1)
        else:
            self("MatMul", self.weights(rng.normal(size=(inputs, outputs)), scale=scale))
        if not self.power or self.chance(0.5):
            self.quantize(plain=True)
        elif self.chance(0.3):
            self("ArgMax", axis=1)


def compare(seed, count=4):
    """Return "equal", or how a random network differs from the executor; ties of floats may."""
    try:
        model = RandomModel(seed)
        xs = model.draw(count)
        model.check(xs)
    except ValueError as error:
        return f"refused: {error}"
    except AssertionError as error:
        if model.power or not model.differs_by_ties(xs):
            return f"differs: {error}"
    return "equal"
