"""Reads YOLO and Pascal VOC datasets with supervision."""

from pathlib import Path

from PIL import Image
from supervision import DetectionDataset


def read(kind, images, labels, sizes, names=None):
    """The objects of every image by its path: class, box and, if there is one, mask as rows of 0 and 1.

    An image of every path in ``sizes`` (height, width) is put below ``images`` first. supervision reads one folder.
    """
    for path, (height, width) in sizes.items():
        file = Path(images, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (width, height)).save(file, "PNG")
    found = {}
    for folder in sorted({Path(path).parent for path in sizes}):
        folders = str(Path(images, folder)), str(Path(labels, folder))
        dataset = (
            DetectionDataset.from_yolo(*folders, names)
            if kind == "yolo"
            else DetectionDataset.from_pascal_voc(*folders)
        )
        for path, detections in dataset.annotations.items():
            found[str(Path(path).relative_to(images))] = list(_objects(detections, dataset.classes))
    return found


def _objects(detections, classes):
    for xyxy, mask, _, class_id, _, _ in detections:
        rows = None if mask is None else mask.astype(int).tolist()
        yield {"label": classes[class_id], "xyxy": xyxy.tolist(), "mask": rows}
