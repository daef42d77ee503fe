"""Files that PyTorch itself wrote as training scripts do: whatever is around the weights, they load to the bit."""

import dataclasses
import logging
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.config import ModelConfig, TrainConfig
from jaxcnn.errors import UserError
from jaxcnn.loading import initial_variables
from jaxcnn.models.registry import get_variant, register
from jaxcnn.models.resnet import BasicBlock, ResNet
from jaxcnn.models.variant import Variant
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.files import read_class_names, read_file
from jaxcnn.weights.load import load_network
from jaxcnn.weights.save import save_variables

ARCHIVE = Path(__file__).parents[1] / "golden" / "torch_checkpoints.zip"
with zipfile.ZipFile(ARCHIVE) as archive:
    FILES = {name: archive.read(name) for name in archive.namelist()}
NAME = "a_tiny_network_of_the_weights_tests"
BLOCKS = {"block_type": BasicBlock, "stage_sizes": (1,), "stem": "cifar", "shortcut": "identity", "width": 4}
IGNORED = {"counted-plain.pth": "total_*", "lightning-plain.pth": "criterion.*"}


@pytest.fixture(scope="module", autouse=True)
def tiny_network():
    if NAME not in jaxcnn.list_models():
        register(Variant(NAME, NAME, ResNet, BLOCKS, 8, num_classes=10, rules=get_variant("resnet18").rules))


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The tensors under torchvision's names."""
    folder, found = tmp_path_factory.mktemp("expected"), {}
    for name in ("plain", "averaged"):
        (folder / name).write_bytes(FILES[f"{name}.pth"])
        found[name] = read_file(folder / name)
    for name, dtype in (("half", np.float16), ("bfloat16", jnp.bfloat16)):
        found[name] = {key: value.astype(dtype) for key, value in found["plain"].items()}
    return found


@pytest.fixture(scope="module")
def variables_of(expected):
    """The variables of each."""
    return {which: load_network(NAME, state)[1] for which, state in expected.items()}


def load(content, tmp_path, **arguments):
    (tmp_path / "w").write_bytes(content)
    return load_network(NAME, tmp_path / "w", **arguments)[1]


@pytest.mark.parametrize("file", FILES)
def test_it_loads_to_the_bit(file, expected, variables_of, tmp_path):
    which = file.partition(".")[0].rpartition("-")[2]
    variables = load(FILES[file], tmp_path, ignore=IGNORED.get(file, ()))
    assert len(jax.tree.leaves(variables)) == 17  # 3 convolutions, 3 normalizations of 4, a dense layer of 2
    jax.tree.map(np.testing.assert_array_equal, variables, variables_of[which])
    kernel = expected[which]["conv1.weight"].astype(np.float32).transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(variables["params"]["conv1"]["kernel"], kernel)


def test_there_are_thirty_kinds():
    assert len(FILES) >= 30
    assert {name.partition(".")[2] for name in FILES} == {"pth", "safetensors"}


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("ema_none-plain.pth", "the weights under 'model' are taken"),
        ("ema_of_torchvision-averaged.pth", "the weights under 'model_ema' are taken, and not 'model'"),
        ("lightning_ema-averaged.pth", "the weights under 'state_dict.ema_net' are taken, and not 'state_dict.net'"),
        ("flat_with_number-plain.pth", "passed over beside the weights, as no tensors: 'epoch', 'note'"),
    ],
)
def test_the_log_says_which_are_taken(file, sentence, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "jaxcnn"):
        load(FILES[file], tmp_path)
    assert sentence in caplog.text


def test_one_can_choose_others(variables_of, tmp_path):
    variables = load(FILES["ema_of_torchvision-averaged.pth"], tmp_path, ignore="model_ema")
    jax.tree.map(np.testing.assert_array_equal, variables, variables_of["plain"])


def test_what_has_no_place_is_named_with_the_way_out(tmp_path, caplog):
    with pytest.raises(WeightsError) as refusal:
        load(FILES["counted-plain.pth"], tmp_path)
    sentence = str(refusal.value)
    assert "it has no variable for " in sentence
    assert "total_ops, " in sentence
    assert sentence.endswith("or leave the tensors out with --ignore total_ops --ignore total_params")
    with caplog.at_level(logging.INFO, "jaxcnn"):
        load(FILES["counted-plain.pth"], tmp_path, ignore=["total_ops", "*.total_params", "total_params"])
    assert "left out of the weights as --ignore asks: " in caplog.text


class TestMappings:
    """The same of mappings in memory."""

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda state: {"model": state, "model_ema": None, "epoch": 3, "best": np.float64(3)},
            lambda state: {"weights": {f"module.{name}": value for name, value in state.items()}},
            lambda state: {f"net.module.{name}": value for name, value in state.items()},
        ],
    )
    def test_they_are_found_and_unwrapped(self, wrap, expected, variables_of):
        found = load_network(NAME, wrap(expected["plain"]))[1]
        jax.tree.map(np.testing.assert_array_equal, found, variables_of["plain"])

    def test_averaged_ones_come_first(self, expected, variables_of):
        found = load_network(NAME, {"a": expected["plain"], "my_ema": expected["averaged"]})[1]
        jax.tree.map(np.testing.assert_array_equal, found, variables_of["averaged"])

    def test_names_that_are_nearly_right_are_shown(self, expected):
        state = {name.replace("conv1", "conv_1"): value for name, value in expected["plain"].items()}
        with pytest.raises(WeightsError) as refusal:
            load_network(NAME, state)
        sentence = str(refusal.value)
        assert "it has no variable for conv_1.weight, layer1.0.conv_1.weight" in sentence
        assert "the nearest names are conv_1.weight and params/conv1/kernel" in sentence

    def test_a_name_with_and_without_a_wrapper_is_refused(self, expected):
        state = {"model.conv1.weight": np.zeros((4, 3, 3, 3), np.float32), **expected["plain"]}
        with pytest.raises(WeightsError, match=r"no variable for model\.conv1\.weight; check"):
            load_network(NAME, state)

    def test_tensors_of_pytorch_are_taken_from_where_they_are(self, expected, variables_of):
        class Tensor:
            """One that needs a gradient, which NumPy refuses."""

            def __init__(self, values):
                self.values, self.shape = values, values.shape

            def detach(self):
                return self

            cpu = detach

            def is_floating_point(self):
                return self.values.dtype.kind == "f"

            def float(self):
                return self.values.astype(np.float32)

            def __array__(self, *_, **__):
                return self.values

        state = {f"module.{name}": Tensor(value) for name, value in expected["plain"].items()}
        jax.tree.map(np.testing.assert_array_equal, load_network(NAME, state)[1], variables_of["plain"])

    def test_nothing_in_it(self):
        with pytest.raises(WeightsError, match="the mapping holds no state dict: save model"):
            load_network(NAME, {"model": None, "epoch": 3})


def test_a_run_starts_from_them_without_what_it_leaves_out(variables_of, tmp_path):
    (tmp_path / "w.pth").write_bytes(FILES["counted-plain.pth"])
    model = ModelConfig(name=NAME, num_classes=10)
    config = TrainConfig(model=model, init_from=str(tmp_path / "w.pth"), ignore=("total_*",))
    jax.tree.map(np.testing.assert_array_equal, initial_variables(config), variables_of["plain"])
    with pytest.raises(WeightsError, match="leave the tensors out with --ignore total_ops --ignore total_params"):
        initial_variables(dataclasses.replace(config, ignore=()))


@pytest.mark.parametrize("format", ["safetensors", "orbax"])
def test_class_names_are_kept_with_variables(format, variables_of, tmp_path):
    names = [*map(str, range(9)), "größter [x]"]
    save_variables(variables_of["plain"], tmp_path / "out", format, names)
    assert read_class_names(tmp_path / "out") == tuple(names)
    found = jaxcnn.load(NAME, str(tmp_path / "out"))
    assert found.class_names == tuple(names)
    jax.tree.map(np.testing.assert_array_equal, found.variables, variables_of["plain"])
    assert jaxcnn.load(NAME, str(tmp_path / "out"), class_names=list("abcdefghij")).class_names[1] == "b"
    with pytest.raises(UserError, match="--class-names names 2 classes, and the network has 10"):
        jaxcnn.load(NAME, str(tmp_path / "out"), class_names=["a", "b"])


@pytest.mark.parametrize("rows", [10, 3])
def test_the_number_of_classes_is_the_weights(rows, expected, caplog):
    state = dict(expected["plain"])
    state |= {name: state[name][:rows] for name in ("fc.weight", "fc.bias")}
    with caplog.at_level(logging.INFO, "jaxcnn"):
        model, variables = load_network(NAME, state)
    assert model.num_classes == rows
    np.testing.assert_array_equal(variables["params"]["classifier"]["dense"]["bias"], state["fc.bias"])
    assert ("has 3 classes, as the weights have" in caplog.text) == (rows == 3)
