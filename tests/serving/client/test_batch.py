"""Tests how items are grouped into calls."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.prelabel import Request
from serving.client.batch import batches, halves, size_of
from tests.serving.client.builders import a_request, texts

SIZES = st.lists(st.integers(0, 3_000), max_size=40)


@given(sizes=SIZES, items=st.integers(1, 5), size_bytes=st.integers(1, 5_000))
def test_batches_hold_all_items_in_order_and_are_no_larger_than_they_may_be(
    sizes: list[int], items: int, size_bytes: int
) -> None:
    requests = [a_request(f"i{n}", data=bytes(size)) for n, size in enumerate(sizes)]

    found = list(batches(requests, items=items, size_bytes=size_bytes))

    assert [request for batch in found for request in batch] == requests
    assert all(0 < len(batch) <= items for batch in found)
    assert all(len(batch) == 1 or sum(map(size_of, batch)) <= size_bytes for batch in found)


@given(sizes=SIZES, items=st.integers(1, 5), size_bytes=st.integers(1, 5_000))
def test_no_batch_could_take_the_first_item_of_the_next(sizes: list[int], items: int, size_bytes: int) -> None:
    requests = [a_request(f"i{n}", data=bytes(size)) for n, size in enumerate(sizes)]

    found = list(batches(requests, items=items, size_bytes=size_bytes))

    for one, other in pairwise(found):
        assert len(one) == items or sum(map(size_of, (*one, other[0]))) > size_bytes


def test_no_more_is_read_than_one_item_beyond_the_batch() -> None:
    read = list[str]()

    def drop() -> Iterator[Request]:
        for request in texts(1_000):
            read.append(request.item.id)
            yield request

    next(batches(drop(), items=3, size_bytes=10**6))

    assert len(read) == 4


@given(st.integers(2, 9))
def test_both_halves_of_a_batch_have_something_of_it(count: int) -> None:
    batch = tuple(texts(count))

    one, other = halves(batch)

    assert (*one, *other) == batch
    assert one and other
