"""Checks what doctor makes of findings that this machine does not have."""

from __future__ import annotations

from dataclasses import replace

from models.card import ModelCard
from serving.doctor import speech_libraries
from serving.settings import Settings, load

CUBLAS = "libcublas.so.12"


def with_speech_on(device: str) -> Settings:
    """The demo's models, with speech on a device."""
    settings = load("demo")
    return settings.model_copy(update={"models": tuple(_on(card, device) for card in settings.models)})


def _on(card: ModelCard, device: str) -> ModelCard:
    return replace(card, device=device) if card.task == "speech" else card  # pyright: ignore[reportArgumentType]


def test_a_gpu_without_cublas_12_is_told_with_what_to_install() -> None:
    [finding] = speech_libraries(with_speech_on("auto"), missing=lambda: [CUBLAS])

    assert finding.state == "note"
    assert CUBLAS in finding.text
    assert "prelabel[gpu]" in finding.text


def test_cublas_12_is_not_looked_for_where_speech_stays_on_the_cpu() -> None:
    asked = list[bool]()

    assert list(speech_libraries(with_speech_on("cpu"), missing=lambda: asked.append(True) or [CUBLAS])) == []
    assert asked == []


def test_a_gpu_with_all_of_its_libraries_is_not_worth_a_word() -> None:
    assert list(speech_libraries(with_speech_on("auto"), missing=list)) == []
