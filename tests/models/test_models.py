import functools
import json
import re
import types

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxcnn
from jaxcnn.errors import UserError
from jaxcnn.models.lenet import C3_INPUTS, DIGIT_PICTURES, LeNet
from jaxcnn.models.registry import ModelError, get_variant, options_of, register
from jaxcnn.models.regnet import RegNet
from jaxcnn.models.variant import Variant
from jaxcnn.tables.networks import counted
from tests.golden import make_parameter_trees

PARAMETERS = {
    "lenet": 61_706,
    "lenet5": 60_000,  # the paper's own count
    "alexnet": 61_100_840,  # torchvision
    "alexnet_2012": 60_965_224,  # computed from the paper's layers, with their groups
    "vgg11": 132_863_336,  # these eight: torchvision; the four without normalization are the paper's 133 to 144 million
    "vgg11_bn": 132_868_840,
    "vgg13": 133_047_848,
    "vgg13_bn": 133_053_736,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "vgg19": 143_667_240,
    "vgg19_bn": 143_678_248,
    "vgg11_lrn": 132_863_336,  # as vgg11
    "vgg16_1x1": 133_638_952,  # the paper's 134 million
    "googlenet": 6_624_904,  # torchvision
    "googlenet_2014": 6_998_552,  # table 1 of the paper, with biases
    "bn_inception": 11_278_528,  # figure 5 of the paper, which says 13.6 million
    "inception_v3": 23_834_568,  # timm; torchvision counts the auxiliary head too
    "resnet18": 11_689_512,  # these five: torchvision
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "wide_resnet50_2": 68_883_240,  # these five: torchvision
    "wide_resnet101_2": 126_886_696,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    "resnext101_64x4d": 83_455_272,
    "resnet20_cifar": 269_722,
    "resnet32_cifar": 464_154,
    "resnet44_cifar": 658_586,
    "resnet56_cifar": 853_018,
    "resnet110_cifar": 1_727_962,
    "densenet121": 7_978_856,  # these four: torchvision
    "densenet161": 28_681_000,
    "densenet169": 14_149_480,
    "densenet201": 20_013_928,
    "densenet264": 33_337_704,  # torchvision's module with the sizes of the paper's table 1
    "densenet40_k12_cifar": 1_019_722,  # 1.0M in the paper, and 0.8M: kernels without biases, scales and offsets of
    "densenet100_k12_cifar": 769_162,  # the normalizations, a dense layer to ten classes with a bias
    "nasnet_a_mobile": 5_289_978,  # Cadene's port
    "nasnet_a_large": 88_753_150,  # timm
    "nasnet_a_cifar": 3_346_538,  # TF-Slim; 3.3M in the paper
    "regnet_x_200mf": 2_684_792,  # these: torchvision, or timm where it has none
    "regnet_x_400mf": 5_495_976,
    "regnet_x_600mf": 6_196_040,
    "regnet_x_800mf": 7_259_656,
    "regnet_x_1_6gf": 9_190_136,
    "regnet_x_3_2gf": 15_296_552,
    "regnet_x_4gf": 22_118_248,
    "regnet_x_6_4gf": 26_209_256,
    "regnet_x_8gf": 39_572_648,
    "regnet_x_12gf": 46_106_056,
    "regnet_x_16gf": 54_278_536,
    "regnet_x_32gf": 107_811_560,
    "regnet_y_200mf": 3_162_996,
    "regnet_y_400mf": 4_344_144,
    "regnet_y_600mf": 6_055_160,
    "regnet_y_800mf": 6_432_512,
    "regnet_y_1_6gf": 11_202_430,
    "regnet_y_3_2gf": 19_436_338,
    "regnet_y_4gf": 20_646_656,
    "regnet_y_6_4gf": 30_583_252,
    "regnet_y_8gf": 39_381_472,
    "regnet_y_12gf": 51_822_544,
    "regnet_y_16gf": 83_590_140,
    "regnet_y_32gf": 145_046_770,
    "efficientnet_b0": 5_288_548,  # these eight: torchvision
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    "efficientnet_b4": 19_341_616,
    "efficientnet_b5": 30_389_784,
    "efficientnet_b6": 43_040_704,
    "efficientnet_b7": 66_347_960,
    "efficientnet_lite0": 4_652_008,  # these five: timm
    "efficientnet_lite1": 5_416_680,
    "efficientnet_lite2": 6_092_072,
    "efficientnet_lite3": 8_197_096,
    "efficientnet_lite4": 13_006_568,
    "convnext_tiny": 28_589_128,  # these four: torchvision
    "convnext_small": 50_223_688,
    "convnext_base": 88_591_464,
    "convnext_large": 197_767_336,
    "convnext_xlarge": 350_196_968,  # timm
}

TREES = json.loads(make_parameter_trees.FILE.read_text())


def abstract(name, train=False, **options):
    """Variables and logits of a network, as shapes."""
    model, variant = jaxcnn.create_model(name, **options), get_variant(name)
    images = jax.ShapeDtypeStruct((2, variant.input_size, variant.input_size, variant.channels), jnp.float32)
    keys = {"params": jax.random.key(0), "dropout": jax.random.key(1)}
    logits, variables = jax.eval_shape(lambda images: model.init_with_output(keys, images, train=train), images)
    return variables, logits


def by_depth(deepest, *others):
    """All networks, those marked slow that have more layers and are not among the others: they take long to trace."""
    return [
        name if name in others or counted()[name].depth <= deepest else pytest.param(name, marks=pytest.mark.slow)
        for name in jaxcnn.list_models()
    ]


@pytest.mark.parametrize("name", by_depth(50, "convnext_tiny", "densenet121", "efficientnet_b0", "nasnet_a_mobile"))
def test_parameters_and_logits(name):
    variables, logits = make_parameter_trees.build(name)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == PARAMETERS[name]
    assert make_parameter_trees.tree_of(variables) == TREES[name]
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert (logits.shape, logits.dtype) == ((2, get_variant(name).num_classes), jnp.float32)


@pytest.mark.parametrize(
    "name",
    ["lenet", "lenet5", "alexnet_2012", "vgg11_bn", "resnet18", "resnet50", "efficientnet_b0", "convnext_tiny"],
)
def test_logits_are_float32_in_bfloat16_and_batch_statistics_too(name):
    variables, logits = abstract(name, train=True, dtype=jnp.bfloat16)
    assert logits.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_lenet_takes_any_number_of_channels():
    model = jaxcnn.create_model("lenet", num_classes=7)
    for channels in (1, 3, 5):
        images = jax.ShapeDtypeStruct((1, 20, 28, channels), jnp.float32)
        logits, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
        assert logits.shape == (1, 7)


def test_dropout_obeys_train():
    model = jaxcnn.create_model("lenet", dropout_rate=0.5)
    images = jnp.ones((2, 32, 32, 1))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    apply = jax.jit(model.apply, static_argnames="train")

    def run(train, key):
        return apply(variables, images, train=train, rngs={"dropout": jax.random.key(key)})

    np.testing.assert_array_equal(run(False, 0), run(False, 1))
    assert not np.allclose(run(True, 0), run(True, 1))


def test_batch_normalization_obeys_train():
    model = jaxcnn.create_model("resnet20_cifar").clone(stage_sizes=(1,))
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)
    apply = jax.jit(functools.partial(model.apply, mutable=["batch_stats"]), static_argnames="train")
    evaluated, unchanged = apply(variables, images, train=False)
    trained, updated = apply(variables, images, train=True)
    assert not np.allclose(evaluated, trained)
    jax.tree.map(np.testing.assert_array_equal, unchanged["batch_stats"], variables["batch_stats"])
    assert not np.allclose(updated["batch_stats"]["norm1"]["var"], variables["batch_stats"]["norm1"]["var"])


def test_zero_init_residual_starts_as_the_identity():
    model = jaxcnn.create_model("resnet20_cifar", zero_init_residual=True).clone(stage_sizes=(1,))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.ones((1, 8, 8, 3)))
    assert not variables["params"]["stage1_block0"]["norm2"]["scale"].any()
    assert variables["params"]["stage1_block0"]["norm1"]["scale"].all()


@pytest.mark.parametrize("first", [False, True])
def test_the_papers_bottleneck_has_its_stride_in_the_first_convolution(first):
    model = jaxcnn.create_model("resnet50", stride_in_first_conv=first)
    images = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    _, state = jax.eval_shape(
        lambda images: model.init_with_output(jax.random.key(0), images, capture_intermediates=True), images
    )
    block = state["intermediates"]["stage2_block0"]
    assert [block[f"conv{i}"]["__call__"][0].shape[1] for i in (1, 2, 3)] == [28 if first else 56, 28, 28]


@pytest.mark.parametrize(
    ("name", "count"),
    [("regnet_x_400mf", 5_157_512), ("regnet_y_800mf", 6_263_168), ("regnet_y_8gf", 39_180_068)],
)
def test_the_papers_regnets_that_differ_from_torchvisions(name, count):
    """The counts are timm's, which are the paper's."""
    assert sum(leaf.size for leaf in jax.tree.leaves(abstract(name, widths="paper")[0]["params"])) == count


@pytest.mark.slow
def test_regnet_has_finite_gradients_and_drops_paths():
    model = RegNet(3, 8, 4, 2, 8, squeeze_excite=True, num_classes=3, drop_path_rate=0.5)
    images = jax.random.normal(jax.random.key(1), (4, 32, 32, 3))
    variables = jax.jit(model.init)(jax.random.key(0), images)

    @jax.jit
    @jax.value_and_grad
    def loss(params, key):
        state = {**variables, "params": params}
        logits, _ = model.apply(state, images, train=True, rngs={"dropout": key}, mutable=["batch_stats"])
        return jnp.square(logits).mean()

    value, gradients = loss(variables["params"], jax.random.key(2))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert value != loss(variables["params"], jax.random.key(3))[0]


@pytest.mark.parametrize(
    ("name", "smaller"),
    [
        pytest.param("efficientnet_b0", {"width": 0.25, "depth": 0.5, "dropout_rate": 0.0}, marks=pytest.mark.slow),
        pytest.param("convnext_tiny", {"stage_sizes": (1, 1, 1, 1), "width": 8}, marks=pytest.mark.slow),
        ("resnet50", {"stage_sizes": (1, 1, 1), "width": 8}),
    ],
)
def test_gradients_are_finite_and_paths_are_dropped(name, smaller):
    # One operation a convolution: the others take longer to compile.
    model = jaxcnn.create_model(name, num_classes=3, drop_path_rate=0.2, lowering="xla").clone(**smaller)
    images = jax.random.normal(jax.random.key(1), (8, 32, 32, 3))
    # Made without the initializers, which take as long to compile as the network.
    shapes, random = jax.eval_shape(model.init, jax.random.key(0), images), np.random.default_rng(0)
    variables = jax.tree.map(lambda leaf: 0.2 * random.standard_normal(leaf.shape, np.float32), shapes)

    @jax.jit
    @jax.grad
    def gradient(params, key):
        state = {**variables, "params": params}
        logits, _ = model.apply(state, images, train=True, rngs={"dropout": key}, mutable=["batch_stats"])
        return jnp.square(logits).mean()

    first, second = (jax.tree.leaves(gradient(variables["params"], jax.random.key(seed))) for seed in (2, 3))
    assert all(jnp.isfinite(leaf).all() for leaf in first)
    assert any(not np.allclose(one, other, rtol=0.01, atol=0) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("pattern", "epsilon", "momentum", "padding"),
    [
        ("efficientnet_b[0-4]", 1e-5, 0.9, "symmetric"),
        ("efficientnet_b[5-7]", 1e-3, 0.99, "symmetric"),
        ("efficientnet_lite*", 1e-3, 0.99, "same"),
    ],
)
def test_efficientnets_normalize_and_pad_as_their_published_weights_need(pattern, epsilon, momentum, padding):
    for name in jaxcnn.list_models(pattern):
        assert get_variant(name).arguments["defaults"][1:] == (padding, epsilon, momentum)


@pytest.mark.parametrize(
    ("name", "size", "stages"),
    [("lenet", 20, (1, 2)), pytest.param("resnet20_cifar", 8, (1, 3), marks=pytest.mark.slow)],
)
def test_computing_again_changes_nothing(name, size, stages):
    images = jax.random.normal(jax.random.key(1), (2, size, size, 3))
    variables = jax.jit(jaxcnn.create_model(name).init)(jax.random.key(0), images)
    found = []
    for remat in ((), stages):
        model = jaxcnn.create_model(name, remat=remat, lowering="xla")
        again = jax.jit(model.init)(jax.random.key(0), images)
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), again, variables)

        def loss(params, model=model):
            outputs = model.apply({**variables, "params": params}, images, train=True, mutable=["batch_stats"])
            return jnp.square(outputs[0]).sum(), outputs[1]

        gradient = jax.jit(jax.grad(loss, has_aux=True))
        found.append(gradient(variables["params"]))
        assert ("remat" in str(jax.make_jaxpr(gradient)(variables["params"]))) == bool(remat)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5), *found)


@pytest.mark.parametrize(
    ("name", "size", "options", "sentence"),
    [
        ("lenet", 15, {}, "images of 15x15 pixels are too small for the strides of LeNet: give at least 16x16"),
        ("convnext_tiny", 31, {}, "too small for the strides of ConvNeXt: give at least 32x32"),
        ("alexnet", 62, {}, "images of 62x62 .* too small for the strides of AlexNet: give at least 63x63"),
        ("alexnet_2012", 66, {}, "images of 66x66 .* too small for the strides of AlexNet: give at least 67x67"),
        ("alexnet", 224, {"remat": (4,)}, "remat names stage 4, and AlexNet has stages 1 to 3"),
        ("vgg16", 31, {}, "images of 31x31 .* too small for the strides of VGG: give at least 32x32"),
        ("vgg16", 32, {"remat": (6,)}, "remat names stage 6, and VGG has stages 1 to 5"),
        ("resnet18", 32, {"remat": (5,)}, "remat names stage 5, and ResNet has stages 1 to 4"),
    ],
)
def test_what_a_network_cannot_compute_is_refused(name, size, options, sentence):
    model = jaxcnn.create_model(name, **options)
    with pytest.raises(UserError, match=sentence):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, size, size, 3)))


@pytest.mark.parametrize("name", by_depth(20, "resnet50", "convnext_tiny", "densenet121", "regnet_y_200mf"))
def test_the_smallest_size_is_enough(name):
    model = jaxcnn.create_model(name, lowering="xla")
    size = model.smallest_size
    if name != "lenet5":
        images = jnp.zeros((2, size, size, 3))
        logits, _ = jax.eval_shape(model.init_with_output, jax.random.key(0), images)
        assert logits.shape == (2, model.num_classes)


def test_lenet5_is_the_papers():
    assert sum(map(len, C3_INPUTS)) == 60
    assert [sum(i in inputs for inputs in C3_INPUTS) for i in range(6)] == [10] * 6
    params = abstract("lenet5")[0]["params"]
    counts = {
        "C1": params["c1"],
        "S2": [params["s2_coefficient"], params["s2_bias"]],
        "C3": [params["c3_kernel"], params["c3_bias"]],
        "S4": [params["s4_coefficient"], params["s4_bias"]],
        "C5": params["c5"],
        "F6": params["f6"],
    }
    found = {layer: sum(leaf.size for leaf in jax.tree.leaves(tree)) for layer, tree in counts.items()}
    assert found == {"C1": 156, "S2": 12, "C3": 1516, "S4": 32, "C5": 48120, "F6": 10164}
    assert DIGIT_PICTURES.shape == (10, 84)
    assert len({tuple(row) for row in DIGIT_PICTURES}) == 10
    assert set(np.unique(DIGIT_PICTURES)) == {-1, 1}


def test_lenet5_sees_only_its_connections():
    """A change in one map of S2 moves only the maps of C3 that table I connects to it."""
    model = jaxcnn.create_model("lenet5")
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    apply = jax.jit(model.apply)

    def c3_change(channel):
        bias = variables["params"]["s2_bias"]
        moved = {"params": {**variables["params"], "s2_bias": bias.at[channel].add(1.0)}}
        # All of C5's inputs but one map at a time are cut, and the logits tell whether it moved.
        changes = []
        for index in range(16):
            kernel = jnp.zeros_like(moved["params"]["c5"]["kernel"])
            kernel = kernel.at[:, :, index].set(moved["params"]["c5"]["kernel"][:, :, index])
            cut = {"c5": {**moved["params"]["c5"], "kernel": kernel}}
            before = apply({"params": {**variables["params"], **cut}}, jnp.ones((1, 32, 32, 1)))
            after = apply({"params": {**moved["params"], **cut}}, jnp.ones((1, 32, 32, 1)))
            changes.append(not np.array_equal(before, after))
        return changes

    for channel in (0, 4):
        assert c3_change(channel) == [channel in inputs for inputs in C3_INPUTS]


def test_lenet5_refuses_what_the_paper_has_not():
    with pytest.raises(UserError, match="32x32 pixels, not 28x28"):
        jaxcnn.create_model("lenet5").init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    with pytest.raises(UserError, match="not of 11 classes: use lenet"):
        jaxcnn.create_model("lenet5", num_classes=11).init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))


def test_names():
    # Other tests register networks of their own, where they run in the same process.
    families = {get_variant(name).family for name in PARAMETERS}
    assert [name for name in jaxcnn.list_models() if get_variant(name).family in families] == sorted(PARAMETERS)
    assert jaxcnn.list_models("resnet1*") == ["resnet101", "resnet110_cifar", "resnet152", "resnet18"]


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("resnet5", {}, "there is no model 'resnet5': did you mean 'resnet50'"),
        ("perceptron", {}, "there is no model 'perceptron': choose from '"),
        ("lenet", {"dropout": 0.5}, "lenet has no option 'dropout': did you mean 'dropout_rate'"),
        ("lenet", {"dropout_rate": "0.5"}, "option 'dropout_rate' of lenet cannot be '0.5'"),
        ("lenet", {"activation": "relo"}, "option 'activation' of lenet cannot be 'relo'"),
        ("lenet", {"dropout_rate": 1.5}, "option 'dropout_rate' of lenet cannot be 1.5: it must be less than 1"),
        ("lenet", {"num_classes": 0}, "'num_classes' of lenet cannot be 0: it must be greater than or equal to 1"),
        ("lenet", {"dtype": "int8"}, "'dtype' of lenet cannot be 'int8': it must be a type of floating-point"),
        ("lenet", {"dtype": "float33"}, "option 'dtype' of lenet cannot be 'float33'"),
        ("resnet50", {"stage_sizes": (1, 1, 1, 1)}, "resnet50 has no option 'stage_sizes'"),
        ("resnet18", {"stride_in_first_conv": True}, "resnet18 has no option 'stride_in_first_conv'"),
        ("regnet_x_4gf", {"widths": "torchvision"}, "regnet_x_4gf has no option 'widths'"),
        ("vgg16", {"batch_norm_axis": "data"}, "vgg16 has no option 'batch_norm_axis'"),
    ],
)
def test_wrong_names_and_options_are_refused(name, options, sentence):
    with pytest.raises(ModelError, match=sentence):
        jaxcnn.create_model(name, **options)


def _variant(name="a_network_of_the_model_tests", module=LeNet, arguments=types.MappingProxyType({})):
    return Variant(name, "tests", module, arguments)


@pytest.mark.parametrize(
    ("variant", "sentence"),
    [
        (get_variant("lenet"), "there is a model named 'lenet' already: register it under another name"),
        (_variant("another"), "there is a model named 'another' already"),
        (
            _variant(module=flax.linen.Dense),
            "Dense'>, which is no network: derive a class from jaxcnn.models.network.N",
        ),
        (
            _variant(module=len),
            "the module of model 'a_network_of_the_model_tests' is <built-in function len>, which is",
        ),
        (
            _variant(arguments={"dropout": 0.1}),
            "fixes 'dropout', which LeNet does not have: did you mean 'dropout_rate'",
        ),
        (
            _variant(module=RegNet),
            "does not fix 'depth', for which RegNet has no default: put it into the arguments of",
        ),
    ],
)
def test_what_cannot_be_a_network_is_not_registered_nor_is_what_comes_with_it(variant, sentence):
    with pytest.raises(ModelError, match=sentence):
        register(_variant("another"), variant)
    assert "another" not in jaxcnn.list_models()


def test_options_are_the_modules_fields():
    assert {"num_classes", "dtype", "lowering", "zero_init_residual"} <= options_of(get_variant("resnet50")).keys()


def numeric_options():
    """A variant of each family's module, with each of its options that is a number, or a tuple of numbers."""
    found = {}
    for name in counted():  # all of ours, and none that other tests register
        variant = get_variant(name)
        for option, hint in options_of(variant).items():
            if kind := next((kind for kind in ("float", "int") if re.search(rf"\b{kind}\b", str(hint))), None):
                found.setdefault((variant.module, option), (name, option, kind, str(hint).startswith("tuple")))
    return list(found.values())


def test_every_number_among_the_options_of_a_network_has_its_range():
    """No share of all, no momentum that never moves, no count of nothing, and nothing that is not finite."""
    assert {option for _, option, _, _ in numeric_options()} == {
        *("num_classes", "remat", "batch_norm_groups", "batch_norm_momentum", "batch_norm_epsilon"),
        *("dropout_rate", "auxiliary_dropout_rate", "drop_path_rate"),
    }
    wrong = {"int": (0, -1, True, 1.5), "float": (-0.1, 1.0, 1.5, np.inf, -np.inf, np.nan, "0.5")}
    for name, option, kind, is_tuple in numeric_options():
        for value in wrong[kind]:
            with pytest.raises(ModelError, match=f"option '{option}' of {name} cannot be "):
                jaxcnn.create_model(name, **{option: (value,) if is_tuple else value})
        right = 2 if kind == "int" else 0.25
        jaxcnn.create_model(name, **{option: (right,) if is_tuple else right})


class _Loose(LeNet):
    """A family that says nothing of the range of its number."""

    strength: float = 1.0


def test_a_number_whose_range_a_family_does_not_say_is_finite():
    register(Variant("loose_of_the_model_tests", "loose", _Loose, {}))
    assert jaxcnn.create_model("loose_of_the_model_tests", strength=-7.0).strength == -7
    with pytest.raises(ModelError, match=r"option 'strength' of loose\w+ cannot be nan: it must be a finite number"):
        jaxcnn.create_model("loose_of_the_model_tests", strength=np.nan)
