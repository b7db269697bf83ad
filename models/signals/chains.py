"""Computes how likely a span of tags is under a linear-chain model, exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearChain:
    """A score of every sequence y of tags: start[y₁] + Σ emissions[t, y_t] + Σ transitions[y_t, y_t+1] + end[y_T].

    All are logarithms of potentials, as a CRF has them, or of an HMM's probabilities; −inf forbids.

    Attributes:
        emissions: (T, K), T ≥ 1.
        transitions: (K, K), from the row's tag to the column's.
        start, end: (K,).
    """

    emissions: np.ndarray
    transitions: np.ndarray
    start: np.ndarray
    end: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedSpan:
    """The tokens [first, last) as one entity: its first tag and the tag of all others, by their indices."""

    first: int
    last: int
    begin: int
    inside: int


def span_marginals(chain: LinearChain, spans: Sequence[TaggedSpan]) -> np.ndarray:
    """P(span) = Z(constrained) / Z: the share of all tag sequences' weight that those have which hold the very span.

    They have ``begin`` at its first token, ``inside`` at its others, and the span is closed: the token behind it has
    another tag than ``inside``, or there is none. Without that part a longer entity would count as this one.

    Args:
        chain: the model, applied to one text; at least one tag sequence must be allowed.
        spans: within its T tokens, none of them empty.

    Returns:
        (n,) float64 in [0, 1]; higher is safer. Forward–backward (Rabiner 1989, §III.A) with the constrained lattice of
        Culotta & McCallum 2004, §3, in O(T·K²) for the text and O(length + K) for each span.
    """
    forward, backward = _forward(chain), _backward(chain)
    total = np.logaddexp.reduce(forward[-1] + chain.end)
    found = [_constrained(chain, span, forward, backward) for span in spans]
    return np.clip(np.exp(np.array(found, dtype=np.float64) - total), 0.0, 1.0)


def _forward(chain: LinearChain) -> np.ndarray:
    """(T, K) log weight of all beginnings that end in a tag, its own emission included."""
    weights = np.empty(chain.emissions.shape)
    weights[0] = chain.start + chain.emissions[0]
    for token in range(1, len(weights)):
        arriving = np.logaddexp.reduce(weights[token - 1][:, None] + chain.transitions, axis=0)
        weights[token] = arriving + chain.emissions[token]
    return weights


def _backward(chain: LinearChain) -> np.ndarray:
    """(T, K) log weight of all that may follow on a tag, its own emission excluded."""
    weights = np.empty(chain.emissions.shape)
    weights[-1] = chain.end
    for token in range(len(weights) - 2, -1, -1):
        onward = chain.emissions[token + 1] + weights[token + 1]
        weights[token] = np.logaddexp.reduce(chain.transitions + onward, axis=1)
    return weights


def _constrained(chain: LinearChain, span: TaggedSpan, forward: np.ndarray, backward: np.ndarray) -> float:
    """log Z of the tag sequences that hold the span."""
    weight, tag = forward[span.first, span.begin], span.begin
    for token in range(span.first + 1, span.last):
        weight, tag = weight + chain.transitions[tag, span.inside] + chain.emissions[token, span.inside], span.inside
    if span.last == len(chain.emissions):
        return float(weight + chain.end[tag])
    onward = chain.transitions[tag] + chain.emissions[span.last] + backward[span.last]
    return float(weight + np.logaddexp.reduce(np.delete(onward, span.inside)))
