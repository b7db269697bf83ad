"""Gives a route the service that it belongs to."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from serving.service import Service


async def _service(request: Request) -> Service:  # a plain function would be called in a thread, for every request
    return request.app.state.service


ServiceOf = Annotated[Service, Depends(_service)]
