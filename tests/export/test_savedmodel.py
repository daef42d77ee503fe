"""SavedModels, in TensorFlow."""

import json

import jax
import numpy as np
import pytest

from jaxcnn.errors import UserError
from jaxcnn.export.compared import made_images
from jaxcnn.export.programs import program_of
from jaxcnn.export.savedmodel import export_savedmodel
from tests.export.tiny import Tiny, trained


def test_without_tensorflow_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"a SavedModel needs TensorFlow: install jaxcnn\[tf\]"):
        export_savedmodel(trained(Tiny(3), 9, 3), tmp_path / "small", pixels=True, platforms=("cpu",))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("pixels", [True, False])
def test_tensorflow_gives_what_the_network_gives(tmp_path, pixels):
    tf = pytest.importorskip("tensorflow", reason="jaxcnn[tf] is not installed")
    network = trained(Tiny(3), 9, 3)
    said = export_savedmodel(network, tmp_path / "small", pixels=pixels, platforms=("cpu", "cuda", "tpu"))
    assert said.startswith("a SavedModel for cpu, cuda, tpu and images of 9x9 pixels, which differs from the network")
    signature = tf.saved_model.load(str(tmp_path / "small")).signatures["serving_default"]
    takes, gives = ("pixels", "probabilities") if pixels else ("images", "logits")
    images = made_images((5, 9, 9, 3), network, pixels)
    found = signature(**{takes: tf.constant(images)})[gives].numpy()
    np.testing.assert_allclose(found, jax.jit(program_of(network, pixels))(images), rtol=1e-5, atol=1e-5)
    facts = json.loads((tmp_path / "small" / "assets.extra" / "about.json").read_text())
    assert facts["class_names"] == ["class 0", "class 1", "class 2"]
