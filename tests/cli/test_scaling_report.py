"""The command `jaxcnn scaling-report`: what it prints and keeps, and what it refuses."""

import json
from pathlib import Path

import pytest

from jaxcnn.cli import scaling_report
from jaxcnn.cli.main import main
from jaxcnn.devices.machines import machine
from jaxcnn.laboratory import scaling_report as report
from jaxcnn.laboratory.scaling import Exchange, Step

TINY = str(Path(__file__).parents[1] / "recipes" / "tiny.py")


@pytest.fixture
def pretended(monkeypatch, one_device):
    """Takes a device of this machine for two H100 that take 1 ms for an image."""

    def compile_for(config, data, topology, known, batch):
        return Step(batch, (1e-3 * batch,), (Exchange("all-reduce", 1_000_000, None, blocking=False),), 10**9)

    class Two:
        class mesh:
            size = 2
            devices = one_device.mesh.devices

    monkeypatch.setattr(report, "compile_for", compile_for)
    monkeypatch.setattr(scaling_report, "over_topology", lambda name: Two if name == "h100:2" else one_device)
    monkeypatch.setattr(scaling_report, "machine_of", lambda device: machine("h100"))


def test_it_prints_draws_and_keeps_what_it_predicts(pretended, monkeypatch, capsys, tmp_path):
    drawn = []
    monkeypatch.setattr(scaling_report, "plot_scaling", lambda lines, runs, title, path: drawn.append((lines, path)))
    monkeypatch.setattr(scaling_report, "import_pyplot", lambda: None)
    (tmp_path / "input.txt").write_text("tf_data 9 images/s\njaxcnn               1,000 images/s    1.00  (ours)\n")
    out, plot = tmp_path / "out.json", tmp_path / "plot.png"
    options = ["--chips", "1", "2", "16", "--batch-norm-scopes", "local", "2", "--optimizer-states", "sharded"]
    paths = ["--out", str(out), "--plot", str(plot), "--input-file", str(tmp_path / "input.txt"), "--watts", "700"]
    assert main(["scaling-report", TINY, "--topology", "h100:2", *options, *paths]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("tiny: tiny in float32 on chips of NVIDIA H100 SXM5 80GB: predictions from published")
    assert "weak scaling, 32 images on each chip, batch norm local, optimizer state spread (ZeRO-1):" in printed
    assert "strong scaling, 64 images in all, batch norm groups of 2, optimizer state spread (ZeRO-1):" in printed
    # One chip takes a millisecond for an image, and its host would read as many as the input delivers.
    rows = [line.split() for line in printed.splitlines()]
    assert ["1", "1,000", "100%", "32.00", "0.00", "0.00", "0.000798", "0.0005588", "1,000", "1.00"] in rows
    ((lines, path),) = drawn
    assert ([each.mode for each in lines], path) == (["weak", "strong"] * 2, plot)
    kept = json.loads(out.read_text())
    assert (kept["machine"], kept["topology"], len(kept["predicted"])) == ("h100", "h100:2", 4)
    assert len(kept["compiled"]) == 4


def test_by_default_it_goes_as_far_as_figures_of_the_machine_reach(pretended, capsys, tmp_path):
    for name, most in (("v3", 1024), ("h100", 4096)):
        out = tmp_path / f"{name}.json"
        assert main(["scaling-report", TINY, "--topology", "h100:2", "--machine", name, "--out", str(out)]) == 0
        weak, _ = json.loads(out.read_text())["predicted"]
        assert [each["chips"] for each in weak["points"]] == [1 << power for power in range(most.bit_length())]
    capsys.readouterr()
    assert main(["scaling-report", TINY, "--topology", "h100:2", "--machine", "v3", "--chips", "2048"]) == 2
    assert "no bandwidth of the hosts' network is known of v3" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "scaling-report has nothing to do: give --topology, as in h100:8, --simulated or --measured"),
        (("--simulated", "2", "--plot", "plot.png"), "--plot draws what is predicted for many chips: give --topology"),
        (("--topology", "h100:1"), "--topology h100:1 is a single chip, which exchanges nothing: name one of two"),
        (("--topology", "h100:2", "--machine", "t4"), "no bandwidth between chips is known of t4"),
        (("--topology", "h100:2", "--batch-norm-scopes", "0"), "--batch-norm-scopes 0 is no scope: give global, local"),
        (("--topology", "h100:2", "--input-file", TINY), "tiny.py has no line such as `jaxcnn 1,234 images/s`"),
        (("--simulated", "3"), "--simulated 3 does not divide data.batch_size 64: give numbers that do"),
    ],
)
def test_what_it_refuses(arguments, sentence, pretended, capsys):
    assert main(["scaling-report", TINY, *arguments]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert sentence in said


@pytest.mark.parametrize("arguments", [("--chips", "0"), ("--optimizer-states", "halved")])
def test_options_out_of_their_range_are_refused(arguments, pretended, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["scaling-report", TINY, "--topology", "h100:2", *arguments])
    assert ended.value.code == 2
    assert arguments[0].partition("=")[0].removeprefix("--") in capsys.readouterr().err.replace("_", "-")


@pytest.mark.slow
def test_a_small_network_on_tpus_that_are_not_there(capsys, tmp_path):
    pytest.importorskip("libtpu")
    out = tmp_path / "out.json"
    arguments = ["scaling-report", TINY, "--topology", "v5e:2x2", "--chips", "1", "256", "4096", "--out", str(out)]
    assert main(arguments) == 0
    first = capsys.readouterr().out
    assert "on chips of Google TPU v5e chip (1 core)" in first
    kept = json.loads(out.read_text())
    (weak,) = kept["predicted"]  # 64 images cannot be spread over 256 chips
    alone, pod, pods = weak["points"]
    assert alone["exchange_seconds"] == 0 < pod["exchange_seconds"] < pods["exchange_seconds"]
    assert alone["compute_seconds"] == pod["compute_seconds"] > 0
    assert main(arguments) == 0
    assert capsys.readouterr().out == first


@pytest.mark.slow
def test_a_small_network_on_simulated_devices(capsys, tmp_path):
    out = tmp_path / "out.json"
    assert main(["scaling-report", TINY, "--simulated", "1", "2", "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("simulated devices, which share this machine's cores") == 2
    kept = json.loads(out.read_text())
    for mode, batches in (("weak", [32, 32]), ("strong", [64, 32])):
        one, two = kept[f"simulated_{mode}"]
        assert [one["batch"], two["batch"]] == batches
        assert one["error"] == 0 == one["exchanged_bytes"]
        assert two["exchanged_bytes"] > 4000
        assert two["seconds"] > 0
        assert two["predicted_seconds"] > two["exchange_seconds"] > 0


@pytest.mark.slow
def test_a_small_network_on_the_devices_that_there_are(capsys):
    assert main(["scaling-report", TINY, "--measured"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("the step is measured; the prediction is from published ceilings") == 2
    rows = [line.split() for line in printed.splitlines() if line.endswith("no figures of this device")]
    # Eight images on each of 1, 2, 4 and 8 simulated devices, and then 64 on all together.
    assert [row[:2] for row in rows[:4]] == [["1", "8"], ["2", "8"], ["4", "8"], ["8", "8"]]
    assert [row[:2] for row in rows[4:]] == [["1", "64"], ["2", "32"], ["4", "16"], ["8", "8"]]
