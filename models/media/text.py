"""Decodes UTF-8 to a text whose code points are counted as the caller counts them."""

from __future__ import annotations

from models.errors import ItemError
from models.media.limits import MediaLimits

_LONGEST_CODE_POINT_BYTES = 4


def decode(data: bytes, limits: MediaLimits) -> str:
    """Decode UTF-8 without moving a single code point, so that offsets stay those of the text as given.

    A byte order mark stays (U+FEFF, one code point), as do line ends, combining marks and invisible characters. NUL,
    which PostgreSQL cannot store, becomes U+FFFD, one for one.

    Raises:
        ItemError: invalid_text (not UTF-8, or lone surrogates encoded as if they were), too_large.
    """
    if len(data) > limits.max_text_chars * _LONGEST_CODE_POINT_BYTES:
        raise _too_long(f"{len(data)} bytes", limits)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as err:
        raise ItemError(
            "invalid_text",
            f"the text is not UTF-8: got byte 0x{data[err.start]:02x} at offset {err.start} ({err.reason}); "
            "convert it to UTF-8 without lone surrogates",
        ) from err
    if len(text) > limits.max_text_chars:
        raise _too_long(f"{len(text)} characters", limits)
    return text.replace("\0", "\ufffd")


def _too_long(got: str, limits: MediaLimits) -> ItemError:
    return ItemError("too_large", f"the text has {got}; at most {limits.max_text_chars} characters are taken; split it")
