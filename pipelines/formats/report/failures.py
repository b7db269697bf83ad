"""Says what a run failed on: every code with its items, what it means, and whether they will be tried again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipelines.store.values import ErrorCount

# Codes are stable: models/errors.py names those of items and models, the others come from the drop and the store.
MEANINGS = {
    "blocked_url": "The address is one that prelabel must not open.",
    "device_lost": "The model's device, such as a GPU, stopped working.",
    "fetch_failed": "The file could not be fetched.",
    "internal": "The service itself went wrong; its log says how.",
    "invalid_entry": "The drop's list does not say what to label here.",
    "invalid_item": "What was sent does not make one item.",
    "invalid_prediction": "What the model said cannot be stored.",
    "invalid_prompt": "A box or a point that came with the item cannot be used on its image.",
    "invalid_text": "The file is not text in UTF-8.",
    "model_failed": "The model could not work on this item.",
    "model_stopped": "The model is not running any more.",
    "not_found": "There is no such file, or nothing at this address.",
    "empty": "The file or the text has nothing in it.",
    "changed": "The file became another one while it was read.",
    "not_ready": "The model or the store did not answer yet.",
    "out_of_memory": "This item alone does not fit into the device's memory.",
    "overloaded": "Too much was waiting for the model already.",
    "repeated_id": "Another item of the drop came first with the same id.",
    "reused_id": "Its id already names another item of the run.",
    "timeout": "It was not done in the time that it may take.",
    "too_large": "The item is larger than the limits allow.",
    "unknown_model": "The model that the task needs is not deployed.",
    "unknown_task": "The task is not deployed.",
    "unreachable": "Its server or store did not answer.",
    "unreadable_audio": "The recording is damaged, or in a format that is not taken.",
    "unreadable_folder": "The folder could not be opened, so nothing in it is labelled.",
    "unreadable_image": "The image is damaged, or in a format that is not taken.",
    "worker_lost": "The process that worked on the item has died.",
    "wrong_media": "The file is of another kind than the task takes, such as a recording in place of an image.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """The items that failed with a code. ``meaning`` is "" for an unknown code.

    ``retrying`` of them will be tried again; None where nobody knows.
    """

    code: str
    items: int
    meaning: str
    retrying: int | None


def failure_rows(counted: Mapping[str, int], given: Sequence[ErrorCount]) -> list[FailureRow]:
    """The codes, the most frequent first: the numbers given, and those counted for codes that they leave out."""
    retrying = {error.code: error.retrying for error in given}
    items = {**counted, **{error.code: error.items for error in given}}
    return [
        FailureRow(code=code, items=items[code], meaning=MEANINGS.get(code, ""), retrying=retrying.get(code))
        for code in sorted(items, key=lambda code: (-items[code], code))
        if items[code]
    ]
