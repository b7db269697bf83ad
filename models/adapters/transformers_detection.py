"""Runs object detectors of Hugging Face: RT-DETR, D-FINE and their kin, and DETR where timm is installed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from models.candidates import Candidates, Emission, Overlap, prediction
from models.card import ModelCard, options_of, torch_device
from models.compiled import compile_part
from models.embedding import embedding, pooled
from models.errors import ItemError, ModelError
from models.graphs import CudaRecorder, are_wanted, graph_part
from models.jpeg_decoder import JpegDecoder, decoded
from models.pixel_stages import as_numbers, can_be_split, fixed_size_hw, resized_bytes
from models.precision import compute_in, half_dtype, tensor_cores
from models.pretrained import network_of, processor_of
from models.types import EncodedJpeg, Payload, Picture, Prediction
from models.upload import Upload

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedModel

# The families that score one class or "no object" by a softmax; all others score each class by a sigmoid.
_SOFTMAX = ("detr", "table-transformer", "yolos")
_INPUT_SIZE_HW = (640, 640)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Above which overlap a box of the same label is taken for a better one's duplicate; by default above none.

    And whether to compile the backbone, whether it replays CUDA graphs, and whether JPEGs are decoded on the device.
    """

    nms_iou: Overlap | None = None
    compile: bool = False
    graphs: bool = False
    decode_on_device: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelSample:
    """An image at the network's size_hw: (3, h, w), and its (h, w) mask where the family wants one.

    float32 as the network takes them, or uint8 on the way to a device that computes them; or the JPEG of any size, on
    the way to a device that does all of it.
    """

    pixels: Upload | EncodedJpeg
    size_hw: tuple[int, int]
    mask: torch.Tensor | None = None

    @property
    def cost(self) -> float:
        """Megapixels of model input."""
        return math.prod(self.size_hw) / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Queries:
    """What the network answers for B images: (B, n, K) scores, (B, n, 4) boxes as centre and size in [0, 1].

    ``embeddings`` is (B, d) float32, or B times None where the card does not ask for them.
    """

    class_scores: Sequence[np.ndarray]
    boxes_cxcywh: Sequence[np.ndarray]
    embeddings: Sequence[np.ndarray | None]


class TransformersDetector:
    """A detection network and its image processor."""

    def __init__(self, card: ModelCard, network: PreTrainedModel, processor: BaseImageProcessor) -> None:
        self.card, self._device, self._processor = card, torch_device(card), processor
        torch.nn.Module.to(network, device=self._device).eval()
        compute_in(half_dtype(card, device=self._device), _backbone(network), device=self._device)
        self._network = network
        options = options_of(card, Options)
        self._is_split = (self._device == "cuda" or options.decode_on_device) and can_be_split(processor)
        self._size_hw = fixed_size_hw(processor) if self._is_split else None
        self._jpegs = self._decoder() if options.decode_on_device else None
        self._has_no_object = network.config.model_type in _SOFTMAX
        names = sorted((network.config.id2label or {}).items())
        self._emission = Emission.of(card, [name for _, name in names], nms_iou=options.nms_iou)
        if are_wanted(asked=options.graphs, device=self._device):
            self._record_graphs(is_compiled=options.compile)
        elif options.compile:
            compile_part(_backbone(network))

    def _record_graphs(self, *, is_compiled: bool) -> None:
        backbone = _backbone(self._network)
        if self._size_hw is None or backbone is self._network:
            raise ModelError("bad_card", f"'{self.card.name}' has no backbone of a fixed size, so graphs must be off")
        sizes = self.card.limits.batch_sizes(cost=math.prod(self._size_hw) / 1e6)
        graph_part(backbone, sizes, record=CudaRecorder(), is_compiled=is_compiled)

    def _decoder(self) -> JpegDecoder:
        if self._size_hw is None:
            raise ModelError("bad_card", f"'{self.card.name}' has no fixed input size, so decode_on_device must be off")
        return JpegDecoder(device=self._device)

    @property
    def decodes_jpegs(self) -> bool:
        return self._jpegs is not None

    def with_min_score(self, min_score: float) -> TransformersDetector:
        """The same network, emitting boxes from another score on."""
        other = copy(self)
        other.card, other._emission = (
            replace(self.card, min_score=min_score),
            replace(self._emission, min_score=min_score),
        )
        return other

    @property
    def labels(self) -> tuple[str, ...]:
        return self._emission.names

    def prepare(self, payloads: Sequence[Payload]) -> list[PixelSample]:
        return [self._sample(_picture(payload)) for payload in payloads]

    def _sample(self, picture: Picture) -> PixelSample:
        if isinstance(picture, EncodedJpeg):
            return PixelSample(pixels=picture, size_hw=self._size_hw or picture.size_hw)
        if self._is_split:
            return self._uploaded(resized_bytes(self._processor, picture.image_rgb))
        ready = self._processor(images=[picture.image_rgb], return_tensors="pt", input_data_format="channels_last")
        return self._uploaded(ready["pixel_values"][0], ready.get("pixel_mask", [None])[0])

    def _uploaded(self, pixels: torch.Tensor, mask: torch.Tensor | None = None) -> PixelSample:
        size_hw = (pixels.shape[1], pixels.shape[2])
        return PixelSample(pixels=Upload(pixels, device=self._device), size_hw=size_hw, mask=mask)

    @torch.inference_mode()
    def forward(self, batch: Sequence[PixelSample]) -> Queries:
        """One pass for each input size in the batch.

        Families with a fixed input size need one. The others are never padded to a common size, because padding
        moves their scores.
        """
        indices_of_size = defaultdict[tuple[int, int], list[int]](list)
        for index, sample in enumerate(batch):
            indices_of_size[sample.size_hw].append(index)
        scores, boxes = [np.empty(0)] * len(batch), [np.empty(0)] * len(batch)
        embeddings: list[np.ndarray | None] = [None] * len(batch)
        for indices in indices_of_size.values():
            answers = self._run([batch[i] for i in indices])
            for index, own_scores, own_boxes, own_embedding in zip(indices, *answers, strict=True):
                scores[index], boxes[index], embeddings[index] = own_scores, own_boxes, own_embedding
        return Queries(class_scores=scores, boxes_cxcywh=boxes, embeddings=embeddings)

    def _run(
        self, samples: Sequence[PixelSample]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | Sequence[np.ndarray | None]]:
        inputs = {"pixel_values": self._stacked([sample.pixels for sample in samples])}
        masks = [sample.mask for sample in samples if sample.mask is not None]
        if masks:
            inputs["pixel_mask"] = torch.stack(masks).to(self._device)
        with tensor_cores(self.card):
            answer = self._network(**inputs)
        logits = answer.logits.float()  # (B, n, K), or K + 1 with "no object" last
        scores = logits.softmax(dim=-1)[..., :-1] if self._has_no_object else logits.sigmoid()
        embeddings = self._embeddings(answer) if self.card.embeddings else [None] * len(samples)
        return scores.cpu().numpy(), answer.pred_boxes.float().cpu().numpy(), embeddings

    def _embeddings(self, answer: Any) -> np.ndarray:
        """(B, d) means over what the encoder says of each place; nothing is padded, as a pass holds one size."""
        encoded = getattr(answer, "encoder_last_hidden_state", None)  # encoders without a decoder name it otherwise
        encoded = answer.last_hidden_state if encoded is None else encoded
        return pooled(encoded)

    def _stacked(self, pixels: Sequence[Upload | EncodedJpeg]) -> torch.Tensor:
        """(B, 3, h, w) float32 on the device."""
        sources = decoded(pixels, self._jpegs)
        stacked = torch.stack(
            [own.take() if isinstance(own, Upload) else resized_bytes(self._processor, own) for own in sources]
        )
        return as_numbers(self._processor, stacked) if self._is_split else stacked

    def read(self, raw: Queries, payloads: Sequence[Payload]) -> list[Prediction]:
        rows = zip(raw.class_scores, raw.boxes_cxcywh, raw.embeddings, payloads, strict=True)
        return [
            self._embedded(self._prediction(scores, boxes, _picture(payload).size_hw), vector)
            for scores, boxes, vector, payload in rows
        ]

    def _embedded(self, prediction: Prediction, vector: np.ndarray | None) -> Prediction:
        return prediction if vector is None else replace(prediction, embedding=embedding(self.card.name, vector))

    def _prediction(self, class_scores: np.ndarray, boxes_cxcywh: np.ndarray, size_hw: tuple[int, int]) -> Prediction:
        height, width = size_hw
        centre, size = boxes_cxcywh[:, :2].astype(np.float64), boxes_cxcywh[:, 2:].astype(np.float64)
        boxes = np.concatenate([centre - size / 2.0, centre + size / 2.0], axis=1) * (width, height, width, height)
        columns = class_scores[:, : len(self._emission.labels)]
        return prediction(Candidates(boxes_xyxy=boxes, class_scores=columns), self._emission, size_hw=size_hw)


def _backbone(network: torch.nn.Module) -> torch.nn.Module:
    """The part that turns pixels into features, where the family has one; else the whole network."""
    return getattr(getattr(network, "model", None), "backbone", network)


def _picture(payload: Payload) -> Picture:
    if not isinstance(payload, Picture):
        raise ItemError("wrong_media", f"got {type(payload).__name__}; a detector labels images")
    return payload


def load(card: ModelCard, folder: Path) -> TransformersDetector:
    """Reads a detector as Hugging Face saves it: config.json, preprocessor_config.json, safetensors weights.

    Options: ``nms_iou`` removes boxes of the same label that overlap a better one by more than this. ``compile``
    (false) builds kernels for the backbone with torch.compile; ``graphs`` (false) replays it as CUDA graphs, and
    ``decode_on_device`` (false) leaves JPEGs to the device, both for networks of a fixed input size.

    Raises:
        ModelError: there are no weights, or only pickled ones, or they do not fit the network.
    """
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    network = network_of(card, folder, auto_class=AutoModelForObjectDetection)
    return TransformersDetector(card, network, processor_of(card, folder, auto_class=AutoImageProcessor))


def build_random(card: ModelCard) -> TransformersDetector:
    """A detector of the size in ``architecture`` with random weights, at 640 × 640 pixels.

    ``architecture`` holds any settings of the network's Hugging Face configuration; ``model_type`` is rt_detr_v2
    unless it says otherwise, and the settings left out are that type's own (for rt_detr_v2: ResNet-50, 80 labels).
    """
    from transformers import AutoModelForObjectDetection, RTDetrImageProcessor

    config = _config(card)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = AutoModelForObjectDetection.from_config(config, trust_remote_code=False)
    except ImportError as err:
        raise ModelError("bad_card", f"model '{card.name}' needs a library that is not installed: {err}") from err
    height, width = _INPUT_SIZE_HW
    return TransformersDetector(card, network, RTDetrImageProcessor(size={"height": height, "width": width}))


def _config(card: ModelCard) -> Any:
    from transformers import AutoConfig

    settings: dict[str, Any] = {"model_type": "rt_detr_v2", "num_labels": 80} | card.architecture
    try:
        return AutoConfig.for_model(settings.pop("model_type"), **settings)
    except (ValueError, TypeError) as err:
        raise ModelError("bad_card", f"architecture of model '{card.name}' describes no network: {err}") from err
