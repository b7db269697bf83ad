"""Checks that every family embeds an item the same alone and in any batch, and pools nothing that is padding."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from models.adapter import Adapter, load
from models.adapters.token_classification import own_tokens
from models.card import ModelCard
from models.demo.evaluate_language import held_out_clips
from models.embedding import embedding, pooled, vector_of
from models.errors import ItemError
from models.graphs import Recorder
from models.types import AudioPayload, ImagePayload, Payload, Prediction, TextPayload
from tests.models.adapters.test_torchvision_detection import PADDING, a_sensitive_network
from tests.models.adapters.test_transformers_detection import a_card, a_saved_detr
from tests.models.adapters.vision import WEIGHTS, a_boxed_picture, a_picture, demo_card, predict, random_batches

SENTENCES = [
    "Anna Keldson of Morvia Systems met Omar Harnez at the library in Dalkville.",
    "Nobody.",
    "On 12 March 2021 it rained. " * 40,
    "Ada Varga moved to Lisbon on 3 May 2021, and Omar Harnez stayed.",
    "中文 😀 e\u0301te\u0301",
]


def embedding_adapter(task: str, **changes: Any) -> Adapter[Any, Any]:
    return load(replace(demo_card(task), embeddings=True, device="cpu", **changes), WEIGHTS / task)


def texts() -> list[Payload]:
    return [TextPayload(text=text) for text in SENTENCES]


def pictures() -> list[Payload]:
    return [a_picture(number) for number in range(5)]


def boxed() -> list[Payload]:
    return [a_boxed_picture(number) for number in range(5)]


def clips() -> list[Payload]:
    [*payloads] = [payload for payload, _ in held_out_clips("clean")[:3]]
    long = np.concatenate([payloads[0].samples, np.zeros(40_000, dtype=np.float32), payloads[1].samples])
    return [*payloads, AudioPayload(samples=long)]


def vectors(predictions: Sequence[Prediction]) -> list[np.ndarray]:
    found = [prediction.embedding for prediction in predictions]
    return [vector_of(one).astype(np.float64) for one in found if one is not None]


def relative(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / max(np.linalg.norm(other), 1e-12))


FAMILIES = [("ner", texts), ("detection", pictures), ("segmentation", boxed), ("speech", clips)]


@pytest.mark.parametrize(("task", "payloads"), FAMILIES)
def test_an_item_is_embedded_the_same_alone_and_in_any_batch(task: str, payloads: Callable[[], list[Payload]]) -> None:
    adapter, items = embedding_adapter(task), payloads()
    alone = [vectors(predict(adapter, [item]))[0] for item in items]

    for batch in random_batches(len(items), size=len(items) - 1, seed=0):
        together = vectors(predict(adapter, [items[index] for index in batch]))

        assert len(together) == len(batch)
        for index, vector in zip(batch, together, strict=True):
            assert relative(vector, alone[index]) <= 1e-2

    apart = [relative(alone[one], alone[other]) for one in range(len(items)) for other in range(one)]
    assert min(apart) > 1e-2  # or the bar above would let one item pass for another


@pytest.mark.parametrize(("task", "payloads"), FAMILIES)
def test_without_the_cards_word_nothing_is_embedded_and_labels_are_the_same_with_it(
    task: str, payloads: Callable[[], list[Payload]]
) -> None:
    items = payloads()
    plain = load(replace(demo_card(task), device="cpu"), WEIGHTS / task)

    without, with_it = predict(plain, items), predict(embedding_adapter(task), items)

    assert [prediction.embedding for prediction in without] == [None] * len(items)
    assert [replace(prediction, embedding=None) for prediction in with_it] == without
    assert {prediction.embedding.model for prediction in with_it if prediction.embedding} == {demo_card(task).name}


def test_the_card_s_digest_does_not_change_with_its_embeddings() -> None:
    card = demo_card("ner")

    assert replace(card, embeddings=True).digest() == card.digest()
    assert replace(card, min_score=0.9).digest() != card.digest()


def test_a_text_is_the_mean_of_its_tokens_last_hidden_states() -> None:
    adapter: Any = embedding_adapter("ner")
    payload = TextPayload(text=SENTENCES[0])
    [sample] = adapter.prepare([payload])

    [vector] = vectors(predict(adapter, [payload]))

    ids = torch.tensor([[*adapter._before, *sample.token_ids, *adapter._after]])
    with torch.inference_mode():
        hidden = adapter._network.base_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    inner = hidden[0, len(adapter._before) : -len(adapter._after)].numpy()
    assert relative(vector, inner.mean(axis=0)) < 1e-3
    assert relative(vector, hidden[0].numpy().mean(axis=0)) > 1e-3  # the special tokens are not of the text


def test_a_text_in_windows_counts_each_token_once() -> None:
    windows: Any = embedding_adapter("ner", options={"window_tokens": 64, "stride_tokens": 16})
    payload = TextPayload(text=SENTENCES[2])
    [sample] = windows.prepare([payload])
    assert len(sample.windows) > 2

    raw = windows.forward([sample])

    ranges = own_tokens(sample)
    assert sum(last - first for first, last in ranges) == len(sample.token_ids)
    [vector] = vectors(windows.read(raw, [payload]))
    parts = [window_sum(windows, sample, window, own) for window, own in zip(sample.windows, ranges, strict=True)]
    assert relative(vector, np.sum(parts, axis=0) / len(sample.token_ids)) < 1e-3


def window_sum(adapter: Any, sample: Any, window: tuple[int, int], own: tuple[int, int]) -> np.ndarray:
    """What the network says of a window alone, summed over the tokens that are read from it."""
    ids = torch.tensor([[*adapter._before, *sample.token_ids[slice(*window)], *adapter._after]])
    with torch.inference_mode():
        hidden = adapter._network.base_model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    inner = hidden[0, len(adapter._before) : -len(adapter._after)].numpy()
    return inner[slice(*own)].sum(axis=0)


@pytest.mark.parametrize("text", ["", " \n"])
def test_a_text_without_words_is_all_zeros(text: str) -> None:
    adapter = embedding_adapter("ner")

    empty, full = vectors(predict(adapter, [TextPayload(text=text), TextPayload(text="Ada Varga")]))

    assert not empty.any()
    assert full.shape == empty.shape
    assert full.any()


def test_a_silent_recording_is_all_zeros() -> None:
    adapter = embedding_adapter("speech", options=demo_card("speech").options | {"vad": True})
    silence = AudioPayload(samples=np.zeros(32_000, dtype=np.float32))

    quiet, spoken = vectors(predict(adapter, [silence, clips()[0]]))

    assert not quiet.any()
    assert quiet.shape == spoken.shape


def test_a_recording_is_the_mean_of_its_own_frames_and_not_of_the_padding() -> None:
    adapter: Any = embedding_adapter("speech", options=demo_card("speech").options | {"vad": False})
    clip = clips()[0]
    [recording] = adapter.prepare([clip])

    [vector] = vectors(predict(adapter, [clip]))

    encoded = np.asarray(adapter._encode(recording.windows, recording.window_s))[0]
    frames = -(-recording.windows[0].features.shape[-1] // 2)
    assert frames < len(encoded)
    assert relative(vector, encoded[:frames].mean(axis=0)) < 1e-2
    assert relative(vector, encoded.mean(axis=0)) > 1e-2


def test_the_padding_of_a_flat_image_is_not_pooled() -> None:
    adapter: Any = embedding_adapter("segmentation")
    side = adapter._side
    feature = torch.zeros(4, side // 16, side // 16)
    feature[:, : side // 32] = 1.0  # the upper half is the image
    [sample] = adapter.prepare([ImagePayload(image_rgb=np.zeros((side // 2, side, 3), dtype=np.uint8))])

    assert adapter._pooled(feature, sample).tolist() == [1.0] * 4


def test_a_detr_of_varying_sizes_and_a_torchvision_detector_embed_alike(tmp_path: Path) -> None:
    detr = load(replace(a_card(min_score=0.0), embeddings=True), a_saved_detr(tmp_path))
    torchvision = load(replace(torchvision_card(tmp_path / "tv"), embeddings=True), tmp_path / "tv")
    items = pictures()

    for adapter in (detr, torchvision):
        alone = [vectors(predict(adapter, [item]))[0] for item in items]
        together = vectors(predict(adapter, items))
        assert max(map(relative, together, alone)) <= 1e-2
        assert min(relative(alone[0], other) for other in alone[1:]) > 1e-6


def torchvision_card(folder: Path) -> ModelCard:
    folder.mkdir()
    save_file(a_sensitive_network().state_dict(), folder / "model.safetensors")
    return ModelCard(
        name="shapes",
        task="detection",
        adapter="torchvision_detection",
        weights=".",
        device="cpu",
        options={"architecture": PADDING},
    )


def test_recorded_passes_embed_as_others_do() -> None:
    adapter: Any = embedding_adapter("ner")
    alone = vectors(predict(adapter, texts()))
    launches = list[int]()

    def record(run: Callable[[], Any]) -> tuple[Callable[[], None], Any]:
        outputs = run()

        def replay() -> None:
            launches.append(1)
            for name, tensor in run().items():
                outputs[name].copy_(tensor)

        return replay, outputs

    recorder: Recorder = record
    adapter.record_graphs(recorder)
    recorded = vectors(predict(adapter, texts()))

    assert launches
    assert max(map(relative, recorded, alone)) <= 1e-2


def test_means_are_over_places_and_maps_are_joined() -> None:
    one, other = torch.arange(8.0).reshape(1, 2, 2, 2), torch.ones(1, 3, 1, 1)

    assert pooled(one).tolist() == [[1.5, 5.5]]
    assert pooled([one, other]).tolist() == [[1.5, 5.5, 1.0, 1.0, 1.0]]
    assert pooled(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])).tolist() == [[2.0, 3.0]]


def test_what_float16_cannot_hold_is_cut_off_and_what_is_no_number_fails() -> None:
    assert vector_of(embedding("m", np.array([1e6, -1e6, 0.5]))).tolist() == [65504.0, -65504.0, 0.5]
    assert embedding("m", np.array([1.0, 2.0])).dimension == 2
    with pytest.raises(ItemError, match="not finite"):
        embedding("m", np.array([np.nan]))
