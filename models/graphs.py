"""Replays a part of a network as one recorded launch for each size of batch, not kernel by kernel."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn
from torch.utils import _pytree as trees

logger = logging.getLogger(__name__)

_MOST_RECORDINGS = 64  # each keeps its inputs and outputs on the device
_RUNS_BEFORE = 3  # libraries choose kernels and reserve memory in the first ones, which cannot be recorded
_recording = threading.Lock()  # a process can record one graph at a time: torch waits for the device as it begins


class Recorder(Protocol):
    """Records what ``run`` launches."""

    def __call__(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        """What launches it all again, and what it gave, which each replay overwrites."""
        ...


class Graphs:
    """Stands in for a function of tensors whose rows are items, and pads batches so that few sizes are recorded.

    torch.compile(mode="reduce-overhead") records graphs, too, but binds them to the thread that has done so, and in
    torch 2.11 it fails in threads that Python started (pytorch/pytorch#123177); an engine has one for each model. What
    is recorded here can be replayed by any thread, by one at a time.
    """

    def __init__(
        self, run: Callable[..., Any], sizes: Sequence[int], *, record: Recorder, most_numbers: float = float("inf")
    ) -> None:
        """Nothing is recorded before it is first called.

        Args:
            run: takes tensors, each with the items in its first dimension, and gives tensors in any containers, with
                the items in their first dimension, too; no row depends on another.
            sizes: numbers of items to pad to, the smallest first. More items than the last are run as they come.
            record: makes the recordings.
            most_numbers: in the first tensor, padded; with more of them, kernels take longer than their launch.
        """
        self._run, self._sizes, self._record, self._most_numbers = run, sizes, record, most_numbers
        self._recordings: dict[tuple[object, ...], _Recording | None] = {}

    def padded_rows(self, rows: int, *, numbers_each: int) -> int:
        """How many items are computed for so many."""
        return self._size_for(rows, numbers_each) or rows

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        leaves, structure = trees.tree_flatten((inputs, named))
        tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
        size = self._size_for(len(tensors[0]), tensors[0][0].numel())
        recording = None if size is None else self._recording(size, leaves, structure)
        return self._run(*inputs, **named) if recording is None else recording.replayed(tensors)

    def _size_for(self, rows: int, numbers_each: int) -> int | None:
        size = next((size for size in self._sizes if size >= rows), None)
        return size if size is not None and size * numbers_each <= self._most_numbers else None

    def _recording(self, size: int, leaves: Sequence[Any], structure: trees.TreeSpec) -> _Recording | None:
        """The one for inputs of this size and form, made now if it is new; None if it cannot be made."""
        key = (size, str(structure), *(_form(leaf) for leaf in leaves))
        if key not in self._recordings:
            has_room = len(self._recordings) < _MOST_RECORDINGS
            if not has_room:
                return None
            self._recordings[key] = self._recorded(size, leaves, structure)
        return self._recordings[key]

    def _recorded(self, size: int, leaves: Sequence[Any], structure: trees.TreeSpec) -> _Recording | None:
        own = [_padded(leaf, size) if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves]
        inputs, named = trees.tree_unflatten(own, structure)
        try:
            replay, outputs = self._record(lambda: self._run(*inputs, **named))
        except RuntimeError as err:
            logger.warning("batches of %d are run without a graph: %s", size, str(err).partition("\n")[0])
            return None
        given = [leaf for leaf in own if isinstance(leaf, torch.Tensor)]
        return _Recording(size=size, inputs=given, outputs=outputs, replay=replay)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recording:
    """A recorded launch, the tensors that it reads, and those that it writes."""

    size: int
    inputs: Sequence[torch.Tensor]
    outputs: Any
    replay: Callable[[], None]

    def replayed(self, tensors: Sequence[torch.Tensor]) -> Any:
        """The outputs for other inputs, in memory of their own. Rows beyond the inputs' hold what was there before."""
        rows = len(tensors[0])
        for own, given in zip(self.inputs, tensors, strict=True):
            own[:rows].copy_(given)
        self.replay()
        return trees.tree_map(lambda leaf: self._of_items(leaf, rows), self.outputs)

    def _of_items(self, leaf: Any, rows: int) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return (leaf[:rows] if leaf.ndim and len(leaf) == self.size else leaf).clone()


class CudaRecorder:
    """Records CUDA graphs that share their memory, because no two of them run at once."""

    def __init__(self) -> None:
        self._stream, self._pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()

    def __call__(self, run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        usual = torch.cuda.current_stream()
        self._stream.wait_stream(usual)
        with torch.cuda.stream(self._stream):
            for _ in range(_RUNS_BEFORE):
                run()
        usual.wait_stream(self._stream)
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads go on to reserve memory and copy to the device meanwhile, which "global" forbids them
            with (
                _recording,
                torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"),
            ):
                outputs = run()
        except RuntimeError:
            self._give_up(usual)
            raise
        return graph.replay, outputs

    def _give_up(self, usual: torch.cuda.Stream) -> None:
        """Undo what torch 2.11 leaves behind where a recording fails: its stream is current, its memory reserved."""
        torch.cuda.set_stream(usual)
        with suppress(RuntimeError):  # nothing is left to undo
            torch._C._cuda_endAllocateToPool(torch.cuda.current_device(), self._pool)


def are_wanted(*, asked: bool, device: str) -> bool:
    """Whether a card's option ``graphs`` means something on this device."""
    if asked and device == "cpu":
        logger.info("the option graphs changes nothing on a CPU")
    return asked and device != "cpu"


def graph_part(
    part: nn.Module,
    sizes: Sequence[int],
    *,
    record: Recorder,
    is_compiled: bool = False,
    is_any_shape: bool = False,
    most_numbers: float = float("inf"),
) -> Graphs:
    """Let a part of a network replay graphs; with ``is_compiled``, graphs of the kernels that torch.compile builds.

    The part is changed in place; it must compute in its final precision already. See Graphs, and compile_part.
    """
    run: Callable[..., Any] = part.forward
    if is_compiled:
        run = torch.compile(run, dynamic=True if is_any_shape else None)
    graphs = Graphs(run, sizes, record=record, most_numbers=most_numbers)
    part.forward = graphs
    return graphs


def _form(leaf: Any) -> object:
    return (tuple(leaf.shape[1:]), leaf.dtype) if isinstance(leaf, torch.Tensor) else leaf


def _padded(tensor: torch.Tensor, size: int) -> torch.Tensor:
    """A copy with as many rows; those that are missing repeat the last."""
    missing = size - len(tensor)
    return torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])])
