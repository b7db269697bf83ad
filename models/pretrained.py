"""Loads a network as Hugging Face saves it: from a local folder, out of safetensors, without code of the folder's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.card import ModelCard
from models.errors import ModelError
from models.state_dict import require_safetensors


def network_of(card: ModelCard, folder: Path, *, auto_class: Any) -> Any:
    """The trained network in a folder.

    Args:
        auto_class: transformers' AutoModelFor… of the task.

    Raises:
        ModelError: there are no weights, or only pickled ones, or they do not fit the network, or the network needs a
            library that is not installed.
    """
    from transformers.utils import logging

    require_safetensors(card, folder)
    logging.disable_progress_bar()  # it would run into the bar of whoever loads the model
    try:
        network, report = auto_class.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as err:
        raise _unreadable(card, folder, err) from err
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])[:3]
        raise ModelError("missing_weights", f"the weights of model '{card.name}' in {folder} lack {missing}")
    return network


def processor_of(card: ModelCard, folder: Path, *, auto_class: Any) -> Any:
    """What stands before the network in a folder: its tokenizer or image processor.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        return auto_class.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as err:
        raise _unreadable(card, folder, err) from err


def _unreadable(card: ModelCard, folder: Path, err: Exception) -> ModelError:
    return ModelError("missing_weights", f"model '{card.name}' cannot be read from {folder}: {err}")
