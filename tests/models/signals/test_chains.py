"""Holds the exact marginals of spans against all tag sequences one by one, and against how often spans are right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.signals import LinearChain, TaggedSpan, least_token, span_marginals, token_product

# Tags O, B-x, I-x, B-y, I-y; an I only follows a tag of its own entity.
OUTSIDE, ENTITIES = 0, ((1, 2), (3, 4))
TAGS = 5
Span = tuple[int, int, int]  # first token, token after the last, begin tag


def a_chain(rng: np.random.Generator, *, length: int) -> LinearChain:
    transitions = rng.normal(size=(TAGS, TAGS))
    start = rng.normal(size=TAGS)
    for begin, inside in ENTITIES:
        transitions[[tag for tag in range(TAGS) if tag not in (begin, inside)], inside] = -np.inf
        start[inside] = -np.inf
    emissions = rng.normal(scale=2.0, size=(length, TAGS))
    return LinearChain(emissions=emissions, transitions=transitions, start=start, end=rng.normal(size=TAGS))


def spans_of(tags: tuple[int, ...]) -> set[Span]:
    """The entities of a tag sequence, read token by token."""
    found = set[Span]()
    for begin, inside in ENTITIES:
        for first, tag in enumerate(tags):
            if tag == begin:
                last = first + 1
                while last < len(tags) and tags[last] == inside:
                    last += 1
                found.add((first, last, begin))
    return found


def as_tagged(span: Span) -> TaggedSpan:
    first, last, begin = span
    return TaggedSpan(first=first, last=last, begin=begin, inside=begin + 1)


def weight(chain: LinearChain, tags: tuple[int, ...]) -> float:
    log = chain.start[tags[0]] + chain.end[tags[-1]] + sum(chain.emissions[t, tag] for t, tag in enumerate(tags))
    return float(np.exp(log + sum(chain.transitions[a, b] for a, b in pairwise(tags))))


@given(length=st.integers(1, 5), seed=st.integers(0, 2**32 - 1))
def test_a_marginal_is_the_share_of_all_sequences_that_hold_the_span(length: int, seed: int) -> None:
    chain = a_chain(np.random.default_rng(seed), length=length)
    spans = [(i, j, begin) for i in range(length) for j in range(i + 1, length + 1) for begin, _ in ENTITIES]
    held = dict.fromkeys(spans, 0.0)
    total = 0.0
    for tags in product(range(TAGS), repeat=length):
        own = weight(chain, tags)
        total += own
        for span in spans_of(tags):
            held[span] += own

    exact = span_marginals(chain, [as_tagged(span) for span in spans])

    assert exact == pytest.approx([held[span] / total for span in spans], abs=1e-9)


def test_a_span_that_is_not_closed_counts_as_another_one() -> None:
    """Two tokens that are surely one name: the first alone is none, though its tag is sure."""
    certain = np.full((2, TAGS), -np.inf)
    certain[0, 1], certain[1, 2] = 0.0, 0.0
    flat = np.zeros(TAGS)
    chain = LinearChain(emissions=certain, transitions=np.zeros((TAGS, TAGS)), start=flat, end=flat)

    short, whole = span_marginals(chain, [as_tagged((0, 1, 1)), as_tagged((0, 2, 1))])

    assert (short, whole) == (0.0, 1.0)


def test_long_texts_neither_overflow_nor_vanish() -> None:
    chain = a_chain(np.random.default_rng(5), length=5_000)

    found = span_marginals(chain, [as_tagged((2_500, 2_502, 1)), as_tagged((0, 1, 3))])

    assert np.isfinite(found).all()
    assert (found > 0.0).any()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hmm:
    """A hidden Markov model of BIO tags that emits one of some words at each token."""

    start: np.ndarray
    transitions: np.ndarray  # (K, K)
    words: np.ndarray  # (K, V)

    def sample(self, rng: np.random.Generator, *, length: int) -> tuple[tuple[int, ...], np.ndarray]:
        tags = [int(rng.choice(TAGS, p=self.start))]
        while len(tags) < length:
            tags.append(int(rng.choice(TAGS, p=self.transitions[tags[-1]])))
        return tuple(tags), np.array([rng.choice(self.words.shape[1], p=self.words[tag]) for tag in tags])

    def chain(self, said: np.ndarray) -> LinearChain:
        with np.errstate(divide="ignore"):
            return LinearChain(
                emissions=np.log(self.words[:, said].T),
                transitions=np.log(self.transitions),
                start=np.log(self.start),
                end=np.zeros(TAGS),
            )


def a_hmm(rng: np.random.Generator) -> Hmm:
    """Entities of two kinds, two tokens long on average, in words that mean several things."""
    transitions = np.array(
        [
            [0.70, 0.18, 0.00, 0.12, 0.00],
            [0.30, 0.05, 0.60, 0.05, 0.00],
            [0.45, 0.05, 0.45, 0.05, 0.00],
            [0.40, 0.05, 0.00, 0.05, 0.50],
            [0.55, 0.05, 0.00, 0.05, 0.35],
        ]
    )
    return Hmm(
        start=np.array([0.7, 0.2, 0.0, 0.1, 0.0]),
        transitions=transitions,
        words=rng.dirichlet(np.full(30, 0.35), size=TAGS),
    )


def best_tags(chain: LinearChain) -> tuple[int, ...]:
    """The likeliest tag sequence (Viterbi)."""
    scores, back = chain.start + chain.emissions[0], list[np.ndarray]()
    for emission in chain.emissions[1:]:
        arriving = scores[:, None] + chain.transitions
        back.append(arriving.argmax(axis=0))
        scores = arriving.max(axis=0) + emission
    tags = [int((scores + chain.end).argmax())]
    for pointers in reversed(back):
        tags.append(int(pointers[tags[-1]]))
    return tuple(reversed(tags))


def tag_posteriors(chain: LinearChain) -> np.ndarray:
    """(T, K) P(tag of a token | text), by forward and backward sums in plain numbers."""
    emissions = np.exp(chain.emissions - chain.emissions.max(axis=1, keepdims=True))
    transitions = np.exp(chain.transitions)
    forward = [np.exp(chain.start) * emissions[0]]
    for emission in emissions[1:]:
        step = forward[-1] @ transitions * emission
        forward.append(step / step.sum())
    backward = [np.exp(chain.end)]
    for emission in emissions[:0:-1]:
        step = transitions @ (emission * backward[-1])
        backward.append(step / step.sum())
    both = np.array(forward) * np.array(backward[::-1])
    return both / both.sum(axis=1, keepdims=True)


def expected_calibration_error(scores: np.ndarray, is_right: np.ndarray, *, bins: int = 10) -> float:
    place = np.minimum((scores * bins).astype(int), bins - 1)
    gaps = [abs(scores[place == b].sum() - is_right[place == b].sum()) for b in range(bins)]
    return float(sum(gaps)) / len(scores)


def judged_spans(count: int) -> Iterator[tuple[float, float, float, float, bool]]:
    """For each span that is predicted in that many texts: its exact, least, product and mean score; is it right."""
    rng = np.random.default_rng(3)
    model = a_hmm(rng)
    for _ in range(count):
        truth, said = model.sample(rng, length=int(rng.integers(8, 25)))
        chain = model.chain(said)
        tags, posteriors = best_tags(chain), tag_posteriors(chain)
        of_tags = posteriors[np.arange(len(tags)), list(tags)]
        spans, true_spans = sorted(spans_of(tags)), spans_of(truth)
        ranges = [(first, last) for first, last, _ in spans]
        exact = span_marginals(chain, [as_tagged(span) for span in spans])
        least, together = least_token(of_tags, ranges), token_product(of_tags, ranges)
        for n, (first, last) in enumerate(ranges):
            mean = float(of_tags[first:last].mean())
            yield float(exact[n]), float(least[n]), float(together[n]), mean, spans[n] in true_spans


# Some 4,200 spans: a tenth of them tells a bin's share within 0.02, so the bar of 0.03 needs no fewer.
@pytest.mark.parametrize("texts", [1_800, pytest.param(6_000, marks=pytest.mark.statistics)])
def test_exact_marginals_are_calibrated_and_no_shortcut_is(texts: int) -> None:
    rows = np.array(list(judged_spans(texts)), dtype=np.float64)

    exact, least, together, mean = (expected_calibration_error(rows[:, n], rows[:, 4]) for n in range(4))

    assert len(rows) > 2 * texts
    assert exact <= 0.03
    assert min(least, together, mean) > 0.03
