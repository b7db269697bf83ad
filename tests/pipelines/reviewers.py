"""Is a process of eight reviewers who empty a queue: ``python -m tests.pipelines.reviewers URL NAME LEASE_S``.

It says "ready", waits for a line, then says one line for each answer that the store took.
"""

from __future__ import annotations

import asyncio
import sys

from pipelines.errors import ConflictError
from pipelines.review import ReviewQueue
from pipelines.store.store import Store

REVIEWERS = 8


async def main(url: str, name: str, lease_s: float) -> None:
    async with Store.open(url) as store:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        async with asyncio.timeout(300), asyncio.TaskGroup() as group:
            for number in range(REVIEWERS):
                group.create_task(_review(store, f"{name}-{number}", lease_s))


async def _review(store: Store, reviewer: str, lease_s: float) -> None:
    queue = ReviewQueue(store)
    while await _is_anything_open(store):
        for task in await queue.claim("boxes", reviewer=reviewer, n=4, lease_s=lease_s):
            try:
                await queue.submit(task.id, task.attempt, reviewer=reviewer, annotations=[])
            except ConflictError:
                continue
            print(task.id, flush=True)


async def _is_anything_open(store: Store) -> bool:
    return any(queue.pending or queue.leased for queue in await store.queues())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
