"""Reads a task of Label Studio as an item."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from models.errors import ItemError
from models.types import Item
from pipelines.formats.label_studio.binding import Binding
from pipelines.sources.entry import plain

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_PATH = re.compile(r"([^.\[\]]+)")  # data.pages[0] → data, pages, 0
_LOCAL = frozenset({"file:", "tar:"})
_FILES = ("/data/", "/static/")  # uploads, local files, and the samples that come with it


def item(binding: Binding, task: Mapping[str, Any], *, server_url: str | None, item_id: str) -> Item:
    """What is to be labelled of a task: what the binding's source shows of its ``data``.

    Addresses stay as they are, data: URIs included; a path on the server, such as ``/data/upload/…``, is below
    ``server_url``. A number shown as a text is that text. The other plain fields of ``data`` are meta.

    Args:
        server_url: where Label Studio is; None where nobody knows.

    Raises:
        ItemError: invalid_entry: the task lacks the field, or it is neither a text nor an address. blocked_url: it is
            a file of the machine that the server, or we, run on, or something of Label Studio's that is no file.
    """
    data = task.get("data")
    if not isinstance(data, Mapping):
        raise _invalid("the task has no 'data', wanted an object in it")
    source = binding.source
    field = source.field or ""
    value = _found(data, field)
    meta = plain(data, but=field)
    if source.media == "text" and not source.holds_address:
        return Item(id=item_id, media="text", text=_text(value, field), meta=meta)
    uri = _absolute(_address(value, field), server_url)
    return Item(id=item_id, media=source.media or "text", uri=uri, meta=meta)


def _found(data: Mapping[str, Any], field: str) -> Any:
    """A field's value; "a.b[0]" is a field of that name, or a path into others."""
    if field in data:
        return data[field]
    value: Any = data
    for name in _PATH.findall(field):
        if isinstance(value, Mapping) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        else:
            got = ", ".join(f"'{key}'" for key in list(data)[:20]) or "nothing"
            raise _invalid(f"the task's data has {got[:200]}, wanted the field '{field}' that the interface shows")
    return value


def _text(value: Any, field: str) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise _invalid(f"'{field}' holds {_named(value)}, wanted a text")
    return value


def _address(value: Any, field: str) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list) and value:
        raise _invalid(f"'{field}' holds a list of {len(value)}, wanted one address; make a task of each")
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise _invalid(f"'{field}' holds {_named(value)}, wanted an address")
    return value.strip()


def _absolute(uri: str, server_url: str | None) -> str:
    if scheme := _SCHEME.match(uri):
        if scheme[0].lower() in _LOCAL:
            raise _blocked(uri, "a file of some machine", "the address under which Label Studio shows it")
        return _checked(uri, server_url)
    if not uri.startswith("/") or uri.startswith(("//", "/\\")):
        raise _invalid(f"'{uri[:100]}' is no address, wanted https://…, s3://… or a path on Label Studio from '/' on")
    if server_url is None:
        raise _invalid(f"'{uri[:100]}' is a path on Label Studio, and nobody has said where that is; connect it")
    base = urlsplit(server_url)
    prefix = base.path.rstrip("/")
    is_below = prefix and uri.startswith(f"{prefix}/")  # a server under a path of its own may write it already
    return _checked(f"{base.scheme}://{base.netloc}{'' if is_below else prefix}{uri}", server_url)


def _checked(uri: str, server_url: str | None) -> str:
    """The address, which of Label Studio itself may be of a file alone.

    We open those under our own token, and whoever imports a task must not read by it what they could not otherwise.
    """
    if server_url is None or _origin(uri) != _origin(server_url):
        return uri
    there, base = urlsplit(uri), urlsplit(server_url)
    path = unquote(there.path).replace("\\", "/")
    prefix = base.path.rstrip("/")
    is_file = any(path.startswith(prefix + folder) for folder in _FILES)
    if not is_file or "/../" in path or "/./" in path or path.endswith("/.."):
        raise _blocked(uri, "no file of Label Studio's", f"one below {' or '.join(_FILES)}")
    return uri


def _origin(address: str) -> tuple[str, str, int | None]:
    try:
        parts = urlsplit(address)
        return parts.scheme, parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError as err:
        raise _invalid(f"'{address[:100]}' is no address ({err})") from err


def _named(value: Any) -> str:
    match value:
        case None:
            return "null"
        case str():
            return "an empty text, or one with a NUL character"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case list():
            return "a list"
        case _:
            return "an object"


def _invalid(message: str) -> ItemError:
    return ItemError("invalid_entry", message)


def _blocked(uri: str, got: str, wanted: str) -> ItemError:
    return ItemError("blocked_url", f"'{uri[:100]}' is {got}; wanted {wanted}")
