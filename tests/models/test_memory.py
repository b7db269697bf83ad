"""Checks that the peak of a call is its own."""

from __future__ import annotations

import mmap

from models.memory import ResidentMemory

MIB = 2**20


def fill(mib: int) -> None:
    """Take fresh pages from the kernel and give them back, which an allocator with a free block would not."""
    with mmap.mmap(-1, mib * MIB) as pages:
        for start in range(0, len(pages), mmap.PAGESIZE):
            pages[start] = 1


def test_memory_that_a_call_gives_back_counts_in_its_peak() -> None:
    gauge = ResidentMemory()

    before = gauge.in_use()

    assert gauge.peak(lambda: fill(200)) >= before + 190 * MIB
    assert gauge.in_use() < before + 100 * MIB


def test_a_call_does_not_pay_for_the_one_before_it() -> None:
    gauge = ResidentMemory()
    large = gauge.peak(lambda: fill(200))

    assert gauge.peak(lambda: fill(1)) < large - 100 * MIB
