from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from serving.doctor import Finding
from serving.integrations.label_studio.api import LabelStudio
from serving.integrations.label_studio.doctor import Parts, examine
from serving.integrations.label_studio.reach import OurBackend

TOKEN = "0123456789abcdef0123456789abcdef01234567"


async def findings(headers: Mapping[str, str]) -> list[Finding]:
    """What is found at a Label Studio that takes no token, behind something that names itself."""

    def answer(request: httpx.Request) -> httpx.Response:
        answers: Mapping[str, httpx.Response] = {
            "/api/version": httpx.Response(200, json={"release": "1.23.2"}),
            "/health": httpx.Response(200, json={"status": "UP"}, headers=headers),
        }
        return answers.get(request.url.path, httpx.Response(401, json={"detail": "Invalid token."}))

    async def fetch(task: Any) -> None:
        raise AssertionError("nothing is to be fetched without a token")

    parts = Parts(unservable=lambda project: (), fetch=fetch)
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        server = LabelStudio("http://label-studio", token=TOKEN, client=client)
        return await examine(server, 1, backend=OurBackend(url="http://ours"), parts=parts, client=client)


@pytest.mark.parametrize("headers", [{"Server": "nginx/1.27.0"}, {"Via": "1.1 varnish, 1.1 nginx"}])
async def test_a_proxy_that_may_cut_long_calls_is_told(headers: Mapping[str, str]) -> None:
    [found] = [finding for finding in await findings(headers) if finding.subject == "time-outs"]

    assert found.state == "note"
    assert "nginx" in found.text
    assert "let it wait 120 s" in found.text


async def test_no_word_of_time_outs_where_no_proxy_names_itself() -> None:
    assert "time-outs" not in {finding.subject for finding in await findings({"Server": "uWSGI"})}


async def test_without_a_token_nothing_else_is_looked_at() -> None:
    found = await findings({})

    assert [(finding.subject, finding.state) for finding in found] == [("Label Studio", "ok"), ("token", "bad")]
    assert TOKEN not in str(found)
