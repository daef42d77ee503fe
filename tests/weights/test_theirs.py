"""Variables under PyTorch's names, which are the importer's rules the other way round."""

import io
import pickletools
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from jaxcnn.models.registry import get_variant
from jaxcnn.models.resnet import ResNet
from jaxcnn.models.variant import Rule, Variant
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.files import read_file
from jaxcnn.weights.load import convert
from jaxcnn.weights.theirs import COUNTER, arranged, places, state_dict
from jaxcnn.weights.torch_file import read_state
from jaxcnn.weights.torch_save import ABOUT, save_state
from tests.weights.test_names import OURS, THEIRS, TREES, shapes_of

PUBLISHERS = ("torchvision", "timm")
FEW = (
    "torchvision/vgg11_bn",
    "torchvision/regnet_y_400mf",
    "timm/vgg11",
    "timm/convnext_tiny",
    "timm/tf_efficientnet_b0",
)
WITH_RULES = sorted(name for name in TREES if get_variant(name).rules)


def slow_but(few, names):
    return [name if name in few else pytest.param(name, marks=pytest.mark.slow) for name in names]


def made(shape, number):
    """An array of arbitrary bits, of numbers that are not finite too."""
    return np.random.default_rng(number).integers(0, 1 << 32, shape, np.uint32).view(np.float32)


@pytest.mark.parametrize("theirs", slow_but(FEW, [key for key in sorted(THEIRS) if key.startswith(PUBLISHERS)]))
def test_names_and_shapes_are_those_of_the_publishers_network(theirs):
    name, options = OURS[theirs]
    place_of, found = places(get_variant(name), theirs.split("/")[0]), {}
    for path, shape in shapes_of(name, options).items():
        place = place_of(path, len(shape))
        found[place.name] = list(arranged(np.broadcast_to(np.int8(0), shape), place).shape)  # takes no memory
    assert found == {key: shape for key, shape in THEIRS[theirs].items() if not key.endswith(COUNTER)}


def test_each_batch_normalization_has_a_counter():
    shapes = shapes_of("resnet20_cifar", {})
    variables = {path: np.zeros(shape, np.float32) for path, shape in shapes.items()}
    state = state_dict(variables, get_variant("resnet20_cifar"), "timm")
    counters = {name: array for name, array in state.items() if name.endswith(COUNTER)}
    assert len(counters) == sum(path.endswith("/mean") for path in shapes)
    assert all(array.dtype == np.int64 and array.shape == () and array == 0 for array in counters.values())


@pytest.mark.parametrize("name", slow_but(("inception_v3", "nasnet_a_mobile", "convnext_tiny"), WITH_RULES))
@pytest.mark.parametrize("publisher", PUBLISHERS)
def test_there_and_back_is_the_same_bit_for_bit(name, publisher):
    # The layout of an array does not depend on its lengths, so short ones do.
    short = {path: tuple(min(length, 3) for length in shape) for path, shape in shapes_of(name, {}).items()}
    variables = {path: made(shape, number) for number, (path, shape) in enumerate(short.items())}
    state = state_dict(variables, get_variant(name), publisher)
    wanted = {path: jax.ShapeDtypeStruct(shape, jnp.float32) for path, shape in short.items()}
    found = convert(state, get_variant(name).rules, wanted)
    assert {path: array.tobytes() for path, array in found.items()} == {
        path: array.tobytes() for path, array in variables.items()
    }


def test_auxiliary_heads_are_written_too():
    variables = {
        "params/auxiliary1/hidden/conv/kernel": made((2, 2, 3, 4), 0),
        "params/auxiliary1/dense/bias": made((5,), 1),
    }
    state = state_dict(variables, get_variant("googlenet"), "torchvision")
    assert {name: array.shape for name, array in state.items()} == {"aux1.fc1.weight": (4, 12), "aux1.fc2.bias": (5,)}


def test_stacked_blocks_are_written_as_single_ones():
    state = state_dict(
        {"params/stage1_block1-2/conv1/kernel": made((2, 3, 3, 1, 1), 0)}, get_variant("resnet18"), "timm"
    )
    assert sorted(state) == ["layer1.1.conv1.weight", "layer1.2.conv1.weight"]


def of_rules(*rules):
    return Variant("mine", "mine", ResNet, {}, rules=rules)


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        (get_variant("lenet"), r"there is no lenet of others .*: write them under our names, with --names jaxcnn"),
        (of_rules(Rule("a.", "conv")), r"the weight rule \('a\.', 'conv'\) cannot be turned round: let its pattern"),
        (of_rules(Rule(r"a(\d)", "conv")), "its replacement use every group"),
        (
            of_rules(Rule("a", "conv"), Rule("b", "conv")),
            r"give params/conv/bias one name of timm's, .* a.bias, b.bias",
        ),
        (of_rules(Rule("a", "conv", "torchvision")), "give it none: mend them"),
        (of_rules(Rule("a", "conv", "timm"), Rule("a", "b", "torchvision")), "give it several: a.bias"),
    ],
    ids=["no rules", "a pattern", "a lost group", "two names", "another publisher", "not back"],
)
def test_rules_that_cannot_be_turned_round_are_refused(variant, reason):
    with pytest.raises(WeightsError, match=reason):
        state_dict({"params/conv/bias": np.zeros(1, np.float32)}, variant, "timm")


DTYPES = st.sampled_from(["float32", "float64", "float16", "int64", "int32", "uint8", "bool"])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)
STATES = st.dictionaries(
    st.from_regex(r"[a-z]\w{0,8}(\.\d{1,2})?\.(weight|bias)", fullmatch=True, alphabet=st.characters(codec="ascii")),
    DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, SHAPES)),
    min_size=1,
    max_size=4,
)


@given(STATES)
def test_what_is_saved_is_read(state):
    file = io.BytesIO()
    save_state(file, state, '{"about": 1}')
    found = read_state(io.BytesIO(file.getvalue()))
    assert {name: (array.dtype, array.shape, array.tobytes()) for name, array in found.items()} == {
        name: (array.dtype, array.shape, array.tobytes()) for name, array in state.items()
    }
    with zipfile.ZipFile(file) as archive:
        assert archive.read(f"archive/{ABOUT}") == b'{"about": 1}'


def test_a_file_names_nothing_but_tensors_and_aligns_them(tmp_path):
    """PyTorch's weights_only takes these names; that it takes the file was seen with PyTorch 2.13."""
    path = tmp_path / "w.pth"
    save_state(path, {"a.weight": made((2, 3), 0), f"a.{COUNTER}": np.zeros((), np.int64)})
    with zipfile.ZipFile(path) as archive:
        program = archive.read("archive/data.pkl")
        starts = [entry.header_offset + 30 + len(entry.filename) + len(entry.extra) for entry in archive.infolist()]
    names = {argument for opcode, argument, _ in pickletools.genops(program) if opcode.name == "GLOBAL"}
    assert names == {
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        "torch FloatStorage",
        "torch LongStorage",
    }
    assert all(start % 64 == 0 for start in starts)
    assert read_file(path)["a.weight"].shape == (2, 3)
