"""Checks on a CUDA device that the demo models say what they say on a CPU, alone and in any batch."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from segment_anything.modeling import image_encoder

from models import cuda_libraries, profile
from models.adapter import Adapter, build_random, load
from models.adapters.segment_anything import Masks
from models.card import BatchLimits, ModelCard, Precision, read_card
from models.demo.evaluate_language import held_out_clips
from models.demo.sentences import held_out_texts
from models.errors import ItemError, ModelError
from models.graphs import Graphs
from models.jpeg_decoder import JpegDecoder, a_jpeg
from models.media import MediaLimits, decode
from models.memory import TorchMemory
from models.networks.sam_attention import _Positions, attend_with_wider_heads
from models.types import Content, EncodedJpeg, Payload, Prediction, Task, TextPayload
from models.upload import Upload
from models.warm_up import warm_up
from pipelines.profiling import Assignment, measured_apart
from serving.demo import DROP
from serving.settings import load as load_settings
from tests.models.adapters.test_full_size import PAYLOADS
from tests.models.adapters.vision import (
    WEIGHTS,
    a_boxed_picture,
    a_picture,
    assert_same,
    demo_card,
    predict,
    random_batches,
)
from tests.models.media.files import a_jpeg_without

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

TORCH_TASKS = ("detection", "segmentation", "ner")
NEEDS_CUBLAS = pytest.mark.skipif(bool(cuda_libraries.missing()), reason=cuda_libraries.ADVICE)
# What a score may be off from fp32 on a CPU: other kernels add in another order; half precision has 8 or 11 bits.
TOLERANCE: dict[Precision, float] = {"fp32": 2e-3, "fp16": 0.03, "bf16": 0.12}


def an_adapter(task: str, *, device: str, precision: Precision = "fp32") -> Adapter[Any, Any]:
    return load(replace(demo_card(task), device=device, precision=precision), WEIGHTS / task)


def payloads_of(task: str) -> list[Payload]:
    match task:
        case "detection":
            return [a_picture(number) for number in range(6)]
        case "segmentation":
            return [a_boxed_picture(number) for number in range(6)]
        case "ner":
            return [TextPayload(text=sentence.text) for sentence in held_out_texts("easy", n=6, seed=1)]
        case _:
            return [payload for payload, _ in held_out_clips("clean")[:6]]


def sure(prediction: Prediction) -> dict[str, float]:
    """Scores by id of the annotations that no rounding lets appear or vanish."""
    return {a.id: a.score for a in prediction.annotations if a.score > 0.7}


@pytest.mark.parametrize("precision", list(TOLERANCE))
@pytest.mark.parametrize("task", TORCH_TASKS)
def test_the_device_says_what_the_cpu_says(task: str, precision: Precision) -> None:
    payloads = payloads_of(task)
    on_cpu = predict(an_adapter(task, device="cpu"), payloads)
    adapter = an_adapter(task, device="cuda", precision=precision)

    on_device = predict(adapter, payloads)

    assert next(adapter._network.parameters()).is_cuda  # pyright: ignore[reportAttributeAccessIssue]
    for one, other in zip(on_device, on_cpu, strict=True):
        labels = {annotation.id: annotation.label for annotation in one.annotations}
        for annotation in other.annotations:
            if annotation.score > 0.8 and precision == "fp32":
                assert labels[annotation.id] == annotation.label
        scores = sorted(sure(one).values()), sorted(sure(other).values())
        if precision == "fp32":
            np.testing.assert_allclose(*scores, rtol=0.0, atol=TOLERANCE[precision])
        else:
            assert abs(np.mean(scores[0]) - np.mean(scores[1])) < TOLERANCE[precision]


@pytest.mark.parametrize("task", [*TORCH_TASKS, pytest.param("speech", marks=NEEDS_CUBLAS)])
def test_an_item_scores_the_same_alone_and_in_any_batch(task: str) -> None:
    adapter, payloads = an_adapter(task, device="cuda"), payloads_of(task)
    alone = [predict(adapter, [payload])[0] for payload in payloads]

    for batch in random_batches(6, size=4, seed=3):
        together = predict(adapter, [payloads[index] for index in batch])
        for index, prediction in zip(batch, together, strict=True):
            assert [a.label for a in prediction.annotations] == [a.label for a in alone[index].annotations]
            scores = [[a.score for a in result.annotations] for result in (prediction, alone[index])]
            np.testing.assert_allclose(*scores, rtol=0.0, atol=1e-3)


def test_masks_leave_the_device_as_runs_and_are_those_of_the_cpu() -> None:
    payloads = payloads_of("segmentation")
    adapter, on_cpu = an_adapter("segmentation", device="cuda"), an_adapter("segmentation", device="cpu")

    raw = adapter.forward(adapter.prepare(payloads))

    assert all(isinstance(masks, Masks) for masks in raw)
    for one, other in zip(adapter.read(raw, payloads), predict(on_cpu, payloads), strict=True):
        assert_same(one, other)


def test_a_grid_of_points_finds_the_masks_of_the_cpu() -> None:
    payload = a_picture(4)

    one, other = (predict(an_adapter("segmentation", device=device), [payload])[0] for device in ("cuda", "cpu"))

    assert abs(len(one.annotations) - len(other.annotations)) <= 1  # a mask at a threshold may go either way


@torch.inference_mode()
def test_attention_with_wider_heads_is_the_authors_own() -> None:
    block = image_encoder.Attention(64, 2, use_rel_pos=True, input_size=(32, 32)).cuda()
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    patches = torch.randn(2, 32, 32, 64, device="cuda")
    q, k, v = block.qkv(patches).view(2, 1024, 3, 2, 32).permute(2, 0, 3, 1, 4).unbind(0)

    attended = attend_with_wider_heads(q, k, v, _Positions(block))

    found, wanted = block.proj(attended.transpose(1, 2).reshape(patches.shape)), block(patches)
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-4 * float(wanted.abs().max()))


def test_a_detector_computes_its_pixels_on_the_device_as_the_cpu_does() -> None:
    payloads = payloads_of("detection")
    adapter: Any = an_adapter("detection", device="cuda")
    on_cpu = an_adapter("detection", device="cpu").prepare(payloads)

    samples = adapter.prepare(payloads)

    assert all(sample.pixels.on_host.dtype == torch.uint8 and sample.pixels.is_ahead for sample in samples)
    found = adapter._stacked([sample.pixels for sample in samples]).cpu()
    torch.testing.assert_close(found, torch.stack([sample.pixels.on_host for sample in on_cpu]), rtol=0.0, atol=1e-6)


def test_torchvisions_own_resizing_gives_the_pixels_of_the_cpu() -> None:
    card = ModelCard(
        name="ssd",
        task="detection",
        adapter="torchvision_detection",
        weights=".",
        architecture={"name": "ssdlite320_mobilenet_v3_large"},
        options={"architecture": "ssdlite320_mobilenet_v3_large"},
    )
    adapter: Any = build_random(replace(card, device="cuda"))
    [wanted] = build_random(replace(card, device="cpu")).prepare([a_picture(0)])

    [sample] = adapter.prepare([a_picture(0)])

    assert (sample.padded_hw, sample.pixels.on_host.dtype) == (wanted.padded_hw, torch.uint8)
    torch.testing.assert_close(adapter._moved([sample])[0].cpu(), wanted.pixels.on_host, rtol=0.0, atol=1e-5)


@pytest.mark.parametrize(
    "options", [{}, {"graphs": True}, {"decode_on_device": True, "graphs": True}], ids=["plain", "graphs", "JPEGs"]
)
def test_a_second_click_is_answered_from_what_lies_on_the_device(options: dict[str, Any]) -> None:
    """With images between the clicks, whose passes overwrite what a graph gave before."""
    card = replace(demo_card("segmentation"), device="cuda", min_score=0.0)
    kept, forgetful = (
        load(replace(card, options=card.options | options | {"kept_features_mib": most}), WEIGHTS / "segmentation")
        for most in (64, 0)
    )
    jpegs = [a_jpeg(a_boxed_picture(number).image_rgb).data for number in range(4)]
    contents = [
        Content(media="image", data=data, prompts=a_boxed_picture(number).prompts, digest=str(number))
        for number, data in enumerate(jpegs)
    ]

    def asked(segmenter: Any, several: list[Content]) -> list[Prediction]:
        found = (segmenter.recalled(one) or decode(one, keeps_jpegs=segmenter.decodes_jpegs) for one in several)
        return predict(segmenter, list(found))

    first = asked(kept, contents[:1])[0]
    asked(kept, contents[1:])
    features: Any = kept.recalled(contents[0])  # pyright: ignore[reportAttributeAccessIssue]

    assert features.features.tensor.is_cuda
    assert_same(asked(kept, contents[:1])[0], first)
    for content, answer in zip(contents, asked(kept, contents), strict=True):
        assert_same(answer, asked(forgetful, [content])[0])


def a_tensor(*, mebibytes: int = 1) -> torch.Tensor:
    return torch.randint(0, 256, (mebibytes, 1024, 1024), dtype=torch.uint8)


def test_an_upload_arrives_while_the_network_computes() -> None:
    tensor = a_tensor()
    Upload(tensor, device="cuda").take()  # reserves memory, which would wait for the device
    has_computed = torch.cuda.Event()
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)  # cycles: about a second
    has_computed.record()

    upload = Upload(tensor, device="cuda")

    assert upload._ahead is not None
    upload._ahead[1].synchronize()
    assert not has_computed.query()
    assert torch.equal(upload.take().cpu(), tensor)


def test_what_was_uploaded_lives_until_the_network_has_read_it() -> None:
    wanted = a_tensor()
    taken = Upload(wanted, device="cuda").take()
    torch.cuda._sleep(500_000_000)
    read = taken.clone()
    del taken

    others = [Upload(a_tensor(), device="cuda") for _ in range(8)]  # would be given its memory

    assert torch.equal(read.cpu(), wanted)
    assert all(other.is_ahead for other in others)


def test_a_dropped_upload_leaves_nothing_on_the_device() -> None:
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    upload = Upload(a_tensor(mebibytes=8), device="cuda")
    while_it_waits = torch.cuda.memory_allocated()

    del upload

    assert (while_it_waits - before, torch.cuda.memory_allocated() - before) == (8 * 2**20, 0)


def test_a_batch_that_runs_again_is_copied_again() -> None:
    upload = Upload(a_tensor(), device="cuda")

    first, second = upload.take(), upload.take()

    assert first.data_ptr() != second.data_ptr()
    assert torch.equal(first, second)


def test_a_full_device_leaves_the_upload_in_pinned_memory() -> None:
    tensor = a_tensor(mebibytes=8)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(torch.cuda.memory_reserved() / torch.cuda.mem_get_info()[1])
    try:
        upload = Upload(tensor, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

    assert not upload.is_ahead
    assert upload.on_host.is_pinned()
    assert torch.equal(upload.take().cpu(), tensor)


def test_a_large_upload_waits_for_its_batch() -> None:
    assert not Upload(a_tensor(mebibytes=17), device="cuda").is_ahead


def a_jpeg_of(number: int) -> EncodedJpeg:
    payload = a_boxed_picture(number)
    return replace(a_jpeg(payload.image_rgb), prompts=payload.prompts)


def as_decoded(jpeg: EncodedJpeg) -> Payload:
    return decode(Content(media="image", data=jpeg.data, prompts=jpeg.prompts))


def test_the_device_decodes_jpegs_to_nearly_the_pixels_of_the_cpu() -> None:
    jpegs = [a_jpeg_of(number) for number in range(8)]

    images = JpegDecoder(device="cuda").decode(jpegs)

    for image, wanted in zip(images, JpegDecoder(device="cpu").decode(jpegs), strict=True):
        assert image.is_cuda
        gaps = (image.cpu().float() - wanted.float()).abs()
        assert float(gaps.mean()) < 2.0  # the decoders fill in colours between samples in different ways


def test_jpegs_are_decoded_into_memory_that_nobody_reads() -> None:
    jpegs = [a_jpeg_of(number) for number in range(8)]
    decoder = JpegDecoder(device="cuda")
    wanted = [image.cpu() for image in decoder.decode(jpegs)]
    for _ in range(20):
        images = decoder.decode(jpegs)
        torch.cuda._sleep(50_000_000)
        read = [image.clone() for image in images]  # after the sleep, when the next call has decoded already
        del images
        decoder.decode(jpegs[::-1])

        assert all(torch.equal(one.cpu(), other) for one, other in zip(read, wanted, strict=True))


def test_a_jpeg_that_the_device_cannot_read_fails_alone() -> None:
    damaged = EncodedJpeg(data=a_jpeg_without(0xDB), size_hw=(48, 64))
    decoder = JpegDecoder(device="cuda")

    with pytest.raises(ItemError) as caught:
        decoder.decode([a_jpeg_of(0), damaged])

    assert caught.value.code == "unreadable_image"
    assert decoder.decode([a_jpeg_of(0)])[0].is_cuda


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_a_model_that_decodes_on_the_device_finds_what_it_finds_in_pixels(task: str) -> None:
    jpegs = [a_jpeg_of(number) for number in range(6)]
    card = replace(demo_card(task), device="cuda")
    adapter = load(replace(card, options=card.options | {"decode_on_device": True}), WEIGHTS / task)
    wanted = predict(load(card, WEIGHTS / task), [as_decoded(jpeg) for jpeg in jpegs])

    found = predict(adapter, jpegs)

    for one, other in zip(found, wanted, strict=True):
        assert abs(np.mean(list(sure(one).values())) - np.mean(list(sure(other).values()))) < 0.05


COMPILER_TALKS = pytest.mark.filterwarnings("ignore:TensorFloat32")  # torch 2.11 suggests what fp32 must not do


@COMPILER_TALKS
@pytest.mark.parametrize("task", TORCH_TASKS)
def test_a_compiled_network_says_what_it_says_as_it_is(task: str) -> None:
    card = demo_card(task)
    compiled = replace(card, device="cuda", options=card.options | {"compile": True})
    wanted = predict(an_adapter(task, device="cuda"), payloads_of(task))

    found = predict(load(compiled, WEIGHTS / task), payloads_of(task))

    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(
            sorted(sure(one).values()), sorted(sure(other).values()), rtol=0.0, atol=TOLERANCE["fp32"]
        )


@COMPILER_TALKS
@pytest.mark.parametrize("options", [{"graphs": True}, {"graphs": True, "compile": True}], ids=str)
@pytest.mark.parametrize("task", TORCH_TASKS)
def test_replayed_graphs_say_what_the_network_says(task: str, options: dict[str, Any]) -> None:
    card = demo_card(task)
    adapter: Any = load(replace(card, device="cuda", options=card.options | options), WEIGHTS / task)
    wanted = predict(an_adapter(task, device="cuda"), payloads_of(task))

    for count in (6, 5, 1, 6):
        for one, other in zip(predict(adapter, payloads_of(task)[:count]), wanted, strict=False):
            np.testing.assert_allclose(
                sorted(sure(one).values()), sorted(sure(other).values()), rtol=0.0, atol=TOLERANCE["fp32"]
            )

    recordings = recordings_of(adapter)
    assert recordings
    assert None not in recordings


def recordings_of(adapter: Any) -> list[object]:
    """What was recorded, None for each shape that could not be."""
    parts = (vars(module).get("forward") for module in adapter._network.modules())
    return [recording for part in parts if isinstance(part, Graphs) for recording in part._recordings.values()]


def test_graphs_recorded_by_one_thread_are_replayed_by_another_while_a_third_uploads() -> None:
    card = replace(demo_card("detection"), device="cuda", num_gpus=1.0, limits=BatchLimits(max_items=4))
    adapter = load(replace(card, options=card.options | {"graphs": True}), WEIGHTS / "detection")
    payloads, ends = payloads_of("detection")[:4], threading.Event()
    wanted = predict(an_adapter("detection", device="cuda"), payloads)

    def upload_until_the_end() -> int:
        return sum(len(adapter.prepare(payloads)) for _ in iter(ends.is_set, True))

    with ThreadPoolExecutor(2) as threads:
        uploads = threads.submit(upload_until_the_end)
        try:
            warm_up(adapter, card)
            recorded = len(recordings_of(adapter))
            found = threads.submit(predict, adapter, payloads).result()
        finally:
            ends.set()

    assert uploads.result() > 0
    assert len(recordings_of(adapter)) == recorded == 3
    for one, other in zip(found, wanted, strict=True):
        assert_same(one, other)


def test_speech_runs_on_the_device_where_its_libraries_are_installed() -> None:
    if cuda_libraries.missing():
        pytest.skip(cuda_libraries.ADVICE)
    adapter: Any = an_adapter("speech", device="cuda", precision="int8")

    predictions = predict(adapter, payloads_of("speech"))

    assert (adapter._model.model.device, adapter._model.model.compute_type) == ("cuda", "int8_float16")
    assert any(prediction.annotations for prediction in predictions)


def test_speech_without_its_libraries_says_what_to_install() -> None:
    if not cuda_libraries.missing():
        pytest.skip("they are installed")

    with pytest.raises(ModelError, match=r"prelabel\[gpu\]"):
        an_adapter("speech", device="cuda")


def test_memory_is_measured_by_batch() -> None:
    adapter = an_adapter("detection", device="cuda")
    samples = adapter.prepare(payloads_of("detection"))
    bounds = profile.Bounds(budget_bytes=2**40, seconds=1e6, most_items=8)

    measured = profile.measure(adapter, samples, gauge=TorchMemory(), bounds=bounds)

    assert 0 < measured[0].peak_bytes <= measured[-1].peak_bytes  # reserved in steps of megabytes


@pytest.mark.parametrize("task", ["ner", "detection", "segmentation", "speech"])
def test_a_demo_model_is_measured_and_needs_a_small_share_of_the_device(task: Task) -> None:
    card = replace(read_card(WEIGHTS / task / "card.yaml"), device="cuda")
    if task == "speech" and (missing := cuda_libraries.missing()):
        pytest.skip(f"{missing} cannot be opened: {cuda_libraries.ADVICE}")

    found = measured_apart(
        Assignment(
            card=card,
            lock_file=Path("nowhere.lock"),
            folder=DROP / task,
            media=MediaLimits(),
            memory_share=0.25,
            budget_bytes=None,
            seconds=1e6,
            most_items=4,
        )
    )

    assert torch.cuda.get_device_name() in found.device
    assert [batch.items for batch in found.batches] == [1, 2, 4]
    assert found.model_bytes > 0
    assert found.num_gpus is not None
    assert 0 < found.num_gpus <= 0.25


@pytest.mark.full_size
@pytest.mark.parametrize("card", load_settings("gpu").models, ids=lambda card: card.name)
def test_the_presets_networks_answer_in_their_own_precision(card: ModelCard) -> None:
    changes: dict[str, Any] = {"min_score": 0.0, "device": "cuda"}
    if card.task == "speech":
        if missing := cuda_libraries.missing():
            pytest.skip(f"{missing} cannot be opened: {cuda_libraries.ADVICE}")
        changes["options"] = {"vad": False, "language": "en", "max_new_tokens": 8}
    adapter, payload = build_random(replace(card, **changes)), PAYLOADS[card.task]

    predictions = predict(adapter, [payload] * 4)

    assert len(predictions) == 4
    assert all(np.isfinite(list(prediction.signals.values())).all() for prediction in predictions)
