"""Checks that token classifiers mark whole words at exact offsets, in windows and in batches."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from models.adapters import token_classification
from models.adapters.token_classification import TokenClassifier, cut_windows
from models.card import ModelCard
from models.demo.sentences import Part, held_out_texts
from models.demo.train import WEIGHTS
from models.errors import ItemError, ModelError
from models.tags import group, meaning
from models.types import ImagePayload, Prediction, TextPayload, TextSpan

DEMO = WEIGHTS / "ner"
SENTENCE = "On 12 March 2021, Anna Keldson of Morvia Systems met Omar Harnez at the library in Dalkville."


def a_card(**changes: Any) -> ModelCard:
    values: dict[str, Any] = {"name": "ner", "task": "ner", "adapter": "token_classification", "weights": str(DEMO)}
    return ModelCard(**values | {"min_score": 0.0, "device": "cpu"} | changes)


@pytest.fixture(scope="module")
def demo() -> TokenClassifier:
    return token_classification.load(a_card(), DEMO)


def predict(adapter: TokenClassifier, *texts: str) -> list[Prediction]:
    payloads = [TextPayload(text=text) for text in texts]
    return adapter.read(adapter.forward(adapter.prepare(payloads)), payloads)


def spans(prediction: Prediction) -> list[tuple[str, int, int]]:
    return [
        (found.label, found.geometry.start, found.geometry.end)
        for found in prediction.annotations
        if isinstance(found.geometry, TextSpan)
    ]


def test_entities_of_a_sentence_are_found_with_their_text(demo: TokenClassifier) -> None:
    [prediction] = predict(demo, SENTENCE)

    assert {(found.label, found.text) for found in prediction.annotations} >= {
        ("date", "12 March 2021"),
        ("person", "Anna Keldson"),
        ("organisation", "Morvia Systems"),
        ("place", "Dalkville"),
    }


@pytest.mark.parametrize(
    "prefix", ["😀👩‍👩‍👧 ", "e\u0301te\u0301 ", "\r\n\r\n", "\t\t", "     ", "中文 ", "\u200b\ufeff", "İstanbul ŉ ǅ. "]
)
def test_offsets_count_code_points_of_the_text_as_given(demo: TokenClassifier, prefix: str) -> None:
    text = f"{prefix}{SENTENCE}\r\n{SENTENCE}"

    [prediction] = predict(demo, text)

    assert "Anna Keldson" in {text[start:end] for _, start, end in spans(prediction)}
    assert [text[start:end] for _, start, end in spans(prediction)] == [found.text for found in prediction.annotations]


@settings(max_examples=25)
@given(text=st.text(max_size=120))
def test_spans_of_any_text_are_ordered_apart_and_trimmed(demo: TokenClassifier, text: str) -> None:
    [prediction] = predict(demo, text)

    ends = 0
    for _, start, end in spans(prediction):
        assert ends <= start < end <= len(text)
        assert text[start:end] == text[start:end].strip()
        ends = end


@settings(max_examples=15)
@given(words=st.lists(st.text(alphabet="abcdefgHIJKLmnopqrSTuvwxyzäß", min_size=1, max_size=14), max_size=12))
def test_no_span_begins_or_ends_inside_a_word(demo: TokenClassifier, words: list[str]) -> None:
    text = " ".join(words)

    [prediction] = predict(demo, text)

    for _, start, end in spans(prediction):
        assert start == 0 or text[start - 1] == " "
        assert end == len(text) or text[end] == " "


@pytest.mark.parametrize("text", ["", " ", "\n\t \r\n", "\u00a0"])
def test_a_text_without_words_holds_nothing(demo: TokenClassifier, text: str) -> None:
    [prediction] = predict(demo, text)

    assert prediction.status == "nothing_found"
    assert prediction.signals["sentence"] == 1.0


def test_a_special_token_spelled_out_is_read_as_text(demo: TokenClassifier) -> None:
    [spelled] = demo.prepare([TextPayload(text="[SEP] [PAD]")])

    assert len(spelled.words) == 6


def test_a_span_scores_as_its_least_sure_word(demo: TokenClassifier) -> None:
    [sample] = demo.prepare([TextPayload(text=SENTENCE)])
    raw = demo.forward([sample])

    [prediction] = demo.read(raw, [TextPayload(text=SENTENCE)])

    best = {word.start: float(raw.probabilities[0][word.token].max()) for word in sample.words}
    for found, (_, start, end) in zip(prediction.annotations, spans(prediction), strict=True):
        assert found.score == pytest.approx(min(p for at, p in best.items() if start <= at < end))


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-a I-a O B-a", [("a", 0, 2), ("a", 3, 4)]),  # IOB2
        ("I-a I-a B-a I-b", [("a", 0, 2), ("a", 2, 3), ("b", 3, 4)]),  # IOB1, and an I that continues nothing
        ("B-a L-a U-a U-b", [("a", 0, 2), ("a", 2, 3), ("b", 3, 4)]),  # BILOU
        ("B-a I-a E-a S-a O E-b", [("a", 0, 3), ("a", 3, 4), ("b", 5, 6)]),  # BIOES
        ("a a O b", [("a", 0, 2), ("b", 3, 4)]),  # names without position
    ],
)
def test_every_tagging_scheme_gives_spans(tags: str, found: list[tuple[str, int, int]]) -> None:
    meanings = [meaning(tag) for tag in tags.split()]

    assert group(meanings) == found


def test_labels_are_renamed_and_dropped_as_the_card_says() -> None:
    adapter = token_classification.load(a_card(labels={"person": "PER", "date": ""}), DEMO)

    [prediction] = predict(adapter, SENTENCE)

    assert {label for label, _, _ in spans(prediction)} == {"PER", "organisation", "place"}


def test_spans_below_the_smallest_score_are_held_back_as_possible_misses(demo: TokenClassifier) -> None:
    strict = token_classification.load(a_card(min_score=1.0), DEMO)

    [all_spans], [none] = predict(demo, SENTENCE), predict(strict, SENTENCE)

    assert none.annotations == ()
    assert "min_score" not in none.signals
    assert all_spans.signals["no_miss"] > 0.9
    best = max(found.score for found in all_spans.annotations)
    assert none.signals["no_miss"] <= 1.0 - best


@settings(max_examples=100)
@given(count=st.integers(0, 400), size=st.integers(8, 64), quarter=st.integers(0, 16))
def test_windows_cover_all_tokens_and_overlap(count: int, size: int, quarter: int) -> None:
    stride = min(quarter, size // 4)

    windows = cut_windows(count, size=size, stride=stride)

    assert sorted({token for start, end in windows for token in range(start, end)}) == list(range(count))
    assert all(0 < end - start <= size for start, end in windows)
    for (_, before), (start, _) in pairwise(windows):
        assert before - start >= stride


def test_entities_of_a_text_longer_than_a_window_are_all_found(demo: TokenClassifier) -> None:
    text = " ".join([SENTENCE] * 40)

    [prediction] = predict(demo, text)

    people = [start for label, start, _ in spans(prediction) if label == "person"]
    assert len(demo.prepare([TextPayload(text=text)])[0].windows) > 5
    assert people.count(SENTENCE.index("Anna")) == 1
    assert sum(text[start:].startswith("Anna Keldson") for start in people) == 40


def test_an_item_is_labelled_alike_alone_and_in_any_batch(demo: TokenClassifier) -> None:
    texts = [SENTENCE, "", "Hi Omar!", " ".join([SENTENCE] * 12), "In Dalkville it rained."]

    together, reversed_order = predict(demo, *texts), predict(demo, *texts[::-1])[::-1]

    for text, one, other in zip(texts, together, reversed_order, strict=True):
        [alone] = predict(demo, text)
        for batched in (one, other):
            assert spans(batched) == spans(alone)
            gap = [abs(a.score - b.score) for a, b in zip(batched.annotations, alone.annotations, strict=True)]
            assert max(gap, default=0.0) <= 1e-3
            assert batched.signals == pytest.approx(alone.signals, abs=1e-3)


@pytest.fixture(scope="module")
def dropping() -> TokenClassifier:
    return token_classification.load(a_card(options={"mc_passes": 8}), DEMO)


def test_passes_with_dropout_disagree_more_on_hard_texts_than_on_easy_ones(dropping: TokenClassifier) -> None:
    def mean_disagreement(part: Part) -> float:
        texts = [sentence.text for sentence in held_out_texts(part, n=24, seed=5)]
        return float(np.mean([found.signals["mutual_information_mean"] for found in predict(dropping, *texts)]))

    easy, hard = mean_disagreement("easy"), mean_disagreement("hard")

    assert 0.0 < easy < 0.5 * hard


def test_passes_with_dropout_change_no_label_and_depend_on_no_neighbour(
    demo: TokenClassifier, dropping: TokenClassifier
) -> None:
    texts = [SENTENCE, "", "Hi Omar!", " ".join([SENTENCE] * 12), "In Dalkville it rained."]

    together, reversed_order = predict(dropping, *texts), predict(dropping, *texts[::-1])[::-1]

    for text, one, other, plain in zip(texts, together, reversed_order, predict(demo, *texts), strict=True):
        [alone] = predict(dropping, text)
        assert spans(one) == spans(plain)
        for batched in (one, other):
            assert batched.signals == pytest.approx(alone.signals, abs=1e-5)
        assert {name: one.signals[name] for name in plain.signals} == pytest.approx(plain.signals, abs=1e-3)
        assert {"mutual_information_max", "variation_ratio_max"} <= one.signals.keys()


def test_dropout_draws_nothing_from_the_generator_that_a_process_shares(dropping: TokenClassifier) -> None:
    before = torch.get_rng_state()

    [one], [other] = predict(dropping, SENTENCE), predict(dropping, SENTENCE)

    assert torch.equal(torch.get_rng_state(), before)
    assert one.signals == other.signals


def test_dropout_is_refused_where_it_cannot_be_had(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "model")
    config = json.loads((DEMO / "config.json").read_text(encoding="utf-8"))
    dry = config | {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (tmp_path / "model" / "config.json").write_text(json.dumps(dry), encoding="utf-8")

    with pytest.raises(ModelError, match="no dropout"):
        token_classification.load(a_card(options={"mc_passes": 2}), tmp_path / "model")
    with pytest.raises(ModelError, match="compile or graphs"):
        token_classification.load(a_card(options={"mc_passes": 2, "graphs": True}), DEMO)


def test_an_empty_batch_stays_empty(demo: TokenClassifier) -> None:
    assert predict(demo) == []


def test_the_cost_of_a_text_is_its_tokens(demo: TokenClassifier) -> None:
    [short, long] = demo.prepare([TextPayload(text="In Peru"), TextPayload(text=SENTENCE)])

    assert short.cost == len(short.token_ids)
    assert long.cost > short.cost


def test_a_batch_of_unequal_texts_is_hardly_padded(demo: TokenClassifier) -> None:
    texts = [SENTENCE, "In Peru", " ".join([SENTENCE] * 3), "Hi Omar!", SENTENCE, "It rained.", ""]
    samples = demo.prepare([TextPayload(text=text) for text in texts])

    cost, padded = sum(sample.cost for sample in samples), demo.padded_cost(samples)

    assert cost <= padded <= 1.3 * cost


def test_a_batch_of_nothing_costs_nothing(demo: TokenClassifier) -> None:
    assert demo.padded_cost(demo.prepare([TextPayload(text="")])) == 0.0


def test_numbers_that_are_not_finite_fail_the_item(demo: TokenClassifier) -> None:
    payload = TextPayload(text=SENTENCE)
    raw = demo.forward(demo.prepare([payload]))
    raw.probabilities[0][3] = np.nan

    with pytest.raises(ItemError, match="not finite") as caught:
        demo.read(raw, [payload])

    assert caught.value.code == "model_failed"


def test_an_image_is_refused(demo: TokenClassifier) -> None:
    with pytest.raises(ItemError, match="labels text"):
        demo.prepare([ImagePayload(image_rgb=np.zeros((2, 2, 3), np.uint8))])


class _Trap:
    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (self.path,)


def test_pickled_weights_are_refused_and_not_opened(tmp_path: Path) -> None:
    sprung = tmp_path / "sprung"
    shutil.copy(DEMO / "config.json", tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(_Trap(str(sprung))))

    with pytest.raises(ModelError) as caught:
        token_classification.load(a_card(), tmp_path)

    assert caught.value.code == "unsafe_weights"
    assert not sprung.exists()


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"found none") as caught:
        token_classification.load(a_card(), tmp_path)

    assert caught.value.code == "missing_weights"


def test_weights_without_a_classifier_are_refused(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "model")
    tensors = load_file(DEMO / "model.safetensors")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith("classifier")}
    save_file(kept, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match=r"classifier\.bias"):
        token_classification.load(a_card(), tmp_path / "model")


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'colour'.*stride_tokens"):
        token_classification.load(a_card(options={"colour": "red"}), DEMO)


def test_tags_without_an_outside_are_refused() -> None:
    with pytest.raises(ModelError, match="means outside"):
        token_classification.load(a_card(labels={"O": "nothing"}), DEMO)
