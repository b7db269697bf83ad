"""Names what can go wrong between the service and a Label Studio server."""

from __future__ import annotations

from models.errors import PrelabelError


class LabelStudioError(PrelabelError):
    """Label Studio did not do what it was asked.

    Codes: label_studio_unreachable (no answer: it is down, slow or elsewhere; may be over in a moment),
    label_studio_refused (the token is not taken, or may not do this), label_studio_not_found (no such project, task …),
    label_studio_rejected (it read the request and will not have it), label_studio_failed (an error of its own; may be
    over in a moment), label_studio_bad_answer (what answers is no Label Studio, or one that speaks otherwise).
    """


class UnknownOutcomeError(LabelStudioError):
    """Something was sent that must not be sent twice, and nobody knows whether it was stored.

    Code: label_studio_unknown_outcome. Look at what Label Studio has before it is sent again.
    """

    def __init__(self, message: str, code: str = "label_studio_unknown_outcome") -> None:
        super().__init__(code, message)

    def __reduce__(self) -> tuple[type[UnknownOutcomeError], tuple[str, str]]:  # type: ignore[override]
        return type(self), (self.message, self.code)
