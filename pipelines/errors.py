"""Names what can go wrong between prelabel and those who use its store and queues."""

from __future__ import annotations

from models.errors import PrelabelError


class NotFoundError(PrelabelError):
    """There is no such run, task or queue entry. Code: not_found."""

    def __init__(self, code: str = "not_found", message: str = "not found") -> None:
        super().__init__(code, message)


class ConflictError(PrelabelError):
    """Somebody or the clock was faster; nothing was changed.

    Codes: stale_lease (the lease ran out or the task was served again), key_reused (the idempotency key already
    came with another task or another answer, or the answer of a platform with another pre-label); of runs: run_exists,
    run_is_held, run_not_over, taken_over; of policies: round_taken, promise_broken.
    """


class InvalidRequestError(PrelabelError):
    """A caller's value cannot be used. Codes: invalid_annotations, invalid_argument, invalid_request."""


class StoreUnavailableError(PrelabelError):
    """The database does not answer. Code: store_unavailable.

    What was being done is not stored, unless the database went away in the very moment of a commit.
    """

    def __init__(
        self,
        code: str = "store_unavailable",
        message: str = "the store does not answer, and most likely nothing of this call was kept; try again later",
    ) -> None:
        super().__init__(code, message)
