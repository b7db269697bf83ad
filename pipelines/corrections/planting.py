"""Makes a wrong pre-label from a right one, to see whether reviewers notice."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.geometry import decode_mask, encode_mask, mask_box
from models.types import Annotation, Box, Mask, Task, TextSpan
from pipelines.corrections.acceptable import Acceptable, loss
from pipelines.corrections.transcript import words_of

_NUMBER = re.compile(r"\d+$")
_SHIFT, _BESIDE = 0.6, 1.1  # of the width; after the first, the IoU is a quarter
_TRIES = 5  # of each way; most draws do it at once

Annotations = tuple[Annotation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrong:
    """A pre-label that was made wrong, and its type of error (``errors.ERRORS``)."""

    error: str
    annotations: Annotations


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """What an error is drawn from."""

    labels: Sequence[str]
    size_hw: tuple[int, int] | None
    rng: np.random.Generator


Way = Callable[[Annotations, Draws], Annotations | None]


def planted(
    task: Task,
    predicted: Sequence[Annotation],
    right: Sequence[Annotation],
    *,
    acceptable: Acceptable,
    labels: Sequence[str],
    rng: np.random.Generator,
    size_hw: tuple[int, int] | None = None,
) -> Wrong | None:
    """The pre-label with one error of a type that is drawn; its loss is 1.

    In speech words are made wrong until the transcript is no longer acceptable. Scores stay, and ids are numbered as a
    model numbers them, so that nothing but the error tells it from others.

    Args:
        predicted: a pre-label that is acceptable.
        right: the human's answer about it.
        acceptable: from where on it is wrong; that it may be graded does not count.
        labels: the classes that a label may be swapped for.
        rng: draws the error.
        size_hw: of the picture, which nothing leaves.

    Returns:
        None where no error can be made, as of a pre-label without labels.
    """
    strict = replace(acceptable, graded=False)
    ways, draws = _WAYS[task], Draws(labels=labels, size_hw=size_hw, rng=rng)
    for place in rng.permutation(len(ways)):
        error, way = ways[place]
        for _ in range(_TRIES):
            made = way(tuple(predicted), draws)
            if made is not None and loss(task, made, right, strict) == 1.0:
                return Wrong(error=error, annotations=_renumbered(made, like=predicted))
    return None


def _without_one(annotations: Annotations, draws: Draws) -> Annotations | None:
    """One is left out, with all that belongs to it."""
    if not annotations:
        return None
    gone = _family(annotations, _any(annotations, draws.rng))
    return tuple(one for one in annotations if one.id not in gone)


def _one_relabelled(annotations: Annotations, draws: Draws) -> Annotations | None:
    if not annotations:
        return None
    chosen = _any(annotations, draws.rng)
    others = sorted({*draws.labels, *(one.label for one in annotations)} - {chosen.label})
    if not others:
        return None
    label, family = others[draws.rng.integers(len(others))], _family(annotations, chosen)
    return tuple(
        replace(one, label=label) if one.id in family and one.label == chosen.label else one for one in annotations
    )


def _one_moved(annotations: Annotations, draws: Draws) -> Annotations | None:
    if not annotations:
        return None
    chosen = _any(annotations, draws.rng)
    family, distance_px = _family(annotations, chosen), _way_to_go(chosen, _SHIFT, draws)
    if not distance_px:
        return None
    return tuple(_moved(one, distance_px) if one.id in family else one for one in annotations)


def _one_too_many(annotations: Annotations, draws: Draws) -> Annotations | None:
    """One stands a second time, beside itself."""
    if not annotations:
        return None
    chosen = _any(annotations, draws.rng)
    family, distance_px = _family(annotations, chosen), _way_to_go(chosen, _BESIDE, draws)
    if not distance_px:
        return None
    again = {one.id: f"again {one.id}" for one in annotations if one.id in family}
    copies = (
        replace(_moved(one, distance_px), id=again[one.id], parent_id=again.get(one.parent_id or "", one.parent_id))
        for one in annotations
        if one.id in family
    )
    return (*annotations, *copies)


def _one_cut(annotations: Annotations, draws: Draws) -> Annotations | None:
    """A span loses the word, or at least the character, at one of its ends."""
    if not annotations:
        return None
    chosen = _any(annotations, draws.rng)
    text = chosen.text or ""
    if not isinstance(chosen.geometry, TextSpan) or len(text) != chosen.geometry.end - chosen.geometry.start:
        return None
    start, end, parts = chosen.geometry.start, chosen.geometry.end, text.split(" ")
    if draws.rng.random() < 0.5:
        cut = len(parts[0]) + 1 if len(parts) > 1 else 1
        start, text = start + cut, text[cut:]
    else:
        cut = len(parts[-1]) + 1 if len(parts) > 1 else 1
        end, text = end - cut, text[:-cut]
    if not text.strip():
        return None
    changed = replace(chosen, geometry=TextSpan(start=start, end=end), text=text)
    return tuple(changed if one is chosen else one for one in annotations)


def _misheard(annotations: Annotations, draws: Draws) -> Annotations | None:
    """Words are heard as others of the recording, in the segments and in the words below them alike."""
    return _with_words(annotations, draws, lambda _, other: other)


def _unheard(annotations: Annotations, draws: Draws) -> Annotations | None:
    """Words are left out, and what is empty then."""
    return _with_words(annotations, draws, lambda _, __: "")


def _with_words(annotations: Annotations, draws: Draws, change: Callable[[str, str], str]) -> Annotations | None:
    vocabulary = sorted({word for one in annotations for word in (one.text or "").split() if words_of(word)})
    if not vocabulary:
        return None
    # One word is enough for a strict WER; a lenient one needs as many as some later draw gives.
    many = int(draws.rng.geometric(0.5)) ** 2
    targets = [vocabulary[place] for place in draws.rng.permutation(len(vocabulary))[:many]]
    others = {word: _unlike(word, vocabulary, draws.rng) for word in targets}

    def altered(text: str) -> str:
        spoken = (change(word, others[word]) if word in others else word for word in text.split())
        return " ".join(word for word in spoken if word)

    changed = [replace(one, text=altered(one.text)) if one.text else one for one in annotations]
    return tuple(one for one, was in zip(changed, annotations, strict=True) if one.text or not was.text)


def _unlike(word: str, vocabulary: Sequence[str], rng: np.random.Generator) -> str:
    """Another word of the recording, or where there is none the word with a sound more."""
    others = [other for other in vocabulary if words_of(other) != words_of(word)]
    return others[rng.integers(len(others))] if others else f"{word}s"


_WAYS: dict[Task, tuple[tuple[str, Way], ...]] = {
    "detection": (
        ("missed", _without_one),
        ("class", _one_relabelled),
        ("location", _one_moved),
        ("spurious", _one_too_many),
    ),
    "segmentation": (
        ("missed", _without_one),
        ("class", _one_relabelled),
        ("boundary", _one_moved),
        ("spurious", _one_too_many),
    ),
    "ner": (("missed", _without_one), ("type", _one_relabelled), ("boundary", _one_cut)),
    "speech": (("substitution", _misheard), ("deletion", _unheard)),
}


def _any(annotations: Annotations, rng: np.random.Generator) -> Annotation:
    """One that belongs to no other: a box rather than the mask that was made from it."""
    ids = {one.id for one in annotations}
    first = [one for one in annotations if one.parent_id not in ids]
    return first[rng.integers(len(first))] if first else annotations[0]


def _family(annotations: Annotations, head: Annotation) -> set[str]:
    return {head.id, *(one.id for one in annotations if one.parent_id == head.id)}


def _way_to_go(one: Annotation, share: float, draws: Draws) -> int:
    """How far to move it, in whole pixels to the right: a share of its width; 0 where it would leave the picture."""
    match one.geometry:
        case Box(xyxy=(x1, _, x2, _)):
            left, right_edge = x1, x2
        case Mask() as mask if (box := mask_box(decode_mask(mask))) is not None:
            left, right_edge = box[0], box[2]
        case _:
            return 0
    distance_px = max(1, math.ceil(share * (right_edge - left)))
    width = draws.size_hw[1] if draws.size_hw else math.inf
    ways = [
        *([distance_px] if right_edge + distance_px <= width else []),
        *([-distance_px] if left - distance_px >= 0 else []),
    ]
    return ways[draws.rng.integers(len(ways))] if ways else 0


def _moved(one: Annotation, distance_px: int) -> Annotation:
    match one.geometry:
        case Box(xyxy=(x1, y1, x2, y2)):
            return replace(one, geometry=Box(xyxy=(x1 + distance_px, y1, x2 + distance_px, y2)))
        case Mask() as mask:
            return replace(one, geometry=_shifted(mask, distance_px))
        case _:
            return one


def _shifted(mask: Mask, distance_px: int) -> Mask:
    bitmap = decode_mask(mask)
    moved = np.zeros_like(bitmap)
    if distance_px > 0:
        moved[:, distance_px:] = bitmap[:, :-distance_px]
    else:
        moved[:, :distance_px] = bitmap[:, -distance_px:]
    return encode_mask(moved) if moved.any() else mask


def _renumbered(annotations: Annotations, *, like: Sequence[Annotation]) -> Annotations:
    """The annotations with the ids that a model would have given so many: no gap, and nothing named otherwise.

    Boxes and masks are counted apart, and so are the words of each segment.
    """
    names = {
        old: new
        for group, ids in _ids(annotations).items()
        for old, new in zip(ids, _named(group, ids, like), strict=True)
    }
    return tuple(
        replace(one, id=names[one.id], parent_id=names.get(one.parent_id or "", one.parent_id)) for one in annotations
    )


Group = tuple[str, str | None]


def _group(one: Annotation) -> Group:
    return one.geometry.kind, one.parent_id if one.geometry.kind == "time_span" else None


def _ids(annotations: Sequence[Annotation]) -> dict[Group, list[str]]:
    found = defaultdict[Group, list[str]](list)
    for one in annotations:
        found[_group(one)].append(one.id)
    return dict(found)


def _named(group: Group, ids: Sequence[str], like: Sequence[Annotation]) -> Iterator[str]:
    """The ids of the group before, and the numbers that follow them."""
    before = _ids(like).get(group, [])
    yield from before[: len(ids)]
    last = before[-1] if before else "0"
    number = _NUMBER.search(last)
    stem, first = (last[: number.start()], int(number[0]) + 1) if number else (f"{last}.", 1)
    yield from (f"{stem}{first + n}" for n in range(len(ids) - len(before)))
