"""Trains the demo's segmenter, a small Segment Anything, on drawn scenes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file
from segment_anything.modeling import Sam
from torch.nn import functional

from models.demo.scenes import TRAIN_SEEDS, Part, scene
from models.demo.training import Log, optimise
from models.networks.sam import SamSizes, build_network

SIZES = SamSizes(
    image_px=192,
    patch_px=8,
    encoder_width=96,
    encoder_depth=4,
    encoder_heads=4,
    global_attention=(3,),
    window=8,
    prompt_width=64,
    mask_prompt_channels=8,
    decoder_heads=4,
    decoder_mlp_width=128,
    iou_head_width=64,
)
STEPS = 1_300
BATCH = 8
PROMPTS = 4
SCENES: dict[Part, int] = {"easy": 1_600, "hard": 400}
PEAK_LEARNING_RATE = 1e-3
PADDING_RGB = (124, 116, 104)  # SAM's mean colour: zero after normalisation, as SAM pads


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    """A scene in SAM's square.

    ``image_rgb`` (S, S, 3) uint8; ``boxes_xyxy`` (n, 4) pixels of the square; ``coverage`` (n, S/2, S/2) uint8, how
    much of each cell of the decoder's output belongs to the object, 255 for all of it.
    """

    image_rgb: np.ndarray
    boxes_xyxy: np.ndarray
    coverage: np.ndarray


def train(folder: Path, *, seed: int) -> None:
    """Train on seeds of TRAIN_SEEDS and write weights, configuration and log into the folder.

    Takes about 35 minutes on two cores.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    examples = [example for example in _draw_examples(rng) if len(example.boxes_xyxy)]
    model = build_network(SIZES)
    optimise(
        model,
        _batches(examples, rng),
        lambda batch: _loss(model, batch, rng),
        steps=STEPS,
        peak_rate=PEAK_LEARNING_RATE,
        warm_up_steps=100,
        weight_decay=1e-3,
        log=Log(folder / "training.jsonl"),
    )
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(asdict(SIZES), indent=2) + "\n", encoding="utf-8")


def _draw_examples(rng: np.random.Generator) -> list[_Example]:
    examples: list[_Example] = []
    with ProcessPoolExecutor(max_workers=2) as pool:
        for part, count in SCENES.items():
            seeds = rng.choice(TRAIN_SEEDS.stop, size=count, replace=False).tolist()
            examples += pool.map(partial(_draw_example, part=part), seeds, chunksize=50)
    return examples


def _draw_example(seed: int, *, part: Part) -> _Example:
    drawn = scene(seed, part)
    height, width = drawn.image_rgb.shape[:2]
    scale = SIZES.image_px / max(height, width)
    size = (round(width * scale), round(height * scale))
    square = Image.new("RGB", (SIZES.image_px, SIZES.image_px), PADDING_RGB)
    square.paste(Image.fromarray(drawn.image_rgb).resize(size, Image.Resampling.BILINEAR))
    return _Example(
        image_rgb=np.asarray(square),
        boxes_xyxy=drawn.boxes_xyxy * scale,
        coverage=np.array([_coverage(mask, size=size) for mask in drawn.masks], dtype=np.uint8),
    )


def _coverage(mask: np.ndarray, *, size: tuple[int, int]) -> np.ndarray:
    square = Image.new("L", (SIZES.image_px, SIZES.image_px))
    square.paste(Image.fromarray(mask.astype(np.uint8) * 255).resize(size, Image.Resampling.BILINEAR))
    return np.asarray(square.resize((SIZES.image_px // 2, SIZES.image_px // 2), Image.Resampling.BOX))


def _augmented(example: _Example, rng: np.random.Generator) -> _Example:
    """Mirrored and transposed at random, with its colour channels shuffled."""
    image, boxes, coverage = example.image_rgb, example.boxes_xyxy, example.coverage
    if rng.random() < 0.5:
        image, coverage = image[:, ::-1], coverage[:, :, ::-1]
        boxes = np.stack([SIZES.image_px - boxes[:, 2], boxes[:, 1], SIZES.image_px - boxes[:, 0], boxes[:, 3]], axis=1)
    if rng.random() < 0.5:
        image, coverage, boxes = image.transpose(1, 0, 2), coverage.transpose(0, 2, 1), boxes[:, [1, 0, 3, 2]]
    return _Example(image_rgb=image[..., rng.permutation(3)].copy(), boxes_xyxy=boxes.copy(), coverage=coverage.copy())


def _batches(examples: list[_Example], rng: np.random.Generator) -> Iterator[list[_Example]]:
    while True:
        yield [_augmented(examples[index], rng) for index in rng.integers(len(examples), size=BATCH)]


def _jittered(boxes_xyxy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Boxes as a detector would give them: each edge off by about 4 % of the box's side, at most 12 %."""
    sides = np.tile(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 2)
    return boxes_xyxy + sides * np.clip(rng.normal(0.0, 0.04, size=sides.shape), -0.12, 0.12)


def _clicks(coverage: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random point inside each (S/2, S/2) object: (n, 1, 2) float, pixels of the square."""
    points = []
    for cells in coverage:
        inside = np.argwhere(cells > 127)
        row, column = inside[rng.integers(len(inside))] if len(inside) else np.array(cells.shape) // 2
        points.append(((column + 0.5) * 2.0, (row + 0.5) * 2.0))
    return np.array(points).reshape(-1, 1, 2)


def _misses(coverage: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Two random points on no object: (2, 1, 2) float, pixels of the square."""
    free = np.argwhere(coverage.max(axis=0) == 0)
    return (free[rng.integers(len(free), size=2)][:, None, ::-1] + 0.5) * 2.0


def _loss(model: Sam, examples: Sequence[_Example], rng: np.random.Generator) -> torch.Tensor:
    pixels = torch.from_numpy(np.stack([example.image_rgb for example in examples])).permute(0, 3, 1, 2)
    embeddings = model.image_encoder(
        (pixels - model.get_buffer("pixel_mean")) / model.get_buffer("pixel_std")
    )  # (B, C, S/8, S/8)
    losses = [
        _image_loss(model, embedding[None], example, rng)
        for embedding, example in zip(embeddings, examples, strict=True)
    ]
    return torch.stack(losses).mean()


def _image_loss(model: Sam, embedding: torch.Tensor, example: _Example, rng: np.random.Generator) -> torch.Tensor:
    """Loss of up to four objects of one image, prompted all by boxes or all by clicks."""
    chosen = rng.permutation(len(example.boxes_xyxy))[:PROMPTS]
    coverage = example.coverage[chosen]
    truth = torch.from_numpy(coverage).float()[:, None] / 255.0  # (n, 1, S/2, S/2)
    if rng.random() < 0.6:
        boxes = torch.from_numpy(_jittered(example.boxes_xyxy[chosen], rng)).float()
        logits, ious = _decode(model, embedding, boxes=boxes)
        return _mask_loss(logits[:, :1], ious[:, :1], truth).mean()
    points = np.concatenate([_clicks(coverage, rng), _misses(example.coverage, rng)])
    logits, ious = _decode(model, embedding, points=torch.from_numpy(points).float())
    on_object, on_nothing = logits[: len(chosen)], ious[len(chosen) :]
    per_mask = _mask_loss(on_object, ious[: len(chosen)], truth)  # (n, 4)
    best_of_three = per_mask[:, 1:].min(dim=1).values + 0.1 * per_mask[:, 1:].mean(dim=1)
    return (per_mask[:, 0] + best_of_three).mean() / 2.0 + on_nothing.square().mean()


def _decode(
    model: Sam, embedding: torch.Tensor, *, boxes: torch.Tensor | None = None, points: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """All four masks of each prompt: logits (n, 4, S/2, S/2) and predicted IoUs (n, 4)."""
    clicked = None if points is None else (points, torch.ones(points.shape[:2], dtype=torch.int))
    sparse, dense = model.prompt_encoder(points=clicked, boxes=boxes, masks=None)
    return model.mask_decoder.predict_masks(
        image_embeddings=embedding,
        image_pe=model.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )


def _mask_loss(logits: torch.Tensor, predicted_ious: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy + dice + squared error of the predicted IoU, for each mask: (n, m, H, W) → (n, m)."""
    target = truth.expand_as(logits)
    crossed = functional.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=(2, 3))
    chance = logits.sigmoid()
    dice = 1.0 - (2.0 * (chance * target).sum(dim=(2, 3)) + 1.0) / ((chance + target).sum(dim=(2, 3)) + 1.0)
    with torch.no_grad():
        mask, object_ = logits > 0, target > 0.5
        iou = (mask & object_).sum(dim=(2, 3)) / (mask | object_).sum(dim=(2, 3)).clamp(min=1)
    return 5.0 * crossed + dice + (predicted_ious - iou).square()
