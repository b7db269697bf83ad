"""Names what can go wrong between a client and the service."""

from __future__ import annotations

from models.errors import PrelabelError


class UnreachableError(PrelabelError):
    """The service did not answer, or not whole. Codes: unreachable, timeout (the client's own time was over)."""


class AnswerError(PrelabelError):
    """What answered does not speak the service's language. Code: bad_answer."""


class ServiceError(PrelabelError):
    """The service refused a call, or failed on it; the code and the message are its own.

    Codes that have an error of their own come as that: OverloadedError, NotFoundError, ConflictError,
    InvalidRequestError, StoreUnavailableError.
    """
