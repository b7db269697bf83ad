"""Brings a tensor to the device while the network still computes the batch before."""

from __future__ import annotations

import functools

import torch

# Ahead of its batch, an image takes up memory of the device that the network might want. Prepared items number at most
# four batches (two for each priority), so a larger one is copied only when its batch runs.
_MOST_BYTES_AHEAD = 16 * 2**20


class Upload:
    """A tensor in the CPU's memory, and its copy on the device, which is on its way already.

    A CUDA device is given the copy on a stream of its own, out of pinned memory, so that it runs beside a network.
    ``take`` hands the copy out once and forgets it: nothing on the device outlives the forward pass, and an item that
    is dropped before it leaves nothing there either. A batch that is run again after a failure is copied again.
    """

    def __init__(self, tensor: torch.Tensor, *, device: str) -> None:
        """Start the copy; where the device has no room for it, the tensor waits in pinned memory for ``take``.

        Args:
            tensor: in the CPU's memory, of any shape; must not be changed any more.
            device: "cuda", or "cpu", for which nothing is copied.
        """
        self._device = device
        self.on_host = tensor if device == "cpu" else tensor.contiguous().pin_memory()
        self._ahead = None if device == "cpu" else _copied_ahead(self.on_host, device)

    @property
    def is_ahead(self) -> bool:
        """Whether a copy is on the device, or on its way, that nobody has taken yet."""
        return self._ahead is not None

    def take(self) -> torch.Tensor:
        """The tensor on the device, for work on the current stream."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return self.on_host.to(self._device, non_blocking=True)
        tensor, has_arrived = ahead
        stream = torch.cuda.current_stream()
        stream.wait_event(has_arrived)
        tensor.record_stream(stream)  # its memory may be used again when this stream has done with it, not before
        return tensor


def _copied_ahead(pinned: torch.Tensor, device: str) -> tuple[torch.Tensor, torch.cuda.Event] | None:
    """The copy and what says that it has arrived; None where it would take room that the network wants."""
    if pinned.nbytes > _MOST_BYTES_AHEAD:
        return None
    stream = _side_stream(device)
    has_arrived = torch.cuda.Event()
    try:
        with torch.cuda.stream(stream):  # of this thread only
            # torch keeps the pinned memory until the copy has ended, whoever lets go of the tensor meanwhile
            tensor = pinned.to(device, non_blocking=True)
    except torch.OutOfMemoryError:
        return None
    has_arrived.record(stream)
    return tensor, has_arrived


@functools.cache
def _side_stream(device: str) -> torch.cuda.Stream:
    """The device's stream for copies: one for all threads, because they share one bus."""
    return torch.cuda.Stream(device)
