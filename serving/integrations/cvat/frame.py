"""Reads the frames of a CVAT task, as the files that they are, chunk by chunk."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

from serving.integrations.cvat.errors import CvatError
from serving.integrations.cvat.label import Label
from serving.integrations.cvat.server import CvatServer

_LARGEST_FRAME = 2**28  # bytes of a file inside a chunk; what is larger is not unpacked


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One image of a task: its number there, its name, and its file's bytes, or the problem of getting them."""

    index: int
    name: str
    data: bytes = b""
    problem: str | None = None


class TaskFrames:
    """A task's labels and frames.

    Frames that were deleted in CVAT are left out. They are read in chunks, as CVAT packs them, and the next chunk is
    on its way while one is worked on; those of a chunk that cannot be read are asked for one by one.
    """

    def __init__(self, server: CvatServer, task_id: int) -> None:
        self._server, self._task_id = server, task_id
        task = server.get(f"tasks/{task_id}")
        meta = server.get(f"tasks/{task_id}/data/meta")
        size, self._chunk = int(task.get("size") or 0), int(task.get("data_chunk_size") or 0)
        if not size:
            raise CvatError("cvat_refused", f"task {task_id} has no frames yet; upload its data first")
        self._is_images = task.get("data_original_chunk_type") == "imageset" and self._chunk > 0
        self._frames = meta["frames"]
        deleted = set(meta.get("deleted_frames") or ())
        self.indices = tuple(index for index in range(size) if index not in deleted)
        self.labels: tuple[Label, ...] = server.labels(task_id)

    def __len__(self) -> int:
        return len(self.indices)

    def name(self, index: int) -> str:
        """A frame's file name; a video has one name for all."""
        return str(self._frames[index if index < len(self._frames) else 0]["name"])

    def one(self, index: int) -> Frame:
        """A single frame.

        Raises:
            KeyError: the task has no such frame, or it was deleted.
        """
        if index not in self.indices:
            raise KeyError(index)
        return self._alone(index)

    def __iter__(self) -> Iterator[Frame]:
        """All frames in order."""
        if not self._is_images:
            yield from map(self._alone, self.indices)
            return
        chunks = [(number, list(own)) for number, own in groupby(self.indices, key=lambda i: i // self._chunk)]
        if not chunks:  # all frames were deleted
            return
        with ThreadPoolExecutor(1, thread_name_prefix="cvat-chunks") as ahead:
            coming: Future[bytes | None] = ahead.submit(self._chunk_bytes, chunks[0][0])
            for place, (number, indices) in enumerate(chunks):
                data = coming.result()
                if place + 1 < len(chunks):
                    coming = ahead.submit(self._chunk_bytes, chunks[place + 1][0])
                yield from self._unpacked(data, number, indices)

    def _chunk_bytes(self, number: int) -> bytes | None:
        try:
            return self._server.get_bytes(
                f"tasks/{self._task_id}/data", {"type": "chunk", "number": number, "quality": "original"}
            )
        except CvatError as err:
            if err.status is None:
                raise
            return None  # this one cannot be had

    def _unpacked(self, data: bytes | None, number: int, indices: list[int]) -> Iterator[Frame]:
        try:
            with zipfile.ZipFile(io.BytesIO(data or b"")) as chunk:
                members = chunk.infolist()
                for index in indices:
                    yield self._member(chunk, members, index - number * self._chunk, index)
        except zipfile.BadZipFile:
            yield from map(self._alone, indices)

    def _member(self, chunk: zipfile.ZipFile, members: list[zipfile.ZipInfo], place: int, index: int) -> Frame:
        if place >= len(members) or members[place].file_size > _LARGEST_FRAME:
            return self._alone(index)
        try:
            return Frame(index=index, name=self.name(index), data=chunk.read(members[place]))
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
            return self._alone(index)

    def _alone(self, index: int) -> Frame:
        name = self.name(index)
        try:
            params = {"type": "frame", "number": index, "quality": "original"}
            return Frame(index=index, name=name, data=self._server.get_bytes(f"tasks/{self._task_id}/data", params))
        except CvatError as err:
            if err.status is None:
                raise
            return Frame(index=index, name=name, problem=f"CVAT does not give it: status {err.status}")
