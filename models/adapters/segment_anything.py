"""Runs Segment Anything: masks for boxes, for points, or for everything in an image."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import NonNegativeFloat, PositiveInt, TypeAdapter, ValidationError
from segment_anything.modeling import Sam
from segment_anything.utils.amg import batched_mask_to_box, build_point_grid, calculate_stability_score
from torch.nn import functional
from torchvision.ops import nms

from models import signals
from models.card import ModelCard, options_of, torch_device
from models.errors import ItemError, ModelError
from models.geometry import encode_mask
from models.networks.sam import VARIANTS, SamSizes, build_network
from models.precision import compute_in, half_dtype, tensor_cores
from models.state_dict import fill, read_state_dict
from models.types import Annotation, BoxPrompt, ImagePayload, Payload, PointPrompt, Prediction

_POINTS_PER_PASS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which network it is, and how everything in an image is found.

    Names and values are those of segment_anything/automatic_mask_generator.py.
    """

    variant: str | None = None
    points_per_side: PositiveInt = 32
    pred_iou_thresh: NonNegativeFloat = 0.88
    stability_score_thresh: NonNegativeFloat = 0.95
    box_nms_thresh: NonNegativeFloat = 0.7


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareImage:
    """A normalised image in the network's square, (3, S, S) float32, and what is asked about it.

    No prompts stand for everything in the image.
    """

    pixels: torch.Tensor
    content_hw: tuple[int, int]
    prompts: tuple[Prompted, ...]

    @property
    def cost(self) -> float:
        """Megapixels of model input."""
        return self.pixels[0].numel() / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """The masks of one image: (n, s, s) float32 logits of the padded square and (n,) predicted IoUs."""

    logits: np.ndarray
    predicted_ious: np.ndarray
    content_hw: tuple[int, int]


class SegmentAnything:
    """A SAM network.

    Labels of prompts named only by words are not understood by SAM; they change nothing. Masks are judged (stability,
    soft IoU) at the decoder's resolution, before they are brought to the image's size.
    """

    def __init__(self, card: ModelCard, network: Sam) -> None:
        self._card, self._device = card, torch_device(card)
        self._network = network.to(self._device).eval()
        self._side = network.image_encoder.img_size
        self._mean, self._std = (network.get_buffer(name).cpu() for name in ("pixel_mean", "pixel_std"))
        self._options = options_of(card, Options)
        # The decoder is cheap and judges its own masks: it stays in fp32.
        compute_in(half_dtype(card, device=self._device), network.image_encoder, device=self._device)

    def prepare(self, payloads: Sequence[Payload]) -> list[SquareImage]:
        return [self._sample(_image(payload)) for payload in payloads]

    def _sample(self, payload: ImagePayload) -> SquareImage:
        height, width = payload.image_rgb.shape[:2]
        scale = self._side / max(height, width)
        content_hw = (max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1))
        factor = np.array([content_hw[1] / width, content_hw[0] / height])
        return SquareImage(
            pixels=self._square(payload.image_rgb, size_hw=content_hw),
            content_hw=content_hw,
            prompts=tuple(_grouped(payload, factor=factor)),
        )

    def _square(self, image_rgb: np.ndarray, *, size_hw: tuple[int, int]) -> torch.Tensor:
        """Resized to fit, normalised, padded with zeros at the right and the bottom, as SAM was trained."""
        height, width = size_hw
        resized = np.array(Image.fromarray(image_rgb).resize((width, height), Image.Resampling.BILINEAR))
        pixels = torch.from_numpy(resized).permute(2, 0, 1)  # (3, h, w)
        return functional.pad((pixels - self._mean) / self._std, (0, self._side - width, 0, self._side - height))

    @torch.inference_mode()
    def forward(self, batch: Sequence[SquareImage]) -> list[Masks]:
        """One encoder pass over the batch; then one decoder pass for each image and shape of prompt."""
        if not batch:
            return []
        squares = torch.stack([sample.pixels for sample in batch]).to(self._device)  # (B, 3, S, S)
        with tensor_cores(self._card):
            embeddings = self._network.image_encoder(squares)  # (B, C, S/p, S/p)
            return [
                self._prompted(embedding[None], sample) if sample.prompts else self._everything(embedding[None], sample)
                for embedding, sample in zip(embeddings, batch, strict=True)
            ]

    def _prompted(self, embedding: torch.Tensor, sample: SquareImage) -> Masks:
        logits, ious, places = list[torch.Tensor](), list[torch.Tensor](), list[int]()
        for prompted in sample.prompts:
            own_logits, own_ious = self._decode(embedding, prompted)
            best = own_ious.argmax(dim=1)  # of three where one point is ambiguous, else of one
            rows = torch.arange(len(best), device=best.device)
            logits.append(own_logits[rows, best])
            ious.append(own_ious[rows, best])
            places += prompted.places
        order = torch.tensor(places).argsort()
        return Masks(
            logits=torch.cat(logits).cpu()[order].numpy(),
            predicted_ious=torch.cat(ious).cpu()[order].numpy(),
            content_hw=sample.content_hw,
        )

    def _decode(self, embedding: torch.Tensor, prompted: Prompted) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, m, s, s) and predicted IoUs (n, m); m is 3 for single points, else 1."""
        boxes, points = prompted.boxes_xyxy, None
        if prompted.points_xy is not None and prompted.is_foreground is not None:
            points = (prompted.points_xy.to(self._device), prompted.is_foreground.to(self._device))
        sparse, dense = self._network.prompt_encoder(
            points=points, boxes=None if boxes is None else boxes.to(self._device), masks=None
        )
        return self._network.mask_decoder(
            image_embeddings=embedding,
            image_pe=self._network.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=points is not None and points[0].shape[1] == 1,
        )

    def _everything(self, embedding: torch.Tensor, sample: SquareImage) -> Masks:
        """Masks that a grid of points finds, filtered and without duplicates; Kirillov et al. 2023, appendix B."""
        grid = build_point_grid(self._options.points_per_side) * sample.content_hw[::-1]
        points = torch.from_numpy(grid).float()[:, None]  # (n, 1, 2)
        kept = [self._kept(embedding, chunk, sample) for chunk in points.split(_POINTS_PER_PASS)]
        logits, ious = (torch.cat(tensors) for tensors in zip(*kept, strict=True))
        bitmaps = self._content(logits, sample.content_hw) > 0.0
        best = nms(batched_mask_to_box(bitmaps).float(), ious, self._options.box_nms_thresh)  # best first
        best = best[_distinct(bitmaps[best], max_iou=self._options.box_nms_thresh)]
        return Masks(
            logits=logits[best].cpu().numpy(), predicted_ious=ious[best].cpu().numpy(), content_hw=sample.content_hw
        )

    def _kept(
        self, embedding: torch.Tensor, points_xy: torch.Tensor, sample: SquareImage
    ) -> tuple[torch.Tensor, torch.Tensor]:
        prompted = Prompted(places=(), points_xy=points_xy, is_foreground=torch.ones(points_xy.shape[:2]))
        logits, ious = (tensor.flatten(0, 1) for tensor in self._decode(embedding, prompted))
        is_good = ious > self._options.pred_iou_thresh
        logits, ious = logits[is_good], ious[is_good]
        content = self._content(logits, sample.content_hw)
        is_stable = calculate_stability_score(content, 0.0, 1.0) >= self._options.stability_score_thresh
        is_stable &= (content > 0.0).flatten(1).any(dim=1)
        return logits[is_stable], ious[is_stable]

    def _content(self, logits: torch.Tensor, content_hw: tuple[int, int]) -> torch.Tensor:
        """The part of (…, s, s) logits that lies on the image, not on its padding."""
        rows, columns = (max(round(side * logits.shape[-1] / self._side), 1) for side in content_hw)
        return logits[..., :rows, :columns]

    def read(self, raw: Sequence[Masks], payloads: Sequence[Payload]) -> list[Prediction]:
        return [self._prediction(masks, _image(payload)) for masks, payload in zip(raw, payloads, strict=True)]

    def _prediction(self, masks: Masks, payload: ImagePayload) -> Prediction:
        if not (np.isfinite(masks.logits).all() and np.isfinite(masks.predicted_ious).all()):
            raise ItemError("model_failed", "the segmenter gave numbers that are not finite for this image")
        scores = masks.predicted_ious.clip(0.0, 1.0)
        content = self._content(torch.from_numpy(masks.logits), masks.content_hw).numpy()
        stabilities, soft_ious = signals.stability(content), signals.soft_iou(content)
        asked: Sequence[BoxPrompt | PointPrompt] = [*payload.prompts.boxes, *payload.prompts.points]
        annotations, unanswered = list[Annotation](), 0
        for index, prompt in enumerate(asked or [BoxPrompt(xyxy=(0.0, 0.0, 0.0, 0.0))] * len(scores)):
            label = self._card.label_for(prompt.label)
            if label is None:
                continue
            bitmap = self._bitmap(masks.logits[index], masks.content_hw, size_hw=payload.image_rgb.shape[:2])
            judged = (masks.predicted_ious[index], stabilities[index], soft_ious[index])
            if bitmap.any() and scores[index] >= self._card.min_score:
                annotations.append(_annotation(len(annotations), prompt, label=label, bitmap=bitmap, judged=judged))
            else:
                unanswered += 1
        found = {"min_score": scores, "stability_min": stabilities, "soft_iou_min": soft_ious}
        read_off = {name: float(values.min()) for name, values in found.items()} if len(scores) else {}
        return Prediction(
            annotations=tuple(annotations),
            signals=read_off | ({"no_miss": 0.0 if unanswered else 1.0} if asked else {}),
        )

    def _bitmap(self, logits: np.ndarray, content_hw: tuple[int, int], *, size_hw: tuple[int, ...]) -> np.ndarray:
        """One (s, s) mask at the image's size; one at a time, because a photo's masks together may not fit."""
        tensor = torch.from_numpy(logits)[None, None]
        square = functional.interpolate(tensor, (self._side, self._side), mode="bilinear", align_corners=False)
        content = square[..., : content_hw[0], : content_hw[1]]
        full = functional.interpolate(content, (size_hw[0], size_hw[1]), mode="bilinear", align_corners=False)
        return (full[0, 0] > 0.0).numpy()  # (H, W)


def _distinct(bitmaps: torch.Tensor, *, max_iou: float) -> list[int]:
    """Which of (n, h, w) bitmaps, best first, repeat no better one; a stray pixel makes boxes differ, not masks."""
    flat = bitmaps.flatten(1).float()
    shared, areas = flat @ flat.T, flat.sum(dim=1)
    ious = (shared / (areas[:, None] + areas[None, :] - shared)).cpu()
    kept = list[int]()
    for index in range(len(ious)):
        if (ious[index, kept] <= max_iou).all():
            kept.append(index)
    return kept


def _annotation(
    index: int, prompt: BoxPrompt | PointPrompt, *, label: str, bitmap: np.ndarray, judged: tuple[float, float, float]
) -> Annotation:
    predicted_iou, stability, soft_iou = (float(value) for value in judged)
    return Annotation(
        id=str(index),
        label=label,
        geometry=encode_mask(bitmap),
        score=min(max(predicted_iou, 0.0), 1.0),
        attributes={"predicted_iou": predicted_iou, "stability": stability, "soft_iou": soft_iou},
        parent_id=prompt.parent_id if isinstance(prompt, BoxPrompt) else None,
    )


def _image(payload: Payload) -> ImagePayload:
    if not isinstance(payload, ImagePayload):
        raise ItemError("wrong_media", f"got {type(payload).__name__}; a segmenter labels images")
    return payload


def _grouped(payload: ImagePayload, *, factor: np.ndarray) -> Iterator[Prompted]:
    """The payload's prompts scaled by the (2,) factor: all boxes together, and points with others of their number."""
    size = (payload.image_rgb.shape[1], payload.image_rgb.shape[0])
    boxes, points = payload.prompts.boxes, payload.prompts.points
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


def load(card: ModelCard, folder: Path) -> SegmentAnything:
    """Reads a SAM from a folder (model.safetensors or one .pth) or from Meta's .pth file.

    Its sizes come from the option ``variant`` (vit_b, vit_l, vit_h), else from config.json beside the weights, else
    from the width of the encoder in the weights. The other options steer how everything in an image is found; they
    bear the names that segment_anything's SamAutomaticMaskGenerator gives them.

    Raises:
        ModelError: the weights are missing, hold more than tensors, or do not fit.
    """
    state = read_state_dict(card, folder)
    network = build_network(_sizes(card, folder if folder.is_dir() else folder.parent, state))
    fill(card, network, state)
    return SegmentAnything(card, network)


def build_random(card: ModelCard) -> SegmentAnything:
    """A SAM with random weights: ``architecture`` is {"variant": "vit_b"} or the sizes under the names of SamSizes."""
    variant = card.architecture.get("variant")
    sizes = _parsed(card, dict(card.architecture)) if variant is None else _variant(card, variant)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SegmentAnything(card, build_network(sizes))


def _sizes(card: ModelCard, folder: Path, state: dict[str, torch.Tensor]) -> SamSizes:
    if (variant := options_of(card, Options).variant) is not None:
        return _variant(card, variant)
    path = folder / "config.json"
    if path.exists():
        return _parsed(card, json.loads(path.read_text(encoding="utf-8")))
    position = state.get("image_encoder.pos_embed", torch.empty(0))
    for sizes in VARIANTS.values():
        if position.shape[-1] == sizes.encoder_width:
            return sizes
    raise ModelError(
        "bad_card", f"the size of model '{card.name}' is unknown; set the option variant: {list(VARIANTS)}"
    )


def _variant(card: ModelCard, variant: object) -> SamSizes:
    if not isinstance(variant, str) or variant not in VARIANTS:
        raise ModelError("bad_card", f"model '{card.name}' asks for variant {variant!r}; SAM has {list(VARIANTS)}")
    return VARIANTS[variant]


def _parsed(card: ModelCard, sizes: dict[str, Any]) -> SamSizes:
    try:
        return TypeAdapter(SamSizes).validate_python(sizes)
    except ValidationError as err:
        raise ModelError("bad_card", f"the sizes of model '{card.name}' describe no SAM: {err}") from err
