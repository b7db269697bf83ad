"""Turns a Label Studio token, old or new, into the header that its server takes."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Awaitable, Callable

from serving.integrations.label_studio.errors import LabelStudioError

# Label Studio 1.23 gives access tokens five minutes.
_MARGIN_S = 30.0


def is_personal(token: str) -> bool:
    """Whether a token is a personal access token: a JSON Web Token, with two dots; a legacy one is 40 hex digits."""
    return token.count(".") == 2


class Token:
    """A token that its owner holds, and the access token that Label Studio has last given for it.

    A legacy token is sent as it is. A personal access token is never sent to anything but ``/api/token/refresh/``: what
    is sent is the access token from there, renewed before it ends.

    Args:
        refresh: asks Label Studio for an access token, given the personal access token.
        clock: seconds that only grow; tells when an access token has become too old.
    """

    def __init__(
        self, token: str, *, refresh: Callable[[str], Awaitable[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        token = token.strip()
        if not token.isascii() or not token.isprintable() or not token or " " in token:
            wanted = "the personal access token or the legacy token of Account & Settings, without any word before it"
            raise LabelStudioError("label_studio_refused", f"the Label Studio token is no token; give {wanted}")
        self._token = token
        self._refresh = refresh
        self._clock = clock
        self._lock = asyncio.Lock()
        self._access: str | None = None
        self._ends_at = 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kind})"

    @property
    def kind(self) -> str:
        return "personal access token" if self.is_personal else "legacy token"

    @property
    def is_personal(self) -> bool:
        return is_personal(self._token)

    async def authorization(self, *, refused: str | None = None) -> str:
        """The value of the ``Authorization`` header.

        Args:
            refused: a value given before that Label Studio has not taken; another one is fetched, if there can be one.
        """
        if not self.is_personal:
            return f"Token {self._token}"
        async with self._lock:
            if self._access is None or self._clock() >= self._ends_at or f"Bearer {self._access}" == refused:
                self._access = None
                asked_at = self._clock()
                self._access = await self._refresh(self._token)
                lives_s = _lifetime_s(self._access)
                self._ends_at = asked_at + max(lives_s - _MARGIN_S, lives_s / 2)
            return f"Bearer {self._access}"


def _lifetime_s(access: str) -> float:
    """How long an access token is taken, by its own two times: the clocks of the two machines may differ."""
    try:
        payload = access.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return max(0.0, float(claims["exp"]) - float(claims["iat"]))
    except (IndexError, KeyError, TypeError, ValueError, binascii.Error):
        return 60.0  # none that we can read; Label Studio says 401 when it is over
