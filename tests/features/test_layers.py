"""The layers of networks of all families, and of networks whose blocks are lifted."""

import jax
import jax.numpy as jnp
import pytest

from jaxcnn.config import Normalization
from jaxcnn.devices.parallel import DataParallel
from jaxcnn.features.extraction import of_batches
from jaxcnn.features.layers import choose, extractor, layers_of
from jaxcnn.features.streaming import over_devices
from jaxcnn.models.registry import create_model, get_variant


def described(name, **options):
    """Returns a network's layers, and the shapes that the extraction of all of them has on eight devices."""
    variant = get_variant(name)
    model = create_model(name, **options)
    shape = (variant.input_size, variant.input_size, variant.channels)
    images = jax.ShapeDtypeStruct((8, *shape), jnp.uint8)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, *shape)), train=False))
    layers = layers_of(model, variables, shape)
    function = extractor(model, Normalization(mean=(0.5,), std=(0.5,)), [layer.name for layer in layers], "average")
    batch = {"image": images, "label": jax.ShapeDtypeStruct((8,), jnp.int32), "mask": jax.ShapeDtypeStruct((8,), bool)}
    return layers, jax.eval_shape(over_devices(of_batches(function), DataParallel.over_all_devices()), variables, batch)


@pytest.mark.parametrize(
    ("name", "options", "last"),
    [
        ("lenet", {}, (84,)),
        ("resnet20_cifar", {"remat": (1, 2)}, (64,)),
        *(
            pytest.param(name, {}, last, marks=pytest.mark.slow)
            for name, last in {
                "lenet5": None,
                "alexnet": (1, 1, 4096),
                "vgg11_bn": (1, 1, 4096),
                "googlenet": (1024,),
                "bn_inception": (1024,),
                "inception_v3": (2048,),
                "resnet50": (2048,),
                "densenet121": (1024,),
                "nasnet_a_mobile": (1056,),
                "efficientnet_lite0": (1280,),
                "regnet_y_400mf": (440,),
                "convnext_tiny": (768,),
            }.items()
        ),
    ],
)
def test_every_family_has_layers_that_several_devices_compute(name, options, last):
    layers, found = described(name, **options)
    names = [layer.name for layer in layers]
    assert names[-1] == "logits"
    assert len(set(names)) == len(names)
    for layer in layers:
        assert found[layer.name].shape == (8, *layer.pooled("average"))
        assert found[layer.name].dtype == jnp.float32
    if last is not None:
        assert choose(layers, None)[0].shape == last
