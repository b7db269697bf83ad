"""Runs Segment Anything: masks for boxes, for points, or for everything in an image."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import NonNegativeFloat, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from segment_anything.modeling import Sam
from segment_anything.utils.amg import batched_mask_to_box, build_point_grid, calculate_stability_score
from torch.nn import functional
from torchvision.ops import nms

from models import device as devices
from models import signals
from models.card import ModelCard, options_of, torch_device
from models.compiled import compile_part
from models.embedding import embedding, pooled
from models.errors import ItemError, ModelError
from models.geometry import mask_of_runs
from models.graphs import CudaRecorder, are_wanted, graph_part
from models.jpeg_decoder import JpegDecoder, decoded
from models.kept_features import Features, KeptFeatures
from models.networks.sam import VARIANTS, SamSizes, build_network
from models.networks.sam_attention import fuse_attention
from models.networks.sam_decoding import decode
from models.networks.sam_prompts import Prompted, grouped, of_one_shape
from models.outlines import Outline, outlines
from models.precision import compute_in, half_dtype, tensor_cores
from models.state_dict import fill, read_state_dict
from models.types import (
    Annotation,
    BoxPrompt,
    Content,
    EncodedJpeg,
    ImagePayload,
    KnownImage,
    Payload,
    Picture,
    PointPrompt,
    Prediction,
)
from models.upload import Upload

_PROMPTS_PER_PASS = 64
# Of an image's cost where the encoder has seen it before. A click took 0.005 of the time (ViT-B, two shared cores of an
# EPYC); a GPU's decoder is bound by its launches, and prompts differ in number.
_KNOWN_SHARE = 0.05


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
    compile: bool = False
    graphs: bool = False
    decode_on_device: bool = False
    kept_features_mib: NonNegativeInt = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class SquareImage:
    """An image resized to fit the network's square of side S, and what is asked about it.

    ``pixels`` is (3, S, S) float32, normalised and padded; on the way to a GPU it is (3, h, w) uint8, neither, or the
    JPEG of any size; of a known image it is what the encoder made of it. No prompts stand for everything in the image.
    ``size_hw`` is the original image's, under ``digest`` what the encoder makes of it is kept.
    """

    pixels: Upload | EncodedJpeg | Features
    side_px: int
    content_hw: tuple[int, int]
    size_hw: tuple[int, int]
    prompts: tuple[Prompted, ...]
    digest: str | None = None

    @property
    def cost(self) -> float:
        """Megapixels of model input; for a known image, those that take as long as its prompts alone."""
        return self.side_px**2 / 1e6 * (_KNOWN_SHARE if isinstance(self.pixels, Features) else 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Logits:
    """The masks of one image: (n, s, s) float32 logits of the padded square and (n,) predicted IoUs, on the device.

    ``embedding`` is (C,) float32 in main memory, where the card asks for it.
    """

    logits: torch.Tensor
    predicted_ious: torch.Tensor
    sample: SquareImage
    embedding: np.ndarray | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Masks:
    """The masks of one image at its own size, and (n,) predicted IoUs; nothing of it lies on the device."""

    outlines: Sequence[Outline]
    predicted_ious: np.ndarray
    embedding: np.ndarray | None


class SegmentAnything:
    """A SAM network.

    Labels of prompts named only by words are not understood by SAM; they change nothing. Masks are judged (stability,
    soft IoU) at the decoder's resolution, before they are brought to the image's size.

    Somebody who clicks asks about one image several times. What the encoder made of the last images that have a digest
    is kept where it lies, on the device, so that the next question about one needs neither its pixels nor the encoder.
    The answer is the same: the decoder gets the same numbers as before.
    """

    def __init__(self, card: ModelCard, network: Sam) -> None:
        self._card, self._device = card, torch_device(card)
        self._network = network.to(self._device).eval()
        self._side = network.image_encoder.img_size
        self._mean, self._std = (network.get_buffer(name).cpu() for name in ("pixel_mean", "pixel_std"))
        self._options = options_of(card, Options)
        self._features = KeptFeatures(max_bytes=self._options.kept_features_mib * 2**20)
        self._jpegs = JpegDecoder(device=self._device) if self._options.decode_on_device else None
        fuse_attention(network)
        # The decoder is cheap and judges its own masks: it stays in fp32.
        compute_in(half_dtype(card, device=self._device), network.image_encoder, device=self._device)
        if are_wanted(asked=self._options.graphs, device=self._device):
            sizes = card.limits.batch_sizes(cost=self._side**2 / 1e6)
            graph_part(network.image_encoder, sizes, record=CudaRecorder(), is_compiled=self._options.compile)
        elif self._options.compile:
            compile_part(network.image_encoder)

    @property
    def decodes_jpegs(self) -> bool:
        return self._jpegs is not None

    def recalled(self, content: Content) -> KnownImage | None:
        features = self._features.find(content.digest) if content.media == "image" else None
        if features is None:
            return None
        return KnownImage(features=features, size_hw=features.size_hw, prompts=content.prompts)

    def prepare(self, payloads: Sequence[Payload]) -> list[SquareImage]:
        return [self._sample(_image(payload)) for payload in payloads]

    def _sample(self, image: Picture | KnownImage) -> SquareImage:
        height, width = image.size_hw
        scale = self._side / max(height, width)
        content_hw = (max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1))
        return SquareImage(
            pixels=self._pixels(image, content_hw),
            side_px=self._side,
            content_hw=content_hw,
            size_hw=(height, width),
            prompts=tuple(grouped(image.prompts, size_hw=(height, width), content_hw=content_hw)),
            digest=None if isinstance(image, KnownImage) else image.digest,
        )

    def _pixels(self, image: Picture | KnownImage, content_hw: tuple[int, int]) -> Upload | EncodedJpeg | Features:
        match image:
            case ImagePayload():
                return self._uploaded(image.image_rgb, content_hw)
            case EncodedJpeg():
                return image
            case KnownImage(features=Features() as features):
                return features
            case KnownImage():
                raise TypeError(f"these are features of another model: {type(image.features).__name__}")

    def _uploaded(self, image_rgb: np.ndarray, content_hw: tuple[int, int]) -> Upload:
        resized = Image.fromarray(image_rgb).resize((content_hw[1], content_hw[0]), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)  # (3, h, w)
        return Upload(self._square(pixels) if self._device == "cpu" else pixels, device=self._device)

    def _square(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised, padded with zeros at the right and the bottom, as SAM was trained."""
        height, width = pixels.shape[1:]
        mean, std = self._mean.to(pixels.device), self._std.to(pixels.device)
        return functional.pad((pixels - mean) / std, (0, self._side - width, 0, self._side - height))

    def _moved(self, batch: Sequence[SquareImage]) -> torch.Tensor:
        """(B, 3, S, S) on the device: a GPU gets bytes, a quarter of the numbers, and computes them.

        Both ways subtract and divide the same float32 numbers; nothing is rounded differently.
        """
        sources = decoded([sample.pixels for sample in batch if not isinstance(sample.pixels, Features)], self._jpegs)
        return torch.stack([self._taken(own, sample) for own, sample in zip(sources, batch, strict=True)])

    def _taken(self, source: Upload | torch.Tensor, sample: SquareImage) -> torch.Tensor:
        if isinstance(source, torch.Tensor):
            return self._square(_resized(source, sample.content_hw))
        return source.take() if self._device == "cpu" else self._square(source.take())

    @torch.inference_mode()
    def forward(self, batch: Sequence[SquareImage]) -> Sequence[Logits | Masks]:
        """One encoder pass over the images that are new; then the prompts of one shape together, whatever their image.

        A GPU also brings the masks to their images' sizes here, because logits would take longer to copy than to read.
        """
        try:
            return self._found(batch) if batch else []
        except (RuntimeError, MemoryError) as err:
            if devices.is_out_of_memory(err):
                self._features.clear()  # the network needs the room more
            raise

    def _found(self, batch: Sequence[SquareImage]) -> Sequence[Logits | Masks]:
        known = [self._known(sample) for sample in batch]
        new = _unknown(batch, known)
        squares = self._moved(list(new.values())) if new else torch.empty(0)  # (N, 3, S, S)
        with tensor_cores(self._card):
            embeddings = self._embeddings(batch, known, dict(zip(new, self._encoded(squares), strict=True)))
            answers = self._prompted(embeddings, batch)
            found = [
                answers[index] if sample.prompts else self._everything(embeddings[index : index + 1], sample)
                for index, sample in enumerate(batch)
            ]
        if self._card.embeddings:
            vectors = (self._pooled(one, sample) for one, sample in zip(embeddings, batch, strict=True))
            found = [replace(own, embedding=vector) for own, vector in zip(found, vectors, strict=True)]
        return found if self._device == "cpu" else [self._outlined(logits) for logits in found]

    def _known(self, sample: SquareImage) -> torch.Tensor | None:
        """(C, S/p, S/p); another batch may have brought it since the sample was prepared."""
        features = sample.pixels if isinstance(sample.pixels, Features) else self._features.find(sample.digest)
        return None if features is None else features.tensor

    def _encoded(self, squares: torch.Tensor) -> torch.Tensor:
        """(N, C, S/p, S/p) of (N, 3, S, S); the encoder does not run over nothing."""
        return self._network.image_encoder(squares) if len(squares) else squares

    def _embeddings(
        self, batch: Sequence[SquareImage], known: Sequence[torch.Tensor | None], new: dict[str | int, torch.Tensor]
    ) -> torch.Tensor:
        """(B, C, S/p, S/p), for each sample its image's; the new ones are kept."""
        rows = list[torch.Tensor]()
        for index, (sample, own) in enumerate(zip(batch, known, strict=True)):
            rows.append(new[sample.digest or index] if own is None else own)
            if own is None:
                self._features.keep(sample.digest, rows[-1], size_hw=sample.size_hw)
        return torch.stack(rows)

    def _pooled(self, embedding: torch.Tensor, sample: SquareImage) -> np.ndarray:
        """(C,) mean of the encoder's (C, S/p, S/p) over the image, without what is padding."""
        return pooled(self._content(embedding, sample.content_hw)[None])[0]

    def _prompted(self, embeddings: torch.Tensor, batch: Sequence[SquareImage]) -> dict[int, Logits]:
        """The best mask for each prompt of each image that has prompts, in their order."""
        answers = defaultdict[int, dict[int, tuple[torch.Tensor, torch.Tensor]]](dict)
        for owners, together in of_one_shape([sample.prompts for sample in batch]):
            for first in range(0, len(owners), _PROMPTS_PER_PASS):
                own = owners[first : first + _PROMPTS_PER_PASS]
                rows = torch.tensor([image for image, _ in own], device=embeddings.device)
                found = self._best(embeddings[rows], together.between(first, first + len(own)))
                for (image, place), logits, iou in zip(own, *found, strict=True):
                    answers[image][place] = (logits, iou)
        return {image: _in_order(answer, batch[image]) for image, answer in answers.items()}

    def _best(self, embeddings: torch.Tensor, prompted: Prompted) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, s, s) and predicted IoUs (n,): of three masks where one point is ambiguous, else of one."""
        logits, ious = self._decode(embeddings, prompted)
        best = ious.argmax(dim=1)
        rows = torch.arange(len(best), device=best.device)
        return logits[rows, best], ious[rows, best]

    def _decode(self, embeddings: torch.Tensor, prompted: Prompted) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, m, s, s) and predicted IoUs (n, m) of n prompts; m is 3 for single points, else 1."""
        boxes, points = prompted.boxes_xyxy, None
        if prompted.points_xy is not None and prompted.is_foreground is not None:
            points = (prompted.points_xy.to(self._device), prompted.is_foreground.to(self._device))
        sparse, dense = self._network.prompt_encoder(
            points=points, boxes=None if boxes is None else boxes.to(self._device), masks=None
        )
        return decode(
            self._network.mask_decoder,
            embeddings,
            positions=self._network.prompt_encoder.get_dense_pe(),
            sparse=sparse,
            dense=dense,
            is_ambiguous=points is not None and points[0].shape[1] == 1,
        )

    def _everything(self, embedding: torch.Tensor, sample: SquareImage) -> Logits:
        """Masks that a grid of points finds, filtered and without duplicates; Kirillov et al. 2023, appendix B."""
        grid = build_point_grid(self._options.points_per_side) * sample.content_hw[::-1]
        points = torch.from_numpy(grid).float()[:, None]  # (n, 1, 2)
        kept = [self._kept(embedding, chunk, sample) for chunk in points.split(_PROMPTS_PER_PASS)]
        logits, ious = (torch.cat(tensors) for tensors in zip(*kept, strict=True))
        bitmaps = self._content(logits, sample.content_hw) > 0.0
        best = nms(batched_mask_to_box(bitmaps).float(), ious, self._options.box_nms_thresh)  # best first
        best = best[_distinct(bitmaps[best], max_iou=self._options.box_nms_thresh)]
        return Logits(logits=logits[best], predicted_ious=ious[best], sample=sample)

    def _kept(
        self, embedding: torch.Tensor, points_xy: torch.Tensor, sample: SquareImage
    ) -> tuple[torch.Tensor, torch.Tensor]:
        prompted = Prompted(places=(), points_xy=points_xy, is_foreground=torch.ones(points_xy.shape[:2]))
        logits, ious = (
            tensor.flatten(0, 1) for tensor in self._decode(embedding.expand(len(points_xy), -1, -1, -1), prompted)
        )
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

    def _outlined(self, found: Logits) -> Masks:
        """The masks at their image's size as run lengths; a mask that is not finite has no finite IoU either."""
        sample, logits = found.sample, found.logits
        is_finite = logits.isfinite().flatten(1).all(dim=1)
        ious = torch.where(is_finite, found.predicted_ious, torch.nan)
        shown = self._content(logits, sample.content_hw)
        drawn = outlines(logits, side_px=self._side, content_hw=sample.content_hw, size_hw=sample.size_hw, shown=shown)
        return Masks(outlines=drawn, predicted_ious=ious.cpu().numpy(), embedding=found.embedding)

    @torch.inference_mode()
    def read(self, raw: Sequence[Logits | Masks], payloads: Sequence[Payload]) -> list[Prediction]:
        drawn = (found if isinstance(found, Masks) else self._outlined(found) for found in raw)
        return [self._prediction(masks, _image(payload)) for masks, payload in zip(drawn, payloads, strict=True)]

    def _prediction(self, masks: Masks, payload: Picture | KnownImage) -> Prediction:
        if not np.isfinite(masks.predicted_ious).all():
            raise ItemError("model_failed", "the segmenter gave numbers that are not finite for this image")
        scores = masks.predicted_ious.clip(0.0, 1.0)
        asked: Sequence[BoxPrompt | PointPrompt] = [*payload.prompts.boxes, *payload.prompts.points]
        annotations, unanswered = list[Annotation](), 0
        for index, prompt in enumerate(asked or [BoxPrompt(xyxy=(0.0, 0.0, 0.0, 0.0))] * len(scores)):
            label, outline = self._card.label_for(prompt.label), masks.outlines[index]
            if label is None:
                continue
            if outline.is_empty or scores[index] < self._card.min_score:
                unanswered += 1
                continue
            iou = float(masks.predicted_ious[index])
            annotations.append(
                _annotation(len(annotations), prompt, outline, label=label, size_hw=payload.size_hw, iou=iou)
            )
        read_off = signals.segmentation(
            masks.predicted_ious,
            stabilities=np.array([outline.stability for outline in masks.outlines]),
            soft_ious=np.array([outline.soft_iou for outline in masks.outlines]),
        )
        return Prediction(
            annotations=tuple(annotations),
            signals=read_off | ({"no_miss": 0.0 if unanswered else 1.0} if asked else {}),
            embedding=None if masks.embedding is None else embedding(self._card.name, masks.embedding),
        )


def _unknown(batch: Sequence[SquareImage], known: Sequence[torch.Tensor | None]) -> dict[str | int, SquareImage]:
    """The first sample of each image that is not known, by its digest, or by its place where it has none."""
    new = dict[str | int, SquareImage]()
    for index, (sample, own) in enumerate(zip(batch, known, strict=True)):
        if own is None:
            new.setdefault(sample.digest or index, sample)
    return new


def _in_order(answer: dict[int, tuple[torch.Tensor, torch.Tensor]], sample: SquareImage) -> Logits:
    logits, ious = zip(*(answer[place] for place in sorted(answer)), strict=True)
    return Logits(logits=torch.stack(logits), predicted_ious=torch.stack(ious), sample=sample)


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
    index: int, prompt: BoxPrompt | PointPrompt, outline: Outline, *, label: str, size_hw: tuple[int, int], iou: float
) -> Annotation:
    return Annotation(
        id=str(index),
        label=label,
        geometry=mask_of_runs(outline.run_lengths, size_hw=size_hw),
        score=min(max(iou, 0.0), 1.0),
        attributes={"predicted_iou": iou, "stability": outline.stability, "soft_iou": outline.soft_iou},
        parent_id=prompt.parent_id if isinstance(prompt, BoxPrompt) else None,
    )


def _resized(pixels: torch.Tensor, size_hw: tuple[int, int]) -> torch.Tensor:
    """(3, H, W) uint8 wherever it lies, resized there as Pillow does it: (3, h, w) float32 of whole numbers."""
    smooth = functional.interpolate(pixels[None].float(), size_hw, mode="bilinear", antialias=True)[0]
    return smooth.round().clamp(0.0, 255.0)


def _image(payload: Payload) -> Picture | KnownImage:
    if not isinstance(payload, Picture | KnownImage):
        raise ItemError("wrong_media", f"got {type(payload).__name__}; a segmenter labels images")
    return payload


def load(card: ModelCard, folder: Path) -> SegmentAnything:
    """Reads a SAM from a folder (model.safetensors or one .pth) or from Meta's .pth file.

    Its sizes come from the option ``variant`` (vit_b, vit_l, vit_h), else from config.json beside the weights, else
    from the width of the encoder in the weights. The other options steer how everything in an image is found; they
    bear the names that segment_anything's SamAutomaticMaskGenerator gives them; but ``compile`` (false) builds kernels
    for the encoder with torch.compile, ``graphs`` (false) replays it as CUDA graphs, ``decode_on_device`` (false)
    leaves JPEGs to the device, and ``kept_features_mib`` (256, enough for 64 images with the published sizes; 0 keeps
    nothing) bounds what is kept of images that somebody may ask about again.

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
