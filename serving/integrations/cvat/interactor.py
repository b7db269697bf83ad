"""Outlines the object that a person clicked on, by the service's segmenter.

``cvat-cli`` takes this module as an interaction function (``--function-module serving.integrations.cvat.interactor``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import httpx
import orjson
import pybase64

from models.errors import ItemError, OverloadedError, PrelabelError
from models.types import Task
from serving.client.address import checked_url, checked_value
from serving.client.errors import AnswerError, ServiceError, UnreachableError
from serving.integrations.cvat.clicks import Clicks, read_box
from serving.integrations.cvat.crop import png

if TYPE_CHECKING:
    from PIL.Image import Image

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlined:
    """A mask as CVAT's shapes have it (mask_code.py), and how sure the segmenter is, in [0, 1]."""

    points: tuple[float, ...]
    score: float


class Outlines(Protocol):
    """What outlines an object in an image's file."""

    def outline(self, data: bytes, clicks: Clicks) -> Outlined | None: ...


class ServiceInteractor:
    """Asks a running service's ``/cvat`` routes, which keep nothing of a click."""

    def __init__(
        self, url: str, *, api_key: str | None = None, task: Task = "segmentation", timeout_s: float = 60.0
    ) -> None:
        headers = {"Content-Type": "application/json"}
        if api_key:
            headers["Authorization"] = f"Bearer {checked_value(api_key, name='api_key')}"
        self._url = f"{checked_url(url)}/cvat/{task}"
        self._http = httpx.Client(headers=headers, timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def outline(self, data: bytes, clicks: Clicks) -> Outlined | None:
        """The clicked object; None where the segmenter finds none.

        Raises:
            PrelabelError: the service refuses, or does not answer.
        """
        body = {
            "image": pybase64.b64encode(data).decode(),
            "pos_points": clicks.positive,
            "neg_points": clicks.negative,
            "obj_bbox": clicks.box or (),
            "with_rows": False,
        }
        found = self._post(orjson.dumps(body)).get("shapes") or ()
        return Outlined(points=tuple(found[0]["points"]), score=float(found[0]["confidence"])) if found else None

    def _post(self, content: bytes) -> dict[str, Any]:
        for left in range(_ATTEMPTS - 1, -1, -1):
            try:
                answer = self._http.post(self._url, content=content)
            except httpx.TransportError as err:
                if not left:
                    message = f"the service at {self._url} does not answer ({type(err).__name__})"
                    raise UnreachableError("unreachable", message) from err
                continue
            if answer.status_code == 503 and left:
                continue
            return _read(answer)
        raise AssertionError("the last attempt raises or returns")


def _read(answer: httpx.Response) -> dict[str, Any]:
    try:
        content = answer.json()
        error = content["error"] if answer.is_error else None
    except (ValueError, KeyError, TypeError) as err:
        message = f"{answer.request.url} answers {answer.status_code} in no form of the service's"
        raise AnswerError("bad_answer", message) from err
    if error is None:
        return content
    kind: type[PrelabelError] = {422: ItemError, 413: ItemError, 429: OverloadedError}.get(
        answer.status_code, ServiceError
    )
    raise kind(error["code"], error["message"])


class Interactor:
    """An interaction function of cvat_sdk.auto_annotation: a person's clicks in, a mask out."""

    def __init__(self, outlines: Outlines) -> None:
        self._outlines = outlines

    @property
    def spec(self) -> Any:
        from cvat_sdk import auto_annotation as cvataa  # pyright: ignore[reportMissingImports]

        return cvataa.InteractionFunctionSpec(min_pos_points=0, min_neg_points=0, min_bounding_boxes=0)

    def preprocess_image(self, context: object, image: Image) -> bytes:
        """The image's file, made once for any number of clicks; the service keeps what its network made of it."""
        return png(image)

    def detect(self, context: object, pp_image: bytes, prompts: Any) -> list[Any]:
        from cvat_sdk import auto_annotation as cvataa  # pyright: ignore[reportMissingImports]
        from cvat_sdk.attributes import attribute_vals_from_dict  # pyright: ignore[reportMissingImports]

        found = self._outlines.outline(
            pp_image, clicks_of(prompts.pos_points, prompts.neg_points, prompts.bounding_box)
        )
        if found is None:
            return []
        attributes = attribute_vals_from_dict({CONFIDENCE: confidence(found)})
        return [cvataa.InteractionResultShape(type="mask", points=found.points, attributes=attributes)]


CONFIDENCE = 0  # the attribute of an interaction's result; cvat_sdk.auto_annotation.InteractionResultAttributes


def confidence(found: Outlined) -> str:
    return str(round(found.score, 4))


def clicks_of(
    positive: Sequence[Sequence[float]], negative: Sequence[Sequence[float]], box: Sequence[Sequence[float]] | None
) -> Clicks:
    """Clicks as the agent protocol and cvat_sdk give them."""
    on, beside = (tuple((float(x), float(y)) for x, y in points) for points in (positive, negative))
    return Clicks(positive=on, negative=beside, box=read_box(box))


def create(url: str, *, api_key: str = "", task: Task = "segmentation") -> Interactor:
    """The function that ``cvat-cli`` runs; parameters are given by ``-p url=str:http://…``."""
    return Interactor(ServiceInteractor(url, api_key=api_key or None, task=task))
