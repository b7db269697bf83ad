"""Says what is wrong with an answer, or with a call that got none, and whether to try again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx
import orjson

from models.errors import OverloadedError, PrelabelError
from pipelines.errors import ConflictError, InvalidRequestError, NotFoundError, StoreUnavailableError
from serving.client.errors import AnswerError, ServiceError, UnreachableError

_PASSING = frozenset({429, 502, 503, 504})
_REFUSING = frozenset({429, 503})  # what answers so has not begun the work
_LONGEST_MESSAGE = 2_000

_ERRORS: Mapping[int, type[PrelabelError]] = {
    400: InvalidRequestError,
    404: NotFoundError,
    409: ConflictError,
    422: InvalidRequestError,
}

# Nothing was sent yet, or nothing that a server would begin to work on.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_BROKEN = (*_NOT_SENT, httpx.NetworkError, httpx.RemoteProtocolError, httpx.ReadTimeout, httpx.WriteTimeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Why a call has no answer of use.

    ``is_passing`` says that it may be over in a moment, ``is_undone`` that the service has not begun what was asked, so
    that even what must not be done twice may be asked again; ``retry_after_s`` is when the service wants to be asked.
    """

    error: PrelabelError
    is_passing: bool = False
    is_undone: bool = False
    retry_after_s: float | None = None


def trouble_of(status: int, headers: Mapping[str, str], content: bytes, *, now: datetime, url: str) -> Trouble | None:
    """What is wrong with an answer; None if nothing is.

    Args:
        headers: whose names are found in any case.
        now: for a Retry-After that is a date.
        url: of the call, for the message.
    """
    if 200 <= status < 300:
        return None
    asked_s = retry_after_s(headers.get("retry-after", ""), now=now)
    return Trouble(
        error=_error(status, content, asked_s, url),
        is_passing=status in _PASSING,
        is_undone=status in _REFUSING,
        retry_after_s=asked_s,
    )


def trouble_of_transport(error: httpx.RequestError | httpx.InvalidURL, *, url: str) -> Trouble:
    """What it means that a call got no answer, or none that could be read to its end."""
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, _BROKEN):
        message = f"{url} did not answer ({said}); check the address, and that the service runs"
    else:
        message = f"cannot ask {url} over HTTP ({said}); check the address"
    unreachable = UnreachableError("unreachable", message)
    unreachable.__cause__ = error
    is_undone = isinstance(error, _NOT_SENT)
    return Trouble(error=unreachable, is_passing=isinstance(error, _BROKEN), is_undone=is_undone)


def retry_after_s(value: str, *, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for, as a number or as a date (RFC 9110, section 10.2.3)."""
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - now).total_seconds())


def _error(status: int, content: bytes, asked_s: float | None, url: str) -> PrelabelError:
    said = _said(content)
    if said is None:
        message = f"{url} answered {status} in no form of the service's; is this its address, and nothing before it?"
        return AnswerError("bad_answer", message)
    code, message = said
    if status == 429:
        return OverloadedError(code, message, asked_s)
    if code == "store_unavailable":
        return StoreUnavailableError(code, message)
    return _ERRORS.get(status, ServiceError)(code, message)


def _said(content: bytes) -> tuple[str, str] | None:
    """The code and the message of the service's own form, ``{"error": {"code", "message"}}``."""
    try:
        match orjson.loads(content):
            case {"error": {"code": str(code), "message": str(message)}}:
                return code, message[:_LONGEST_MESSAGE]
    except orjson.JSONDecodeError:
        pass
    return None


def is_of_the_items(error: PrelabelError) -> bool:
    """Whether the service has refused what stands in a call's items, so that a part of them may do.

    It refuses a call whole for one item's text that is no text, or when all items together are too many or too large;
    what a client says beside the items, it has looked at before (calls.py, Terms).
    """
    return error.code in ("too_large", "invalid_request", "invalid_json", "bad_request")
