"""Checks that seeded dropout drops by its seed alone, and only where it is asked to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from models.dropout import dropping, seed_dropout, seed_of


def a_network() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(4, 1000), torch.nn.Dropout(0.25), torch.nn.Dropout(0.0)).eval()


def test_nothing_is_dropped_outside_of_the_context_even_in_training() -> None:
    network, numbers = a_network(), torch.ones(1, 4)
    before = network(numbers)

    layers = seed_dropout(network)
    network.train()

    assert len(layers) == 1
    assert torch.equal(network(numbers), before)


def test_a_seed_drops_the_same_share_at_the_same_places_and_keeps_the_mean() -> None:
    network, numbers = a_network(), torch.ones(8, 4)
    layers = seed_dropout(network)
    whole = network(numbers)

    answers = list[torch.Tensor]()
    for seed in (1, 1, 2):
        with dropping(layers, seed=seed):
            answers.append(network(numbers))

    assert torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])
    assert abs(float((answers[0] == 0.0).float().mean()) - 0.25) < 0.03
    kept = answers[0] != 0.0
    assert torch.allclose(answers[0][kept], whole[kept] / 0.75)


def test_rows_of_one_batch_are_dropped_differently() -> None:
    network = a_network()
    layers = seed_dropout(network)

    with dropping(layers, seed=1):
        one, other = network(torch.ones(2, 4))

    assert not torch.equal(one, other)


def test_a_failing_pass_leaves_dropout_off() -> None:
    network = a_network()
    layers = seed_dropout(network)

    with pytest.raises(RuntimeError), dropping(layers, seed=1):
        network(torch.ones(1, 3))

    assert torch.equal(network(torch.ones(1, 4)), network(torch.ones(1, 4)))
    assert all(layer.generator is None for layer in layers)


def test_a_seed_depends_on_every_number() -> None:
    one = np.arange(5)

    assert seed_of(one) == seed_of(np.arange(5))
    assert seed_of(one) != seed_of(one[::-1])
