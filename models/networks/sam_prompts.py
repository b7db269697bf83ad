"""Groups the prompts of Segment Anything by their shape, so that those of several images are decoded together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from models.errors import ItemError
from models.types import BoxPrompt, PointPrompt, Prompts


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompted:
    """Prompts of one shape, decoded together, in pixels of the network's square.

    Either ``boxes_xyxy`` (n, 4), or ``points_xy`` (n, k, 2) with ``is_foreground`` (n, k); float32. ``places`` says
    which of the item's prompts they are, counting boxes first.
    """

    places: tuple[int, ...]
    boxes_xyxy: torch.Tensor | None = None
    points_xy: torch.Tensor | None = None
    is_foreground: torch.Tensor | None = None

    @property
    def points_each(self) -> int:
        """0 for boxes."""
        return 0 if self.points_xy is None else self.points_xy.shape[1]

    def between(self, first: int, last: int) -> Prompted:
        """Some of the prompts."""
        tensors = (self.boxes_xyxy, self.points_xy, self.is_foreground)
        boxes, points, flags = (None if tensor is None else tensor[first:last] for tensor in tensors)
        return Prompted(places=self.places[first:last], boxes_xyxy=boxes, points_xy=points, is_foreground=flags)


def grouped(prompts: Prompts, *, size_hw: tuple[int, int], content_hw: tuple[int, int]) -> Iterator[Prompted]:
    """The prompts of one image in pixels of the square: all boxes together, and points with others of their number.

    Args:
        prompts: in pixels of the original image.
        size_hw: of the original image.
        content_hw: of the image in the square.

    Raises:
        ItemError: invalid_prompt.
    """
    size = (size_hw[1], size_hw[0])
    factor = np.array([content_hw[1] / size[0], content_hw[0] / size[1]])
    boxes, points = prompts.boxes, prompts.points
    if boxes:
        corners = np.array([_valid_box(prompt, size=size) for prompt in boxes])
        tensor = torch.from_numpy(corners * np.tile(factor, 2)).float()
        yield Prompted(places=tuple(range(len(boxes))), boxes_xyxy=tensor)
    places_of_number = defaultdict[int, list[int]](list)
    for place, prompt in enumerate(points):
        places_of_number[len(_valid_points(prompt, size=size))].append(place)
    for places in places_of_number.values():
        coordinates = np.array([points[place].points_xy for place in places]) * factor
        yield Prompted(
            places=tuple(len(boxes) + place for place in places),
            points_xy=torch.from_numpy(coordinates).float(),
            is_foreground=torch.tensor([points[place].is_foreground for place in places], dtype=torch.float32),
        )


def of_one_shape(batch: Sequence[Sequence[Prompted]]) -> Iterator[tuple[list[tuple[int, int]], Prompted]]:
    """The prompts of all images by shape, and for each its image and its place among that image's prompts."""
    groups = defaultdict[int, list[tuple[int, Prompted]]](list)
    for image, own in enumerate(batch):
        for prompted in own:
            groups[prompted.points_each].append((image, prompted))
    for group in groups.values():
        owners = [(image, place) for image, prompted in group for place in prompted.places]
        yield owners, _joined([prompted for _, prompted in group])


def _joined(group: Sequence[Prompted]) -> Prompted:
    """Prompts of one shape in one; their places are those in images of their own."""

    def together(tensors: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
        present = [tensor for tensor in tensors if tensor is not None]
        return torch.cat(present) if present else None

    return Prompted(
        places=tuple(place for prompted in group for place in prompted.places),
        boxes_xyxy=together([prompted.boxes_xyxy for prompted in group]),
        points_xy=together([prompted.points_xy for prompted in group]),
        is_foreground=together([prompted.is_foreground for prompted in group]),
    )


def _valid_box(prompt: BoxPrompt, *, size: tuple[int, int]) -> np.ndarray:
    """The prompt's box, cut off at the edges of an image of (width, height)."""
    corners = np.array(prompt.xyxy, dtype=np.float64)
    if corners.shape != (4,) or not np.isfinite(corners).all() or (corners[2:] <= corners[:2]).any():
        raise ItemError(
            "invalid_prompt", f"a box prompt must be x1 < x2, y1 < y2 in finite numbers; got {tuple(prompt.xyxy)}"
        )
    clipped = np.clip(corners, 0.0, np.tile(size, 2))
    if (clipped[2:] <= clipped[:2]).any():
        raise ItemError(
            "invalid_prompt", f"the box prompt {tuple(prompt.xyxy)} lies outside the image of {size} pixels"
        )
    return clipped


def _valid_points(prompt: PointPrompt, *, size: tuple[int, int]) -> np.ndarray:
    """The prompt's (k, 2) points on an image of (width, height)."""
    points = np.array(prompt.points_xy, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) != len(prompt.is_foreground):
        raise ItemError(
            "invalid_prompt",
            f"a point prompt needs (x, y) points and as many is_foreground; got {len(prompt.points_xy)} points and "
            f"{len(prompt.is_foreground)} flags",
        )
    if not (np.isfinite(points).all() and (points >= 0.0).all() and (points <= size).all()):
        raise ItemError("invalid_prompt", f"point prompt {prompt.points_xy} lies outside the image of {size} pixels")
    return points
