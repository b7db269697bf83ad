"""Reads multipart calls: one part with the JSON, and the files that its items name."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from fastapi import Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.types import Message, Receive

from models.errors import ItemError, PrelabelError
from pipelines.errors import InvalidRequestError
from serving.body import StrictRoute

Parts = Mapping[str, bytes]

REQUEST = "request"
_PARTS = "prelabel.parts"


class UploadRoute(StrictRoute):
    """A route that also takes its JSON as the part ``request`` of a form, beside files.

    A file of more than a mebibyte lies on disk until the form is complete.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def upload(request: Request) -> Response:
            return await handle(await _as_json(request) if _is_form(request) else request)

        return upload


def parts_of(request: Request) -> Parts:
    """The files that came with a call, by the names of their parts."""
    return request.scope.get(_PARTS, {})


def part_of(parts: Parts, name: str) -> bytes:
    """An item's file.

    Raises:
        ItemError: invalid_item, no such part came.
    """
    if name not in parts:
        sent = _shown(sorted(parts)) if parts else "no files; send them as multipart/form-data"
        raise ItemError("invalid_item", f"the item names the part {name[:80]!r}; the call came with {sent}")
    return parts[name]


def check_parts(parts: Parts, named: Sequence[str], *, most_bytes: int) -> None:
    """Look whether every file is wanted, and the items together are no larger than a call may be.

    Raises:
        PrelabelError: invalid_request, no item names one of the files; too_large, many items name the same large one.
    """
    if unused := sorted(parts.keys() - set(named)):
        raise InvalidRequestError("invalid_request", f"no item names {_shown(unused)}; name it as an item's 'part'")
    if (size := sum(len(parts.get(name, b"")) for name in named)) > most_bytes:
        message = f"the items name {size} bytes, a file once for each item; at most {most_bytes}, send fewer items"
        raise PrelabelError("too_large", message)


def form_schema(body: str) -> dict[str, object]:
    """What OpenAPI says of such a route: the form with its JSON part and its files.

    Args:
        body: the name of the JSON's schema.
    """
    schema = {
        "type": "object",
        "required": [REQUEST],
        "properties": {REQUEST: {"$ref": f"#/components/schemas/{body}"}},
        "additionalProperties": {"type": "string", "format": "binary", "description": "a file that an item names"},
    }
    form = {"schema": schema, "encoding": {REQUEST: {"contentType": "application/json"}}}
    return {"requestBody": {"content": {"multipart/form-data": form}}}


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"


async def _as_json(request: Request) -> Request:
    """The call as if its JSON had come alone, and the files in its scope."""
    server = request.app.state.server
    most = server.max_items + 1
    # The body as a whole is bounded already.
    async with request.form(max_files=most, max_fields=most, max_part_size=server.max_body_bytes) as form:
        _check_names(form)
        contents = await asyncio.to_thread(lambda: {name: _content(part) for name, part in form.items()})
    body = contents.pop(REQUEST)
    headers = [(name, value) for name, value in request.scope["headers"] if name.lower() != b"content-type"]
    scope = {**request.scope, "headers": [*headers, (b"content-type", b"application/json")], _PARTS: contents}
    return Request(scope, _replayed(body, request.receive))


def _check_names(form: FormData) -> None:
    names = Counter(name for name, _ in form.multi_items())
    if REQUEST not in names:
        raise InvalidRequestError("invalid_request", f"the form has no part '{REQUEST}'; send the call's JSON in it")
    if repeated := sorted(name for name, count in names.items() if count > 1):
        raise InvalidRequestError(
            "invalid_request", f"the form repeats {_shown(repeated)}; give each a name of its own"
        )
    if fields := sorted(name for name, part in form.items() if isinstance(part, str) and name != REQUEST):
        message = f"{_shown(fields)} came without a file name; send files (curl -F NAME=@FILE), and texts in the JSON"
        raise InvalidRequestError("invalid_request", message)


def _content(part: UploadFile | str) -> bytes:
    return part.encode() if isinstance(part, str) else part.file.read()


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What gives a body that was read already, then whatever comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _shown(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"part {', '.join(repr(name[:80]) for name in names[:3])}{more}"
