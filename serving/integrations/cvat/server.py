"""Calls CVAT's REST API, again where it makes sense, and never tells a token to anybody else.

Reference: cvat_sdk 2.80 (core/client.py, api_client/rest.py), cvat_cli 2.80 (_internal/agent.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from types import TracebackType
from typing import Any, Self

import httpx

from serving.client.address import checked_url, checked_value
from serving.integrations.cvat.errors import CvatError
from serving.integrations.cvat.label import Label, read_labels
from serving.integrations.cvat.pause import Pauses

_AGAIN = frozenset({429, 500, 502, 503, 504})
_SHOWN = 200  # characters of what CVAT says


class CvatServer:
    """One CVAT server and the account that calls it.

    Calls that fail for a while (no answer, 429, 5xx) are repeated up to ``attempts`` times, after what ``Retry-After``
    says or after growing pauses.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        user: tuple[str, str] | None = None,
        organization: str | None = None,
        attempts: int = 4,
        pauses: Pauses | None = None,
        sleep: Callable[[float], object] = time.sleep,
        timeout_s: float = 60.0,
    ) -> None:
        """Prepares; calls nothing.

        Args:
            token: a personal access token.
            user: a name and a password, where there is no token.
            organization: the short name of the organization to work in; "" for the personal workspace.

        Raises:
            ConfigError: the address, the token or the organization is none that a call could be made with.
        """
        headers = {"User-Agent": "prelabel"}
        if token:
            headers["Authorization"] = f"Bearer {checked_value(token, name='token')}"
        if organization is not None:
            headers["X-Organization"] = checked_value(organization, name="organization")
        self.url = checked_url(url if "://" in url else f"https://{url}")
        self._attempts, self._pauses, self._sleep = attempts, pauses or Pauses(), sleep
        self._client = httpx.Client(
            base_url=self.url,
            headers=headers,
            auth=user if user and not token else None,
            timeout=httpx.Timeout(timeout_s, connect=10.0),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, params: Mapping[str, str | int] | None = None) -> Any:
        """The JSON at a path below /api."""
        return _json(self._call("GET", path, params=params))

    def get_bytes(self, path: str, params: Mapping[str, str | int] | None = None) -> bytes:
        return self._call("GET", path, params=params).content

    def send(self, method: str, path: str, body: object, *, attempts: int | None = None) -> Any:
        """The JSON that a call with a body is answered with; None for an empty answer.

        Args:
            attempts: how often it is tried; as for all calls unless given. A call that would do harm when it is done
                twice takes 1.
        """
        response = self._call(method, path, body=body, attempts=attempts)
        return _json(response) if response.content else None

    def labels(self, task_id: int) -> tuple[Label, ...]:
        """A task's labels, its project's where it belongs to one."""
        found, page = list[Any](), 1
        while True:
            answer = self.get("labels", {"task_id": task_id, "page": page})
            found += answer["results"]
            if not answer.get("next"):
                return read_labels(found)
            page += 1

    @contextmanager
    def events(self, path: str, *, silence_s: float | None) -> Iterator[Iterator[str]]:
        """The lines of a stream of server-sent events.

        Args:
            silence_s: how long the server may say nothing before the stream counts as lost; None for ever.

        Raises:
            CvatError: it is not there, or broke off.
        """
        timeout = httpx.Timeout(10.0, read=silence_s)
        try:
            with self._client.stream("GET", f"/api/{path}", timeout=timeout) as response:
                if response.is_error:
                    response.read()
                    raise _refused(response)
                yield response.iter_lines()
        except httpx.TransportError as err:
            raise _unreachable(self.url, err) from err

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
        attempts: int | None = None,
    ) -> httpx.Response:
        last = (attempts or self._attempts) - 1
        for attempt in count():
            response, problem = self._once(method, path, params, body)
            if problem is None and response is not None:
                return response
            is_final = response is not None and response.status_code not in _AGAIN
            if problem is not None and (is_final or attempt >= last):
                raise problem
            retry_after = None if response is None else response.headers.get("Retry-After")
            self._sleep(self._pauses.seconds(attempt, retry_after=retry_after))
        raise AssertionError("attempts have no end")

    def _once(
        self, method: str, path: str, params: Mapping[str, str | int] | None, body: object
    ) -> tuple[httpx.Response | None, CvatError | None]:
        """The answer, if there is one, and what is wrong with it or with there being none."""
        try:
            response = self._client.request(method, f"/api/{path}", params=params, json=body)
        except httpx.TransportError as err:
            problem = _unreachable(self.url, err)
            problem.__cause__ = err
            return None, problem
        return response, _refused(response) if response.is_error else None


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError as err:
        message = f"{response.request.url.path} is answered with something that is not JSON; is this a CVAT server?"
        raise CvatError("cvat_unreadable", message, response.status_code) from err


def _refused(response: httpx.Response) -> CvatError:
    said = " ".join(response.text[:_SHOWN].split())
    message = f"CVAT answers {response.status_code} to {response.request.method} {response.request.url.path}: {said}"
    return CvatError("cvat_refused", message, response.status_code)


def _unreachable(url: str, err: httpx.TransportError) -> CvatError:
    return CvatError("cvat_unreachable", f"CVAT at {url} does not answer ({type(err).__name__}); check that it runs")
