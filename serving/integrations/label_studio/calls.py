"""Sends single calls to a Label Studio server, again where that is safe, and says what went wrong."""

from __future__ import annotations

import http.cookiejar
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import httpx
import orjson
import stamina

from serving.integrations.label_studio.errors import LabelStudioError, UnknownOutcomeError
from serving.integrations.label_studio.tokens import Token

_TIMEOUTS = httpx.Timeout(120.0, connect=10.0)
_BUSY = 429
_UNCERTAIN = frozenset({500, 502, 503, 504})
_MAX_WAIT_S = 30.0
_MAX_DETAIL = 400


class _PassingError(Exception):
    """A failure after which the same call may be sent again; ``room_in_s`` is what the server asked for."""

    def __init__(self, error: LabelStudioError, room_in_s: float | None = None) -> None:
        super().__init__(error.message)
        self.error = error
        self.room_in_s = room_in_s


def client() -> httpx.AsyncClient:
    """A client without proxies or anything of the environment, and without cookies: those bring CSRF checks."""
    no_cookies = http.cookiejar.CookieJar(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
    return httpx.AsyncClient(timeout=_TIMEOUTS, cookies=no_cookies, trust_env=False, follow_redirects=False)


class Calls:
    """Calls of one server by one token.

    A call that only reads, or that does nothing more when it is repeated, is sent again after a dropped connection,
    429, 500, 502, 503 and 504: ``attempts`` times in all, with waits that double and are spread, or that the server
    names (``Retry-After``, at most 30 s). Any other call is sent again only when it was certainly not carried out: the
    server could not be reached, or said 401 (once) or 429. Redirects are not followed: the token would go where they
    lead.

    Args:
        url: where Label Studio is, with the path it is under, if any; a slash at its end or none.
        wait_s: the first wait.
    """

    def __init__(
        self, url: str, *, token: str, http_client: httpx.AsyncClient, attempts: int = 4, wait_s: float = 0.5
    ) -> None:
        self.url = base_url(url)
        self.token = Token(token, refresh=self._refresh)
        self._client = http_client
        self._attempts = attempts
        self._wait_s = wait_s

    async def get(self, path: str, **params: Any) -> Any:
        """What a path below the server's URL answers, as JSON."""
        return await self.send("GET", path, params=params, is_repeatable=True)

    async def send(
        self,
        method: str,
        path: str,
        *,
        is_repeatable: bool,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Send a call; its JSON, None where the answer has no content.

        Raises:
            LabelStudioError: it was not done.
            UnknownOutcomeError: it may have been done, and must not be sent again blindly.
        """
        content = None if body is None else orjson.dumps(body)
        request = self._client.build_request(
            method,
            self.url + path,
            params={name: value for name, value in (params or {}).items() if value is not None},
            content=content,
            headers={"Accept": "application/json", **({"Content-Type": "application/json"} if content else {})},
            timeout=httpx.Timeout(timeout_s, connect=10.0) if timeout_s else httpx.USE_CLIENT_DEFAULT,
        )
        try:
            async for attempt in self._retries():
                with attempt:
                    return _parsed(await self._authorized(request, is_repeatable=is_repeatable), self.url)
        except _PassingError as err:
            raise err.error from err.__cause__
        raise AssertionError("stamina ends with a result or an exception")

    def _retries(self) -> Any:
        def backoff(err: Exception) -> bool | timedelta:
            if not isinstance(err, _PassingError):
                return False
            return True if err.room_in_s is None else timedelta(seconds=err.room_in_s)

        wait_s = self._wait_s
        return stamina.retry_context(
            on=backoff,
            attempts=self._attempts,
            timeout=None,
            wait_initial=wait_s,
            wait_jitter=wait_s,
            wait_max=_MAX_WAIT_S,
        )

    async def _authorized(self, request: httpx.Request, *, is_repeatable: bool) -> httpx.Response:
        """Send with the token; a second time when an access token has gone out of date on the way."""
        authorization = await self.token.authorization()
        response = await self._once(request, authorization, is_repeatable=is_repeatable)
        if response.status_code == 401 and self.token.is_personal:
            authorization = await self.token.authorization(refused=authorization)
            response = await self._once(request, authorization, is_repeatable=is_repeatable)
        _check(response, self.url, self.token, is_repeatable=is_repeatable)
        return response

    async def _once(self, request: httpx.Request, authorization: str, *, is_repeatable: bool) -> httpx.Response:
        request.headers["Authorization"] = authorization
        return await self._answer(request, is_repeatable=is_repeatable)

    async def _answer(self, request: httpx.Request, *, is_repeatable: bool) -> httpx.Response:
        try:
            return await self._client.send(request, auth=None, follow_redirects=False)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as err:
            reason = f"{str(err) or type(err).__name__}; is it up, and the URL right?"
            error = LabelStudioError("label_studio_unreachable", f"cannot connect to {self.url}: {reason}")
            raise _PassingError(error) from err
        except httpx.TransportError as err:
            what = "did not answer in time" if isinstance(err, httpx.TimeoutException) else "dropped the connection"
            if not is_repeatable:
                raise UnknownOutcomeError(_unknown(request, f"{self.url} {what}")) from err
            message = f"Label Studio at {self.url} {what}; try again later"
            raise _PassingError(LabelStudioError("label_studio_unreachable", message)) from err

    async def _refresh(self, personal: str) -> str:
        """An access token for a personal access token.

        Asking twice does no harm: Label Studio 1.23 gives another one and leaves the first.
        """
        content = orjson.dumps({"refresh": personal})
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        request = self._client.build_request("POST", self.url + "/api/token/refresh/", content=content, headers=headers)
        response = await self._answer(request, is_repeatable=True)
        _check(response, self.url, self.token, is_repeatable=True)
        answer = _parsed(response, self.url)
        if not isinstance(answer, dict) or not isinstance(answer.get("access"), str):
            raise _no_label_studio(self.url, "the answer to a token has no access token")
        return answer["access"]


def base_url(url: str) -> str:
    """A server's URL without user, query and the slash at its end.

    Raises:
        LabelStudioError: it is not an http or https URL.
    """
    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, ValueError) as err:
        raise LabelStudioError("label_studio_unreachable", f"the URL of Label Studio cannot be read: {err}") from err
    if parsed.scheme not in ("http", "https") or not parsed.host:
        got = parsed.copy_with(userinfo=b"")
        message = f"the URL of Label Studio has to begin with http:// or https:// and a host; got {got}"
        raise LabelStudioError("label_studio_unreachable", message)
    return str(parsed.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")


def _check(response: httpx.Response, url: str, token: Token, *, is_repeatable: bool) -> None:
    status = response.status_code
    if status < 300:
        return
    where = f"{response.request.method} {response.request.url.path}"
    if status < 400:
        target = httpx.URL(response.headers.get("location", "/"))
        to = f"{target.scheme}://{target.netloc.decode()}{target.path}" if target.host else target.path
        advice = "which is not followed; give the URL under which Label Studio answers itself"
        raise LabelStudioError("label_studio_bad_answer", f"{url} redirects {where} to {to}, {advice}")
    detail = _detail(response)
    if status in (401, 403):
        message = f"Label Studio at {url} refused the {token.kind} for {where} ({status}): {detail}"
        raise LabelStudioError("label_studio_refused", message)
    if status == 404:
        message = f"Label Studio at {url} knows no {response.request.url.path}: {detail}"
        raise LabelStudioError("label_studio_not_found", message)
    if status == _BUSY:
        error = LabelStudioError(
            "label_studio_failed", f"Label Studio at {url} takes no more calls now (429); try later"
        )
        raise _PassingError(error, _room_in_s(response))
    if status in _UNCERTAIN:
        if not is_repeatable:
            raise UnknownOutcomeError(_unknown(response.request, f"{url} answered {status} ({detail})"))
        error = LabelStudioError("label_studio_failed", f"Label Studio at {url} failed at {where} ({status}): {detail}")
        raise _PassingError(error, _room_in_s(response))
    advice = "; send less at a time" if status == 413 else ""
    message = f"Label Studio at {url} will not have {where} ({status}): {detail}{advice}"
    raise LabelStudioError("label_studio_rejected", message)


def _parsed(response: httpx.Response, url: str) -> Any:
    if not response.content:
        return None
    try:
        return orjson.loads(response.content)
    except ValueError:
        pass
    try:
        return json.loads(response.content)  # which takes the lone surrogates that Label Studio keeps in texts
    except ValueError as err:
        kind = response.headers.get("content-type", "nothing known").partition(";")[0]
        raise _no_label_studio(url, f"{response.request.url.path} is {kind}, not JSON") from err


def _no_label_studio(url: str, reason: str) -> LabelStudioError:
    advice = "give its URL with the path it is under, such as https://host/label-studio"
    return LabelStudioError("label_studio_bad_answer", f"no Label Studio answers at {url} ({reason}); {advice}")


def _unknown(request: httpx.Request, what: str) -> str:
    return (
        f"nobody knows whether {request.method} {request.url.path} was carried out: Label Studio at {what}; "
        "look at what it has before this is sent again"
    )


def _detail(response: httpx.Response) -> str:
    """What a refusal says of itself, short; a page made for people says nothing."""
    try:
        answer = orjson.loads(response.content)
    except ValueError:
        return "no reason given"
    if not isinstance(answer, dict):
        return _shortened(str(answer))
    said = [str(answer.get("detail") or answer.get("message") or answer.get("error") or "").strip()]
    errors = answer.get("validation_errors")
    for name, texts in errors.items() if isinstance(errors, dict) else ():
        said.append(f"{name}: {' '.join(map(str, texts)) if isinstance(texts, list) else texts}")
    return _shortened("; ".join(filter(None, said))) or "no reason given"


def _shortened(text: str) -> str:
    """The beginning and the end: Label Studio puts what it was given before what is wrong with it."""
    half = _MAX_DETAIL // 2
    return text if len(text) <= _MAX_DETAIL else f"{text[:half]} … {text[-half:]}"


def _room_in_s(response: httpx.Response) -> float | None:
    """What ``Retry-After`` says, in seconds; None where it says nothing or a date."""
    text = response.headers.get("retry-after", "")
    return min(float(text), _MAX_WAIT_S) if text.isdigit() else None
