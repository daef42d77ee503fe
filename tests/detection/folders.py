"""Small data sets for detection."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("cat", "dog")


def save_image(path: Path, width: int, height: int, value: int = 7) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(path)


def coco_content(images=((4, 30, 20), (9, 10, 40)), annotations=(), classes=CLASSES):
    """COCO's JSON of images (id, width, height) named ID.png and annotations (image, category, bbox[, iscrowd])."""
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": w, "height": h} for i, w, h in images],
        "categories": [{"id": 10 * (number + 1), "name": name} for number, name in enumerate(classes)],
        "annotations": [
            {"id": number, "image_id": i, "category_id": c, "bbox": list(box), "iscrowd": (rest or (0,))[0]}
            for number, (i, c, box, *rest) in enumerate(annotations, 1)
        ],
    }


def coco_folder(folder: Path, content=None, split="train", images="images") -> str:
    """Writes a data set, and returns its name."""
    content = coco_content() if content is None else content
    for image in content["images"]:
        save_image(folder / images / image["file_name"], image["width"], image["height"])
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / "annotations" / f"{split}.json").write_text(json.dumps(content))
    return f"coco:{folder}"
