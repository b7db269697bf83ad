"""Names what can go wrong when a calibration is fitted."""

from __future__ import annotations

from models.errors import PrelabelError


class TooFewLabelsError(PrelabelError):
    """There are not enough human answers to fit a calibration. Code: too_few_labels.

    ``missing`` is how many more are wanted at least: of any kind, or of the kind that is rare.
    """

    def __init__(self, code: str = "too_few_labels", message: str = "too few labels", missing: int = 0) -> None:
        super().__init__(code, message)
        self.missing = missing

    def __reduce__(self) -> tuple[type[TooFewLabelsError], tuple[str, str, int]]:  # type: ignore[override]
        return type(self), (self.code, self.message, self.missing)
