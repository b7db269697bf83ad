"""Draws the images that the demo's vision models learn from: scenes of coloured shapes with their boxes and masks."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from models.demo.shapes import KNOWN_SHAPES, UNKNOWN_SHAPES, outline
from models.geometry import mask_box

Part = Literal["easy", "hard", "out_of_domain"]
Colour = tuple[int, int, int]

LABELS = KNOWN_SHAPES
TRAIN_SEEDS = range(1_000_000)
VALIDATION_SEEDS = range(1_000_000, 2_000_000)
HELD_OUT_SEEDS = range(2_000_000, 3_000_000)

_OVERSAMPLING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One drawn image and the truth about it.

    Attributes:
        image_rgb: (H, W, 3) uint8.
        boxes_xyxy: (n, 4) float64, pixels, tight around the visible pixels.
        labels: n names; outside LABELS only in the part out_of_domain.
        masks: (n, H, W) bool, the visible pixels.
    """

    image_rgb: np.ndarray
    boxes_xyxy: np.ndarray
    labels: tuple[str, ...]
    masks: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class _Style:
    """How one part draws: sizes relative to the image's short side, and what makes it difficult."""

    shapes: tuple[str, ...]
    count: tuple[int, int]
    radius: tuple[float, float]
    contrast: tuple[float, float]
    max_overlap: float
    distractors: tuple[int, int]
    blur_px: tuple[float, float] = (0.0, 0.0)
    noise: tuple[float, float] = (0.0, 3.0)
    is_sketch: bool = False


_STYLES: dict[Part, _Style] = {
    "easy": _Style(
        shapes=KNOWN_SHAPES,
        count=(1, 5),
        radius=(0.10, 0.21),
        contrast=(95.0, 400.0),
        max_overlap=0.0,
        distractors=(0, 5),
    ),
    "hard": _Style(
        shapes=KNOWN_SHAPES,
        count=(3, 8),
        radius=(0.055, 0.14),
        contrast=(28.0, 120.0),
        max_overlap=0.35,
        distractors=(4, 14),
        blur_px=(0.4, 2.2),
        noise=(4.0, 18.0),
    ),
    "out_of_domain": _Style(
        shapes=KNOWN_SHAPES + UNKNOWN_SHAPES,
        count=(2, 5),
        radius=(0.09, 0.2),
        contrast=(90.0, 400.0),
        max_overlap=0.05,
        distractors=(2, 8),
        is_sketch=True,
    ),
}


def scene(seed: int, part: Part) -> Scene:
    """The scene of a seed: always the same pixels for the same seed and part.

    Args:
        seed: take it from TRAIN_SEEDS, VALIDATION_SEEDS or HELD_OUT_SEEDS.
        part: "easy"; "hard" is small, crowded, blurred and low in contrast; "out_of_domain" adds unknown shapes and
            draws like chalk or ink on ruled paper.
    """
    style = _STYLES[part]
    rng = np.random.default_rng([seed, get_args(Part).index(part)])
    width, height = (int(side) for side in rng.integers(200, 361, size=2))
    canvas, ground = _background(rng, size=(width, height), is_sketch=style.is_sketch)
    _distract(canvas, rng, style=style, ground=ground)
    objects = [
        (shape, _paint(canvas, rng, ring=ring, style=style, ground=ground))
        for shape, ring in _arrange(canvas, rng, style)
    ]
    return _finished(_degrade(canvas, rng, style=style), objects)


def _arrange(canvas: Image.Image, rng: np.random.Generator, style: _Style) -> list[tuple[str, np.ndarray]]:
    """Shapes and their rings in pixels, no ring's box covered by another's for more than the style allows."""
    count = 0 if rng.random() < 0.04 else int(rng.integers(style.count[0], style.count[1] + 1))
    placed: list[tuple[str, np.ndarray]] = []
    for _ in range(count * 8):
        if len(placed) == count:
            break
        shape = str(rng.choice(style.shapes))
        ring = _ring(rng, shape=shape, size=canvas.size, radius=rng.uniform(*style.radius) * min(canvas.size))
        if all(_overlap(ring, other) <= style.max_overlap for _, other in placed):
            placed.append((shape, ring))
    return placed


def _ring(rng: np.random.Generator, *, shape: str, size: tuple[int, int], radius: float) -> np.ndarray:
    angle = rng.uniform(0.0, 2.0 * np.pi)
    turn = np.array([(np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))])
    ring = outline(shape, rng) @ turn * radius
    centre = rng.uniform(-ring.min(axis=0) + 2.0, np.array(size) - ring.max(axis=0) - 2.0)
    return ring + centre


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection of two rings' boxes over the smaller box."""
    sides = np.minimum(a.max(axis=0), b.max(axis=0)) - np.maximum(a.min(axis=0), b.min(axis=0))
    smaller = min(np.ptp(a, axis=0).prod(), np.ptp(b, axis=0).prod())
    return float(np.maximum(sides, 0.0).prod() / smaller)


def _finished(image_rgb: np.ndarray, objects: list[tuple[str, np.ndarray]]) -> Scene:
    """What stays visible of each object under those painted after it; less than a third of it is no object."""
    visible: list[tuple[str, np.ndarray]] = []
    covered = np.zeros(image_rgb.shape[:2], dtype=bool)
    for label, bitmap in reversed(objects):
        left = bitmap & ~covered
        covered |= bitmap
        if np.count_nonzero(left) > np.count_nonzero(bitmap) / 3.0:
            visible.insert(0, (label, left))
    boxes = [mask_box(bitmap) or (0.0, 0.0, 0.0, 0.0) for _, bitmap in visible]
    return Scene(
        image_rgb=image_rgb,
        boxes_xyxy=np.array(boxes, dtype=np.float64).reshape(-1, 4),
        labels=tuple(label for label, _ in visible),
        masks=np.array([bitmap for _, bitmap in visible], dtype=bool).reshape(-1, *image_rgb.shape[:2]),
    )


def _colour(rng: np.random.Generator, *, saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return round(red * 255), round(green * 255), round(blue * 255)


def _background(rng: np.random.Generator, *, size: tuple[int, int], is_sketch: bool) -> tuple[Image.Image, Colour]:
    """A soft gradient with a light texture, or ruled paper or a blackboard; and its mean colour."""
    width, height = size
    is_dark = rng.random() < (0.5 if is_sketch else 0.15)
    value = (0.12, 0.3) if is_dark else (0.82, 0.99)
    ends = np.array([_colour(rng, saturation=(0.05, 0.35), value=value) for _ in range(2)], dtype=np.float64)
    angle = rng.uniform(0.0, 2.0 * np.pi)
    y, x = np.mgrid[0:height, 0:width] / max(size)
    along = x * np.cos(angle) + y * np.sin(angle)
    along = (along - along.min()) / np.ptp(along)
    pixels = ends[0] + (ends[1] - ends[0]) * along[..., None]  # (H, W, 3)
    pixels += 14.0 * _texture(rng, size=size)[..., None]
    canvas = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    red, green, blue = (int(channel) for channel in ends.mean(axis=0))
    ground = (red, green, blue)
    if is_sketch:
        _rule(canvas, rng, ground=ground)
    return canvas, ground


def _texture(rng: np.random.Generator, *, size: tuple[int, int]) -> np.ndarray:
    """(H, W) in about [-1, 1]: nothing, clouds or stripes."""
    width, height = size
    match rng.integers(3):
        case 0:
            return np.zeros((height, width))
        case 1:
            grid = Image.fromarray(rng.uniform(-1.0, 1.0, size=(6, 6)).astype(np.float32))
            return np.asarray(grid.resize(size, Image.Resampling.BICUBIC))
        case _:
            y, x = np.mgrid[0:height, 0:width]
            angle, period = rng.uniform(0.0, np.pi), rng.uniform(10.0, 40.0)
            return 0.4 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2.0 * np.pi / period)


def _rule(canvas: Image.Image, rng: np.random.Generator, *, ground: Colour) -> None:
    draw, step = ImageDraw.Draw(canvas), int(rng.integers(14, 30))
    line = _shade(ground, 0.82 if sum(ground) > 380 else 1.5)
    for y in range(step // 2, canvas.height, step):
        draw.line([(0, y), (canvas.width, y)], fill=line)
    if rng.random() < 0.5:
        for x in range(step // 2, canvas.width, step):
            draw.line([(x, 0), (x, canvas.height)], fill=line)


def _shade(colour: Colour, factor: float) -> Colour:
    red, green, blue = (min(round(channel * factor), 255) for channel in colour)
    return red, green, blue


def _ink(rng: np.random.Generator, *, style: _Style, ground: Colour) -> Colour:
    """A colour whose distance from the ground lies in the style's range of contrast (or the last one tried)."""
    saturation, value = ((0.0, 0.9), (0.2, 1.0)) if style.contrast[0] < 50.0 else ((0.5, 0.9), (0.45, 0.98))
    colour = ground
    for _ in range(60):
        colour = _colour(rng, saturation=saturation, value=value)
        if style.contrast[0] <= np.linalg.norm(np.subtract(colour, ground)) <= style.contrast[1]:
            break
    return colour


def _distract(canvas: Image.Image, rng: np.random.Generator, *, style: _Style, ground: Colour) -> None:
    """Thin lines, arcs and dots that are no objects."""
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(style.distractors[0], style.distractors[1] + 1)):
        colour = _shade(_ink(rng, style=style, ground=ground), 1.0)
        x, y = rng.uniform(0, canvas.width), rng.uniform(0, canvas.height)
        reach = rng.uniform(12, 70)
        match rng.integers(3):
            case 0:
                draw.line(
                    [(x, y), (x + rng.uniform(-reach, reach), y + rng.uniform(-reach, reach))], fill=colour, width=2
                )
            case 1:
                start = rng.uniform(0, 360)
                draw.arc([x, y, x + reach, y + reach], start, start + rng.uniform(40, 140), fill=colour, width=2)
            case _:
                dot = rng.uniform(1.5, 3.0)
                draw.ellipse([x - dot, y - dot, x + dot, y + dot], fill=colour)


def _paint(
    canvas: Image.Image, rng: np.random.Generator, *, ring: np.ndarray, style: _Style, ground: Colour
) -> np.ndarray:
    """Put one shape with a soft shadow onto the canvas; its (H, W) bool bitmap."""
    left, top = np.floor(ring.min(axis=0)).astype(int) - 4
    right, bottom = np.ceil(ring.max(axis=0)).astype(int) + 8
    size = (int(right - left), int(bottom - top))
    points = (ring - (left, top)) * _OVERSAMPLING
    alpha = _stencil(points, size=size)
    colour = _ink(rng, style=style, ground=ground)
    corner = (int(left), int(top))
    if style.is_sketch and rng.random() < 0.7:
        stroke = _stencil(points, size=size, stroke_px=rng.uniform(2.0, 3.5))
        canvas.paste(colour, corner, stroke)
    else:
        shadow = alpha.filter(ImageFilter.GaussianBlur(2.0)).point([round(level * 0.3) for level in range(256)])
        canvas.paste((30, 30, 40), (corner[0] + 2, corner[1] + 3), shadow)
        canvas.paste(_shaded(colour, size=size), corner, alpha)
    whole = Image.new("L", canvas.size)
    whole.paste(alpha, corner)
    return np.asarray(whole) >= 128


def _stencil(points: np.ndarray, *, size: tuple[int, int], stroke_px: float | None = None) -> Image.Image:
    """An antialiased filled polygon, or only its stroke."""
    large = Image.new("L", (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING))
    draw, ring = ImageDraw.Draw(large), [(float(x), float(y)) for x, y in points]
    if stroke_px is None:
        draw.polygon(ring, fill=255)
    else:
        draw.line([*ring, ring[0], ring[1]], fill=255, width=round(stroke_px * _OVERSAMPLING), joint="curve")
    return large.resize(size, Image.Resampling.BOX)


def _shaded(colour: Colour, *, size: tuple[int, int]) -> Image.Image:
    """The colour, a little lighter at the top and darker at the bottom."""
    light = np.linspace(1.1, 0.9, size[1])[:, None, None] * np.array(colour)  # (h, 1, 3)
    return Image.fromarray(np.broadcast_to(np.clip(light, 0, 255).astype(np.uint8), (size[1], size[0], 3)).copy())


def _degrade(canvas: Image.Image, rng: np.random.Generator, *, style: _Style) -> np.ndarray:
    """Blur and sensor noise of the style; (H, W, 3) uint8."""
    blurred = canvas.filter(ImageFilter.GaussianBlur(rng.uniform(*style.blur_px)))
    noise = rng.normal(0.0, rng.uniform(*style.noise), size=(canvas.height, canvas.width, 3))
    return np.clip(np.asarray(blurred) + noise, 0, 255).astype(np.uint8)
