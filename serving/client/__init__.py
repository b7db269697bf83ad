"""Calls a running service from Python: ``Client`` from ordinary code, ``AsyncClient`` from a coroutine."""

from serving.client.asynchronous import AsyncClient
from serving.client.claimed import ClaimedTask
from serving.client.errors import AnswerError, ServiceError, UnreachableError
from serving.client.synchronous import Client
from serving.client.tally import Tally

__all__ = [
    "AnswerError",
    "AsyncClient",
    "ClaimedTask",
    "Client",
    "ServiceError",
    "Tally",
    "UnreachableError",
]
