"""Checks that features are kept within their bytes, and that what was asked for longest ago goes first."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from models.kept_features import KeptFeatures

EACH = 4 * 16  # bytes of what ``a_tensor`` makes


def a_tensor(value: float = 0.0) -> torch.Tensor:
    return torch.full((16,), value)


def keeping(*digests: str, most: int = 3) -> KeptFeatures:
    kept = KeptFeatures(max_bytes=most * EACH)
    for digest in digests:
        kept.keep(digest, a_tensor(), size_hw=(1, 2))
    return kept


def known(kept: KeptFeatures, digests: str) -> str:
    return "".join(digest for digest in digests if kept.find(digest) is not None)


def test_features_come_back_with_the_size_of_their_image() -> None:
    kept = KeptFeatures(max_bytes=EACH)

    kept.keep("a", a_tensor(7.0), size_hw=(30, 40))

    found = kept.find("a")
    assert found is not None
    assert (found.tensor.tolist(), found.size_hw) == ([7.0] * 16, (30, 40))


def test_what_was_asked_for_longest_ago_goes() -> None:
    kept = keeping("a", "b", "c")
    kept.find("a")

    kept.keep("d", a_tensor(), size_hw=(1, 2))

    assert known(kept, "abcd") == "acd"
    assert kept.nbytes == 3 * EACH


def test_a_larger_one_takes_the_place_of_several() -> None:
    kept = keeping("a", "b", "c")

    kept.keep("d", torch.zeros(32), size_hw=(1, 2))

    assert known(kept, "abcd") == "cd"
    assert kept.nbytes == 3 * EACH


def test_the_same_image_is_kept_once() -> None:
    kept = keeping("a", "b", "a", "a", "a")

    assert (known(kept, "ab"), kept.nbytes) == ("ab", 2 * EACH)


@pytest.mark.parametrize("most", [0, 1])
def test_what_is_larger_than_all_the_room_is_not_kept_and_pushes_nothing_out(most: int) -> None:
    kept = keeping(*("a" * most), most=most)

    kept.keep("b", torch.zeros(17), size_hw=(1, 2))

    assert (known(kept, "ab"), kept.nbytes) == ("a" * most, most * EACH)


def test_an_image_without_a_digest_is_not_kept() -> None:
    kept = KeptFeatures(max_bytes=EACH)

    kept.keep(None, a_tensor(), size_hw=(1, 2))

    assert (kept.find(None), kept.nbytes) == (None, 0)


def test_a_row_of_a_batch_is_kept_without_the_rest_of_its_memory_and_as_it_was() -> None:
    kept, batch = KeptFeatures(max_bytes=EACH), torch.zeros((8, 16))
    kept.keep("a", batch[3], size_hw=(1, 2))

    batch += 1.0

    found = kept.find("a")
    assert found is not None
    assert found.tensor.untyped_storage().nbytes() == EACH
    assert not found.tensor.any()


def test_features_that_somebody_has_outlive_their_place() -> None:
    kept = keeping("a", most=1)
    held = kept.find("a")

    kept.clear()

    assert held is not None
    assert held.tensor.shape == (16,)
    assert (kept.find("a"), kept.nbytes) == (None, 0)


def test_many_threads_find_each_image_its_own_and_stay_within_the_bytes() -> None:
    kept, most = KeptFeatures(max_bytes=5 * EACH), list[int]()

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(2_000):
            number = rng.randrange(9)
            if (found := kept.find(str(number))) is None:
                kept.keep(str(number), a_tensor(float(number)), size_hw=(number, number))
            else:
                assert (found.tensor[0].item(), found.size_hw) == (number, (number, number))
            most.append(kept.nbytes)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(8)))

    left = known(kept, "012345678")
    assert max(most) == 5 * EACH == kept.nbytes
    assert len(left) == 5
