"""The published runs, which are of networks and machines that are known here, and each with its source."""

from collections import Counter

import jaxcnn
from jaxcnn.devices.machines import machines
from jaxcnn.laboratory.published import published_runs, runs_of


def test_every_run_has_a_source_and_what_a_prediction_needs():
    for run in published_runs():
        assert run.network in jaxcnn.list_models()
        assert run.machine in machines()
        assert run.source
        assert run.how
        # No chip of these trains faster, by the operations of the smallest of these networks.
        assert 0 < run.images_per_second / run.chips < 20_000
        assert run.chips > 0
        assert run.batch_per_chip > 0
    assert len(set(published_runs())) == len(published_runs())


def test_the_runs_that_predictions_are_compared_with_are_there():
    found = Counter((run.machine, run.series) for run in runs_of("resnet50", "h100", "bfloat16"))
    assert found == {("h100", "MLPerf, NVIDIA"): 12}
    google = {run.chips for run in runs_of("resnet50", "v3", "bfloat16") if run.series == "MLPerf, Google"}
    assert google >= {16, 64, 128, 256, 512, 1024, 4096}
    assert any(
        run.chips == 1024 and run.images_per_second == 1_050_000 for run in runs_of("resnet50", "v3", "bfloat16")
    )
    assert {run.images_per_second for run in runs_of("resnet50", "a100", "float16")} >= {16621, 26673.72}


def test_types_of_16_bits_are_alike_and_float32_is_not_tf32():
    assert runs_of("resnet50", "a100", "bfloat16") == runs_of("resnet50", "a100", "float16")
    assert not runs_of("resnet50", "a100", "float32")
    assert {run.precision for run in runs_of("resnet50", "v100", "float32")} == {"float32"}
    chips = [run.chips for run in runs_of("resnet50", "v4", "bfloat16")]
    assert chips == sorted(chips)
