"""Checks that weights are told apart by their bytes and that a lock is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from models import weights
from models.card import ModelCard, card_from
from models.errors import ConfigError, ModelError


def a_card(folder: Path | str, **changes: object) -> ModelCard:
    entry = {"name": "m", "task": "ner", "adapter": "token_classification", "weights": str(folder)}
    return card_from(entry | changes, folder=Path("/"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "training.jsonl").write_text("a log is not part of the model")
    return tmp_path


def test_the_digest_changes_with_a_byte_and_not_with_a_log(folder: Path) -> None:
    before = weights.read(folder).digest

    (folder / "training.jsonl").write_text("longer")
    with_longer_log = weights.read(folder).digest
    (folder / "config.json").write_text("{ }")

    assert with_longer_log == before
    assert weights.read(folder).digest != before


def test_locked_weights_are_found_again(folder: Path, tmp_path: Path) -> None:
    lock_file = tmp_path / "weights.lock"

    weights.pull([a_card(folder)], lock_file)
    lock = weights.read_locks(lock_file)["m@1"]

    assert lock.source == "local"
    assert weights.find(a_card(folder), lock=lock).path == folder


@pytest.mark.parametrize("change", ["changed", "removed", "added"])
def test_other_bytes_than_the_locked_ones_are_refused(folder: Path, tmp_path: Path, change: str) -> None:
    lock = weights.pull([a_card(folder)], tmp_path / "weights.lock")["m@1"]
    file = folder / "model.safetensors"
    match change:
        case "changed":
            file.write_bytes(b"other")
        case "removed":
            file.unlink()
        case _:
            (folder / "pytorch_model.bin").write_bytes(b"pickle")

    with pytest.raises(ModelError, match="locked is") as caught:
        weights.find(a_card(folder), lock=lock)

    assert caught.value.code == "changed_weights"


def test_an_empty_folder_holds_no_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no weights at") as caught:
        weights.find(a_card(tmp_path))

    assert caught.value.code == "missing_weights"


def test_hub_weights_need_a_lock() -> None:
    with pytest.raises(ModelError, match="prelabel models pull"):
        weights.find(a_card("hf:owner/name@main"))


def test_hub_weights_need_a_revision(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="must pin a revision"):
        weights.pull([a_card("hf:owner/name")], tmp_path / "weights.lock")


def test_hub_weights_that_cannot_be_had_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    lock = weights.Lock(source="hf:owner/name@0123abc", files={"model.safetensors": "0" * 64})

    with pytest.raises(ModelError, match="is not to be had"):
        weights.find(a_card("hf:owner/name@main"), lock=lock)


def test_a_card_refuses_unknown_keys_and_bad_names() -> None:
    with pytest.raises(ModelError, match="weight_folder"):
        a_card("x", weight_folder="y")
    with pytest.raises(ModelError, match="must match"):
        a_card("x", name="../x")


def test_a_cards_digest_follows_what_shapes_the_output_only() -> None:
    card = a_card("x")

    assert a_card("y", replicas=3, num_gpus=0.5).digest() == card.digest()
    assert a_card("x", min_score=0.4).digest() != card.digest()


@pytest.mark.parametrize("content", ["<<<<<<< HEAD", "[]", '{"m@1": {"colour": "red"}}'])
def test_a_lock_file_that_holds_something_else_says_so(tmp_path: Path, content: str) -> None:
    lock_file = tmp_path / "weights.lock"
    lock_file.write_text(content)

    with pytest.raises(ConfigError, match=r"weights\.lock is no lock file: .*'prelabel models pull'"):
        weights.read_locks(lock_file)
