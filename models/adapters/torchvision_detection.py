"""Runs torchvision's detectors: Faster R-CNN, RetinaNet, FCOS, SSD and their kin."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torchvision.models import detection, get_model, list_models
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from models.candidates import Candidates, Emission, Overlap, prediction
from models.card import ModelCard, Option, options_of, torch_device
from models.embedding import embedding, pooled
from models.errors import ItemError, ModelError
from models.jpeg_decoder import JpegDecoder, decoded
from models.precision import compute_in, half_dtype, tensor_cores
from models.state_dict import fill, read_state_dict
from models.types import EncodedJpeg, Payload, Picture, Prediction
from models.upload import Upload


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Which network it is and what it proposes; see ``load``."""

    architecture: str | None = None
    candidate_score: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    nms_iou: Overlap | None = None
    decode_on_device: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizedImage:
    """A normalised image at the network's scale: (3, h, w) float32, not yet padded.

    On the way to a GPU that resizes and normalises it, ``pixels`` is the (3, H, W) uint8 original, or the JPEG of it.
    """

    pixels: Upload | EncodedJpeg
    padded_hw: tuple[int, int]

    @property
    def cost(self) -> float:
        """Megapixels of model input."""
        return math.prod(self.padded_hw) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the network keeps for one image after its own NMS; boxes in pixels of the resized image, of size_hw.

    ``embedding`` is (d,) float32, where the card asks for it.
    """

    boxes_xyxy: np.ndarray  # (n, 4) float32
    scores: np.ndarray  # (n,) float32
    classes: np.ndarray  # (n,) int64
    size_hw: tuple[int, int]
    embedding: np.ndarray | None


class _Stacking(GeneralizedRCNNTransform):
    """Torchvision's own transform for images that ``prepare`` has resized and normalised already."""

    def normalize(self, image: torch.Tensor) -> torch.Tensor:
        return image

    def resize(
        self, image: torch.Tensor, target: dict[str, torch.Tensor] | None = None
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor] | None]:
        return image, target


class TorchvisionDetector:
    """A detection network of torchvision; its transform runs in ``prepare``, on the CPU."""

    def __init__(self, card: ModelCard, network: torch.nn.Module, labels: Sequence[str]) -> None:
        self._card, self._device = card, torch_device(card)
        self._emission = Emission.of(card, labels, nms_iou=options_of(card, Options).nms_iou)
        self._jpegs = JpegDecoder(device=self._device) if options_of(card, Options).decode_on_device else None
        self._transform = _own_transform(network)
        network.transform = _Stacking(
            min_size=0, max_size=0, image_mean=[], image_std=[], size_divisible=self._transform.size_divisible
        )
        self._network = network.to(self._device).eval()
        compute_in(half_dtype(card, device=self._device), network.get_submodule("backbone"), device=self._device)
        self._features = list[torch.Tensor]()
        if card.embeddings:
            network.get_submodule("backbone").register_forward_hook(self._keep_features)

    @property
    def decodes_jpegs(self) -> bool:
        return self._jpegs is not None

    @property
    def labels(self) -> tuple[str, ...]:
        return self._emission.names

    def prepare(self, payloads: Sequence[Payload]) -> list[ResizedImage]:
        return [self._resized(_picture(payload)) for payload in payloads]

    def _resized(self, picture: Picture) -> ResizedImage:
        padded_hw = self._padded_hw(picture.size_hw)
        if isinstance(picture, EncodedJpeg):
            return ResizedImage(pixels=picture, padded_hw=padded_hw)
        pixels = torch.from_numpy(picture.image_rgb).permute(2, 0, 1)  # (3, H, W)
        ready = self._numbers(pixels) if self._device == "cpu" else pixels
        return ResizedImage(pixels=Upload(ready, device=self._device), padded_hw=padded_hw)

    def _numbers(self, pixels: torch.Tensor) -> torch.Tensor:
        """(3, H, W) uint8 normalised and resized, wherever it lies: (3, h, w) float32."""
        return self._transform.resize(self._transform.normalize(pixels.float() / 255.0))[0]

    def _padded_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        unreal = torch.empty((3, *size_hw), dtype=torch.uint8, device="meta")
        height, width = self._numbers(unreal).shape[1:]  # the size, without the work
        step = self._transform.size_divisible
        return math.ceil(height / step) * step, math.ceil(width / step) * step

    def _moved(self, batch: Sequence[ResizedImage]) -> list[torch.Tensor]:
        """On the device. A GPU resizes as the CPU does, in float32 by the same function: within 1e-5."""
        sources = decoded([sample.pixels for sample in batch], self._jpegs)
        return [self._taken(own) if isinstance(own, Upload) else self._numbers(own) for own in sources]

    def _taken(self, pixels: Upload) -> torch.Tensor:
        return pixels.take() if self._device == "cpu" else self._numbers(pixels.take())

    @torch.inference_mode()
    def forward(self, batch: Sequence[ResizedImage]) -> list[Found]:
        """One pass for each padded size in the batch: an image is padded as it would be alone, never to a neighbour."""
        indices_of_size = defaultdict[tuple[int, int], list[int]](list)
        for index, sample in enumerate(batch):
            indices_of_size[sample.padded_hw].append(index)
        images, found = self._moved(batch), dict[int, Found]()
        for indices in indices_of_size.values():
            found |= zip(indices, self._run([images[index] for index in indices]), strict=True)
        return [found[index] for index in range(len(batch))]

    def _keep_features(self, backbone: torch.nn.Module, inputs: object, features: Any) -> None:
        """Keep the backbone's smallest map, which has seen most of the image, until the pass has ended."""
        self._features.append(list(features.values())[-1] if isinstance(features, dict) else features)

    def _run(self, images: list[torch.Tensor]) -> list[Found]:
        try:
            with tensor_cores(self._card):
                answers = self._network(images)
            vectors = pooled(self._features[-1]) if self._features else [None] * len(images)
        finally:
            self._features.clear()
        return [
            Found(
                boxes_xyxy=answer["boxes"].float().cpu().numpy(),
                scores=answer["scores"].float().cpu().numpy(),
                classes=answer["labels"].cpu().numpy(),
                size_hw=(image.shape[1], image.shape[2]),
                embedding=vector,
            )
            for image, answer, vector in zip(images, answers, vectors, strict=True)
        ]

    def read(self, raw: Sequence[Found], payloads: Sequence[Payload]) -> list[Prediction]:
        return [
            self._prediction(found, _picture(payload).size_hw) for found, payload in zip(raw, payloads, strict=True)
        ]

    def _prediction(self, found: Found, size_hw: tuple[int, int]) -> Prediction:
        height, width = size_hw
        factor = np.array([width / found.size_hw[1], height / found.size_hw[0]] * 2)
        # The network tells the score of one class per box, so the others are unknown and no margin can be read off.
        class_scores = np.zeros((len(found.scores), len(self._emission.labels)))
        class_scores[np.arange(len(found.scores)), found.classes] = found.scores
        result = prediction(
            Candidates(boxes_xyxy=found.boxes_xyxy * factor, class_scores=class_scores),
            self._emission,
            size_hw=size_hw,
        )
        known = {name: value for name, value in result.signals.items() if name != "margin_max"}
        vector = found.embedding
        return Prediction(
            annotations=result.annotations,
            signals=known,
            embedding=None if vector is None else embedding(self._card.name, vector),
        )


def _picture(payload: Payload) -> Picture:
    if not isinstance(payload, Picture):
        raise ItemError("wrong_media", f"got {type(payload).__name__}; a detector labels images")
    return payload


def _own_transform(network: torch.nn.Module) -> GeneralizedRCNNTransform:
    transform = network.transform
    if not isinstance(transform, GeneralizedRCNNTransform):
        raise ModelError("bad_card", f"{type(network).__name__} is no detector of torchvision's usual make")
    return transform.eval()


def load(card: ModelCard, folder: Path) -> TorchvisionDetector:
    """Reads a state dict (.safetensors, or .pth without code) and its labels.json.

    labels.json lists the name of each class, the background first; without it, 91 COCO categories are expected.
    Options: ``architecture`` names one of torchvision's detectors; ``candidate_score`` is the lowest score that counts
    as a possible miss (left out: torchvision's own); ``nms_iou`` removes more duplicates than torchvision does;
    ``decode_on_device`` (false) leaves JPEGs to the device.

    Raises:
        ModelError: the architecture is unknown, there are no weights, they hold code, or they do not fit.
    """
    labels = _read_labels(folder if folder.is_dir() else folder.parent)
    network = _network(card, options_of(card, Options).architecture, classes=len(labels))
    fill(card, network, read_state_dict(card, folder))
    return TorchvisionDetector(card, network, labels)


def build_random(card: ModelCard) -> TorchvisionDetector:
    """A detector with random weights: ``architecture`` holds its ``name`` and, if not 91, its number of ``classes``."""
    classes = card.architecture.get("classes", 91)
    if not isinstance(classes, int) or classes < 2:
        raise ModelError("bad_card", f"classes of model '{card.name}' must be a number above 1; got {classes!r}")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = _network(card, card.architecture.get("name"), classes=classes)
    labels = _coco_labels() if classes == 91 else ["__background__", *(f"class{n}" for n in range(1, classes))]
    return TorchvisionDetector(card, network, labels)


def _network(card: ModelCard, name: Option | list[int] | list[str], *, classes: int) -> torch.nn.Module:
    options, known = options_of(card, Options), list_models(module=detection)
    if not isinstance(name, str) or name not in known:
        raise ModelError("bad_card", f"model '{card.name}' asks for architecture {name!r}; torchvision has {known}")
    network = get_model(name, weights=None, weights_backbone=None, num_classes=classes)
    if options.candidate_score is not None:
        head: Any = getattr(network, "roi_heads", network)
        head.score_thresh = options.candidate_score
    return network


def _read_labels(folder: Path) -> list[str]:
    path = folder / "labels.json"
    if not path.exists():
        return _coco_labels()
    labels = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(label, str) for label in labels):
        raise ModelError("bad_card", f"{path} must be a JSON list of two names or more, the background first")
    return labels


def _coco_labels() -> list[str]:
    """The 91 categories that torchvision's COCO weights answer with."""
    return list(detection.FasterRCNN_ResNet50_FPN_V2_Weights.DEFAULT.meta["categories"])
