"""Groups items into calls that are small enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipelines.prelabel import Request

Batch = tuple[Request, ...]

_OVERHEAD_BYTES = 512  # of an item beside its content, about


def batches(requests: Iterable[Request], *, items: int, size_bytes: int) -> Iterator[Batch]:
    """The requests in order, in batches of at most so many items and bytes; one that is larger goes alone.

    No more of the requests is asked for than the next batch and one beyond it.
    """
    batch, size = list[Request](), 0
    for request in requests:
        own = size_of(request)
        if batch and (len(batch) >= items or size + own > size_bytes):
            yield tuple(batch)
            batch, size = [], 0
        batch.append(request)
        size += own
    if batch:
        yield tuple(batch)


def halves(batch: Batch) -> tuple[Batch, Batch]:
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def size_of(request: Request) -> int:
    """About how many bytes of a call an item takes; a text as JSON has up to four for a character."""
    item = request.item
    return _OVERHEAD_BYTES + len(item.data or b"") + len((item.text or "").encode("utf-8", "surrogatepass"))
