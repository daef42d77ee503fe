"""ONNX: a network with its weights as one graph, which onnxruntime and others run, on any number of images.

The graph is written operation by operation from what JAX traces (`jaxcnn.export.traced`), with
`jaxcnn.export.onnx_operators`. Converters of JAX in general bring some twenty packages along, and want a number of
images, or minutes; evaluation of our networks needs some forty operations, and the package onnx, which describes the
format.
"""

import dataclasses
import importlib.metadata
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.buffer_callback import Buffer, ExecutionContext, buffer_callback
from jax.export import symbolic_shape

from jaxcnn.errors import UserError
from jaxcnn.export.about import about, read, text
from jaxcnn.export.compared import agree_in_batches
from jaxcnn.export.onnx_graph import Graph
from jaxcnn.export.onnx_operators import write
from jaxcnn.export.programs import as_network, program_of
from jaxcnn.export.traced import Program, traced
from jaxcnn.ops.backend import rules_of
from jaxcnn.trained import Trained
from jaxcnn.weights.save import FACTS

if TYPE_CHECKING:
    import onnx
    import onnxruntime

OPERATORS_VERSION, FORMAT_VERSION = 18, 8
"""The versions of ONNX's operators and of its format, which programs read that are from 2023 or later."""
BATCH = "batch"
"""The name of the number of images."""


def export_onnx(network: Trained, path: Path, *, pixels: bool) -> str:
    """Writes a network as a graph of ONNX, and compares what onnxruntime computes from the file with the network.

    The number of images is a symbol; their size is that of the network's crop. All is computed in float32, also where
    the network computes in bfloat16, which onnxruntime does not do on CPUs.

    Args:
        network: the network.
        path: the path of the file, whose content is replaced.
        pixels: whether the graph takes uint8 pixels and gives probabilities; else it takes normalized float32 images
            and gives logits.

    Returns:
        The sentence that says what was compared.

    Raises:
        UserError: the graph differs from the network, the network computes what is not written as ONNX here, or onnx or
            onnxruntime is not installed.
        OSError: the file cannot be written.
    """
    _check_packages("onnx", "onnxruntime")
    function, size, channels = program_of(network, pixels), network.data.evaluation_crop.size, network.data.channels
    shape = (*symbolic_shape(BATCH), size, size, channels)
    with rules_of("gpu"):  # with these all convolutions are XLA's own, which ONNX has too
        program = traced(
            program_of(_in_float32(network), pixels), jax.ShapeDtypeStruct(shape, jnp.uint8 if pixels else jnp.float32)
        )
    path.write_bytes(_model(program, network, pixels).SerializeToString())
    session = _session(path)
    given, result = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(images: np.ndarray) -> np.ndarray:
        return np.asarray(session.run([result], {given: images})[0])

    largest = agree_in_batches(run, function, network, pixels, str(path))
    return (
        f"a graph for images of {size}x{size} pixels, which differs from the network in onnxruntime by {largest:.1e} "
        "at most on batches of 1 and 2"
    )


def load_onnx(path: Path) -> Trained:
    """Loads what `export_onnx` wrote, as a network. onnxruntime runs it on the CPU.

    Raises:
        UserError: the file is something else, or onnxruntime is not installed.
    """
    _check_packages("onnxruntime")
    try:
        session = _session(path)
        (given,), (result,) = session.get_inputs(), session.get_outputs()
        stored = session.get_modelmeta().custom_metadata_map[FACTS]
    except Exception as error:  # onnxruntime has many kinds for damaged files, none of which it exports
        reason = ascii(str(error) or type(error).__name__)[1:-1]
        raise UserError(f"{path} is not a graph that `jaxcnn export` wrote ({reason[:200]}): export it anew") from None
    facts = read(stored, path.name)
    size, channels = facts.expects.crop.size, facts.expects.channels
    takes = [BATCH, size, size, channels]
    kind = "tensor(uint8)" if facts.pixels else "tensor(float)"
    if (given.shape, given.type, result.shape) != (takes, kind, [BATCH, facts.num_classes]):
        raise UserError(
            f"{path} is a graph of {given.type} {given.shape} to {result.shape}, and says that it is one of {kind} "
            f"{takes} to {[BATCH, facts.num_classes]}: export it anew"
        )

    def call(images: np.ndarray) -> np.ndarray:
        return np.asarray(session.run([result.name], {given.name: images})[0])

    def fill(_: ExecutionContext, answers: Buffer, images: Buffer) -> None:
        np.asarray(answers)[...] = call(np.asarray(images))

    def run(images: jax.Array) -> jax.Array:
        if images.shape[1:] != tuple(takes[1:]):
            raise ValueError(f"the graph takes images of {'x'.join(map(str, takes[1:]))}")
        answers = jax.ShapeDtypeStruct((images.shape[0], facts.num_classes), jnp.float32)
        if jax.default_backend() == "cpu":
            # A callback that is given arrays waits for the devices here, and can wait for ever where these wait for it.
            return buffer_callback(fill, answers)(images)
        return jax.pure_callback(lambda array: call(np.asarray(array)), answers, images)

    return as_network(path, run, facts)


def _in_float32(network: Trained) -> Trained:
    if not hasattr(network.model, "dtype"):
        return network
    return dataclasses.replace(network, model=network.model.clone(dtype=jnp.float32))


def _model(program: Program, network: Trained, pixels: bool) -> "onnx.ModelProto":
    """Returns the file of a program, with what is known of the network."""
    import onnx.helper

    graph = Graph(program, "pixels" if pixels else "images")
    for operation in program.operations:
        write(graph, operation)
    result = "probabilities" if pixels else "logits"
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.name(program.result)], [result], result))
    inputs, outputs = (
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(array.dtype)), [BATCH, *array.shape[1:]]
        )
        for name, array in (("pixels" if pixels else "images", program.images), (result, program.result))
    )
    name = network.origin.model if network.origin else "network"
    model = onnx.helper.make_model(
        onnx.helper.make_graph(graph.nodes, name, [inputs], [outputs], graph.initializers),
        opset_imports=[onnx.helper.make_opsetid("", OPERATORS_VERSION)],
        ir_version=FORMAT_VERSION,
        producer_name="jaxcnn",
        producer_version=importlib.metadata.version("jaxcnn"),
    )
    onnx.helper.set_model_props(model, {FACTS: text(about(network, pixels))})
    return model


def _session(path: Path) -> "onnxruntime.InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors; it would warn of what it leaves as it is
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _check_packages(*names: str) -> None:
    for name in names:
        if importlib.util.find_spec(name) is None:
            raise UserError(f"graphs of ONNX need {name}: install jaxcnn[onnx]")
