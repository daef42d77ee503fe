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


def voc_object(name, box, difficult=0, more=""):
    """VOC's XML of an object; the box is xmin, ymin, xmax, ymax, from 1 and inclusive."""
    bounds = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{bounds}</bndbox>{more}</object>"


def voc_annotation(width=30, height=20, objects=()):
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>{size}{''.join(objects)}</annotation>"


def voc_folder(folder: Path, annotations, split="train", classes=CLASSES, suffix=".jpg") -> str:
    """Writes a data set of images of 30 by 20 pixels, and returns its name.

    Args:
        folder: where.
        annotations: the XML of each image by its name.
        split: the name of the split.
        classes: the classes that have lists of their own.
        suffix: that of the images.
    """
    lists = folder / "ImageSets" / "Main"
    for each in (lists, folder / "Annotations"):
        each.mkdir(parents=True, exist_ok=True)
    for name, content in annotations.items():
        save_image(folder / "JPEGImages" / f"{name}{suffix}", 30, 20)
        (folder / "Annotations" / f"{name}.xml").write_text(content)
    (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in annotations))
    for each in classes:
        (lists / f"{each}_{split}.txt").write_text("".join(f"{name} -1\n" for name in annotations))
    return f"voc:{folder}"
