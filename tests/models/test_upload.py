"""Checks the way of a tensor to a device that is the CPU itself; tests/models/adapters/test_cuda.py has the others."""

from __future__ import annotations

import torch

from models.upload import Upload


def test_a_cpu_is_given_the_tensor_itself() -> None:
    tensor = torch.arange(6).reshape(2, 3)

    upload = Upload(tensor, device="cpu")

    assert upload.take() is tensor
    assert not upload.is_ahead


def test_a_tensor_can_be_taken_again() -> None:
    upload = Upload(torch.arange(6), device="cpu")

    assert torch.equal(upload.take(), upload.take())
