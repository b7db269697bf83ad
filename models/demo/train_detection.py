"""Trains the demo's detector, a small RT-DETRv2, on drawn scenes."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForObjectDetection, PreTrainedModel, RTDetrImageProcessor

from models.demo.scenes import LABELS, TRAIN_SEEDS, Part, scene
from models.demo.training import Log, optimise

SIDE_PX = 128
STEPS = 3_000
BATCH = 16
SCENES: dict[Part, int] = {"easy": 5_000, "hard": 1_300}
PEAK_LEARNING_RATE = 1.2e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """An image at the model's size: (S, S, 3) uint8, (n, 4) boxes as centre and size in [0, 1], (n,) classes."""

    image_rgb: np.ndarray
    boxes_cxcywh: np.ndarray
    classes: np.ndarray


def train(folder: Path, *, seed: int) -> None:
    """Train on seeds of TRAIN_SEEDS and write weights, configuration and log into the folder.

    Takes about 35 minutes on two cores. Needs scipy, which transformers' RT-DETR loss matches with.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    examples = _draw_examples(rng)
    model = build()
    optimise(
        model,
        _batches(examples, rng),
        lambda batch: model(pixel_values=batch[0], labels=batch[1]).loss,
        steps=STEPS,
        peak_rate=PEAK_LEARNING_RATE,
        warm_up_steps=200,
        weight_decay=1e-4,
        log=Log(folder / "training.jsonl"),
    )
    model.save_pretrained(folder, safe_serialization=True)
    RTDetrImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX}).save_pretrained(folder)


def fine_tune(
    base: Path, folder: Path, *, examples: Sequence[Example], steps: int, batch: int, peak_rate: float, seed: int
) -> None:
    """Train the network in ``base`` on, with these examples, and write weights, configuration and log.

    The statistics of its batch normalisation stay as they are: small batches of a few images would make them worse.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(seed)
    folder.mkdir(parents=True, exist_ok=True)
    model = AutoModelForObjectDetection.from_pretrained(base, local_files_only=True)
    norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]

    def loss_of(batch: tuple[torch.Tensor, list[dict[str, torch.Tensor]]]) -> torch.Tensor:
        for norm in norms:
            norm.eval()
        return model(pixel_values=batch[0], labels=batch[1]).loss

    optimise(
        model,
        _batches(examples, np.random.default_rng(seed), size=batch),
        loss_of,
        steps=steps,
        peak_rate=peak_rate,
        warm_up_steps=max(steps // 10, 1),
        weight_decay=1e-4,
        log=Log(folder / "training.jsonl"),
        memory=0.9,
    )
    model.eval().save_pretrained(folder, safe_serialization=True)
    shutil.copy(base / "preprocessor_config.json", folder)


def build() -> PreTrainedModel:
    """An RT-DETRv2 of under a million parameters with random weights."""
    width, stages = 64, [24, 48, 64, 96]
    backbone = AutoConfig.for_model(
        "rt_detr_resnet",
        embedding_size=stages[0],
        hidden_sizes=stages,
        depths=[1, 1, 2, 1],
        layer_type="basic",
        out_indices=[2, 3, 4],
    )
    config = AutoConfig.for_model(
        "rt_detr_v2",
        backbone_config=backbone,
        freeze_backbone_batch_norms=False,
        encoder_hidden_dim=width,
        encoder_in_channels=stages[1:],
        encoder_ffn_dim=2 * width,
        encoder_attention_heads=4,
        hidden_expansion=0.5,
        d_model=width,
        decoder_in_channels=[width] * 3,
        decoder_ffn_dim=2 * width,
        decoder_layers=3,
        decoder_attention_heads=4,
        num_queries=30,
        num_denoising=20,
        id2label=dict(enumerate(LABELS)),
        label2id={label: index for index, label in enumerate(LABELS)},
    )
    return AutoModelForObjectDetection.from_config(config)


def _draw_examples(rng: np.random.Generator) -> list[Example]:
    examples: list[Example] = []
    with ProcessPoolExecutor(max_workers=2) as pool:
        for part, count in SCENES.items():
            seeds = rng.choice(TRAIN_SEEDS.stop, size=count, replace=False).tolist()
            examples += pool.map(partial(_draw_example, part=part), seeds, chunksize=50)
    return examples


def _draw_example(seed: int, *, part: Part) -> Example:
    drawn = scene(seed, part)
    return example(drawn.image_rgb, drawn.boxes_xyxy, drawn.labels)


def example(image_rgb: np.ndarray, boxes_xyxy: np.ndarray, labels: Sequence[str]) -> Example:
    """What the network learns from an image: (H, W, 3) uint8, with (n, 4) boxes in pixels and n of LABELS."""
    height, width = image_rgb.shape[:2]
    resized = Image.fromarray(image_rgb).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)
    boxes = boxes_xyxy / (width, height, width, height)
    return Example(
        image_rgb=np.asarray(resized),
        boxes_cxcywh=np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2.0, boxes[:, 2:] - boxes[:, :2]], axis=1),
        classes=np.array([LABELS.index(label) for label in labels], dtype=np.int64),
    )


def _batches(
    examples: Sequence[Example], rng: np.random.Generator, *, size: int = BATCH
) -> Iterator[tuple[torch.Tensor, list[dict[str, torch.Tensor]]]]:
    """Endless augmented batches: pixels (B, 3, S, S) in [0, 1] and the targets that transformers' loss reads."""
    while True:
        chosen = [_augmented(examples[index], rng) for index in rng.integers(len(examples), size=size)]
        pixels = torch.from_numpy(np.stack([example.image_rgb for example in chosen])).permute(0, 3, 1, 2)
        targets = [
            {
                "class_labels": torch.from_numpy(example.classes),
                "boxes": torch.from_numpy(example.boxes_cxcywh).float(),
            }
            for example in chosen
        ]
        yield pixels.float() / 255.0, targets


def _augmented(example: Example, rng: np.random.Generator) -> Example:
    """Mirrored and transposed at random, with its colour channels shuffled."""
    image, boxes = example.image_rgb, example.boxes_cxcywh.copy()
    for axis in (0, 1):  # boxes count x first, images y first
        if rng.random() < 0.5:
            image = np.flip(image, axis=1 - axis)
            boxes[:, axis] = 1.0 - boxes[:, axis]
    if rng.random() < 0.5:
        image, boxes = image.transpose(1, 0, 2), boxes[:, [1, 0, 3, 2]]
    return Example(
        image_rgb=np.ascontiguousarray(image[..., rng.permutation(3)]), boxes_cxcywh=boxes, classes=example.classes
    )
