"""Writes timm's part of jaxcnn/weights/published.json, from an installed timm and its table of results.

    python tests/parity/make_timm_weights.py results-imagenet.csv

The table is ``results/results-imagenet.csv`` of timm's repository. Every set of weights is taken that timm publishes
for a network of ours with the thousand classes of ILSVRC. Size, crop, interpolation, means and deviations are what
timm's own ``resolve_data_config`` makes of the weights' configuration for evaluation. Where that configuration has an
address whose name ends in the beginning of the file's SHA-256, the file is fetched there and checked against it;
elsewhere it is fetched from the repository of these weights on Hugging Face, whose hash timm does not say.
"""

import csv
import json
import math
import re
import sys
from pathlib import Path

from tests.parity import torchvision_operators  # noqa: F401

from timm.data import resolve_data_config  # isort: skip
from timm.models import list_models  # isort: skip
from timm.models._registry import get_arch_pretrained_cfgs  # isort: skip

FILE = Path(__file__).resolve().parents[2] / "jaxcnn" / "weights" / "published.json"
HUB = "https://huggingface.co/timm/{}/resolve/main/model.safetensors"
GIGAFLOPS = {"002": "200mf", "004": "400mf", "006": "600mf", "008": "800mf", "016": "1_6gf", "032": "3_2gf"}
GIGAFLOPS |= {"040": "4gf", "064": "6_4gf", "080": "8gf", "120": "12gf", "160": "16gf", "320": "32gf"}
# The networks whose widths torchvision rounds otherwise than the paper: timm has both.
TWO_WIDTHS = ("regnetx_004", "regnety_008", "regnety_080")
# timm's networks of other names that make ours, those of the authors first: the first is the default of `timm`.
AUTHORS_PADDING = {"padding": "same", "batch_norm_epsilon": 1e-3}
OWN_PADDING = {"padding": "symmetric", "batch_norm_epsilon": 1e-5}


def networks() -> dict[str, tuple[str, dict]]:
    """timm's networks that are ours: the name of ours, and its options that differ from the defaults."""
    found = {}
    for number in range(8):
        name, fifth = f"efficientnet_b{number}", number >= 5
        found[f"tf_{name}"] = name, {"padding": "same"} if fifth else AUTHORS_PADDING
        found[name] = name, {"batch_norm_epsilon": 1e-5} if fifth else {}
    for number in range(5):
        found[f"tf_efficientnet_lite{number}"] = f"efficientnet_lite{number}", {}
        found[f"efficientnet_lite{number}"] = f"efficientnet_lite{number}", OWN_PADDING
    for kind in "xy":
        for number, flops in GIGAFLOPS.items():
            name = f"regnet{kind}_{number}"
            if name in TWO_WIDTHS:
                found[f"{name}_tv"] = f"regnet_{kind}_{flops}", {}
            found[name] = f"regnet_{kind}_{flops}", {"widths": "paper"} if name in TWO_WIDTHS else {}
    found["nasnetalarge"] = "nasnet_a_large", {"count_padding": True}
    same = ["inception_v3", "wide_resnet50_2", "wide_resnet101_2"]
    same += ["resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d"]
    same += [f"convnext_{size}" for size in ("tiny", "small", "base", "large", "xlarge")]
    same += [f"densenet{depth}" for depth in (121, 161, 169, 201)]
    same += [f"resnet{depth}" for depth in (18, 34, 50, 101, 152)]
    same += [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]
    found |= {name: (name, {}) for name in same}
    unknown = found.keys() - set(list_models())
    assert not unknown, unknown
    return found


def entry(architecture: str, tag: str, config: dict, options: dict, results: dict) -> dict:
    """One set of weights, as published.json has it."""
    data = resolve_data_config(pretrained_cfg=config, use_test_size=True)
    crop = data["input_size"][1]
    assert data["crop_mode"] in ("center", "squash")
    assert data["crop_mode"] == "center" or data["crop_pct"] == 1
    name, authors = f"{architecture}.{tag}", architecture.startswith("tf_")
    row = {"name": f"tf_{tag}" if authors else tag, "architecture": architecture}
    if row["name"] == "tf_in1k" and (authors or architecture == "nasnetalarge"):
        row["label"] = "the authors' weights"
    hashed = re.search(r"-([0-9a-f]{8})\.pth$", config.get("url") or "")
    row |= {"url": config["url"] if hashed else HUB.format(name), "sha256": hashed[1] if hashed else None}
    resize = math.floor(crop / data["crop_pct"]) if data["crop_mode"] == "center" else None
    row |= {"options": options, "crop": crop, "resize": resize, "interpolation": data["interpolation"]}
    row |= {"mean": list(data["mean"]), "std": list(data["std"])}
    top1, top5 = results.get((name, crop, round(data["crop_pct"], 3)), (None, None))
    return row | {"top1_accuracy": top1, "top5_accuracy": top5}


def main() -> None:
    with open(sys.argv[1]) as file:
        rows = list(csv.DictReader(file))
    results = {
        (row["model"], int(row["img_size"]), float(row["crop_pct"])): (float(row["top1"]), float(row["top5"]))
        for row in rows
    }
    models: dict[str, list[dict]] = {}
    for architecture, (model, options) in networks().items():
        configs = get_arch_pretrained_cfgs(architecture).items()
        for full, config in ((full, config.to_dict()) for full, config in configs):
            if config["num_classes"] == 1000 and (config.get("url") or config.get("hf_hub_id")):
                row = entry(architecture, full.partition(".")[2], config, options, results)
                models.setdefault(model, []).append(row)
    stored = json.loads(FILE.read_text())
    stored["timm"] = dict(sorted(models.items()))
    sections = []
    for key, value in stored.items():
        if key.startswith("_"):
            sections.append(f"{json.dumps(key)}: {json.dumps(value)}")
            continue
        lists = []
        for model, entries in value.items():
            lines = ",\n".join(f"    {json.dumps(each)}" for each in entries)
            lists.append(f"  {json.dumps(model)}: [\n{lines}\n  ]")
        sections.append(f"{json.dumps(key)}: {{\n" + ",\n".join(lists) + "\n}")
    FILE.write_text("{\n" + ",\n".join(sections) + "\n}\n")
    print(sum(map(len, models.values())), "sets of weights,", len(models), "networks")
    for each in (each for entries in models.values() for each in entries if each["top1_accuracy"] is None):
        print("without accuracy:", each["architecture"], each["name"])


if __name__ == "__main__":
    main()
