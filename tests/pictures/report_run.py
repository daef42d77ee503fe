"""A run folder as a report reads it, made without training."""

import dataclasses

import numpy as np

from jaxcnn import strict_json
from jaxcnn.config import to_json
from jaxcnn.evaluation.details import save_details
from jaxcnn.evaluation.predictions import Predictions
from jaxcnn.pictures.report.seen import DETAILS_FOLDER
from jaxcnn.recipes import load_config

HOSTILE = (
    "</script><script>document.title='broken'</script>",
    "<img src=x onerror=alert(1)>",
    'a "b" & c\u2028d\u202e',
)


def names_of(count):
    return (*HOSTILE, *(f"class {each}" for each in range(3, count)))


def write_run(folder, classes=10, steps=40, **changes):
    """Writes a run of 40 steps of 100 images, evaluated after every 10, with what it answered to 20 images a class."""
    folder.mkdir(parents=True)
    config = load_config("lenet_digits")
    model = dataclasses.replace(config.model, num_classes=classes)
    data = dataclasses.replace(config.data, name="folder:/nowhere", batch_size=100)
    options = {"model": model, "data": data, "epochs": 4.0} | changes
    (folder / "config.json").write_text(to_json(dataclasses.replace(config, **options)))
    names = names_of(classes)
    lines = [
        {"kind": "start", "step": 0, "class_names": names, "training_images": 1000, "parameters": 7, "processes": 1}
        | {"devices": ["cpu"], "versions": {"jax": "9.8.7"}, "python": "3.1", "time": "2026-01-02T03:04:05+00:00"}
    ]
    for step in range(5, steps + 1, 5):
        rates = {"learning_rate": 0.1 / step, "images_per_second": 250.0, "data_wait_share": 0.25}
        loss = float("nan") if step == 15 else 2.0 / step
        lines.append({"kind": "train", "step": step, "epoch": step / 10, "loss": loss, "top1_error": 100.0 / step})
        lines[-1] |= {**rates, "images": 500, "bad_steps": int(step == 15)}
        if step % 10 == 0:
            errors = {"loss": 3.0 / step, "top1_error": 200.0 / step, "top5_error": 10.0 / step, "images": 2000}
            lines.append({"kind": "evaluation", "step": step, "epoch": step / 10, **errors})
    (folder / "metrics.jsonl").write_text("".join(strict_json.dumps(line) + "\n" for line in lines))
    labels = np.repeat(np.arange(classes, dtype=np.int32), 20)
    scores = np.random.RandomState(0).randn(len(labels), classes).astype(np.float32)
    scores[np.arange(len(labels)), labels] += 3
    predictions = Predictions(scores, labels, np.ones(len(labels), bool))
    save_details(
        folder / DETAILS_FOLDER,
        predictions,
        names,
        (1, 5),
        {"step": None, "weights_of": "ema" if "ema" in changes else "raw"},
    )
    return folder
