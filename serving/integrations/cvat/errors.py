"""Names what can go wrong between prelabel and a CVAT server."""

from __future__ import annotations

from models.errors import PrelabelError


class CvatError(PrelabelError):
    """CVAT did not do what was asked of it.

    Codes: cvat_unreachable (no answer), cvat_refused (an answer with an error's status), cvat_unreadable (an answer
    that is not what its API promises). ``status`` is the HTTP status, if there was one.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(code, message)
        self.status = status

    def __reduce__(self) -> tuple[type[CvatError], tuple[str, str, int | None]]:  # type: ignore[override]
        return type(self), (self.code, self.message, self.status)


class BadAnnotationRequestError(PrelabelError):
    """What CVAT asks an agent for cannot be done; the message is fit to be shown to whoever asked.

    Codes: bad_annotation_request, unknown_kind.
    """
