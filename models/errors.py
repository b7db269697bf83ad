"""Names everything that can go wrong with an item or a model."""

from __future__ import annotations


class PrelabelError(Exception):
    """Root of all expected failures.

    ``code`` is stable and machine-readable; the message says what was got, what was wanted and what to do.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type[PrelabelError], tuple[str, str]]:
        return type(self), (self.code, self.message)


class ItemError(PrelabelError):
    """This item cannot be labelled; the others of its batch are untouched.

    Codes: unreadable_image, unreadable_audio, invalid_text, too_large, blocked_url, not_found, empty (it has no bytes),
    changed (it became another one while it was read), fetch_failed, unreachable (its server or store did not answer,
    which may be over in a moment), timeout, wrong_media, invalid_prompt, model_failed, out_of_memory, device_lost,
    worker_lost; and from listing a drop: invalid_entry (it does not say what to label), unreadable_folder.
    """


class ModelError(PrelabelError):
    """A model cannot be built or run.

    Codes: unknown_model, bad_card, missing_weights, unsafe_weights, changed_weights, no_accelerator, model_stopped,
    warm_up_failed, profile_failed.
    """


class OverloadedError(PrelabelError):
    """The queue in front of a model is full. Code: overloaded.

    ``room_in_s`` is how long it will likely take until there is room; None where nobody knows.
    """

    def __init__(
        self,
        code: str = "overloaded",
        message: str = "the model's queue is full; try again later",
        room_in_s: float | None = None,
    ) -> None:
        super().__init__(code, message)
        self.room_in_s = room_in_s

    def __reduce__(self) -> tuple[type[OverloadedError], tuple[str, str, float | None]]:  # type: ignore[override]
        return type(self), (self.code, self.message, self.room_in_s)


class ConfigError(PrelabelError):
    """The configuration cannot be used. Code: bad_config."""

    def __init__(self, message: str, code: str = "bad_config") -> None:
        super().__init__(code, message)

    def __reduce__(self) -> tuple[type[ConfigError], tuple[str, str]]:  # type: ignore[override]
        return type(self), (self.message, self.code)
