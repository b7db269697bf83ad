"""Reads a network's tensors from a file without running code that the file may hold."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from models.card import ModelCard
from models.errors import ModelError

_PICKLED = ("bin", "ckpt", "pickle", "pkl", "pt", "pth")


def require_safetensors(card: ModelCard, folder: Path) -> None:
    """Refuse a folder without safetensors weights.

    Raises:
        ModelError: there are only pickled weights (unsafe_weights) or none at all (missing_weights).
    """
    if any(folder.glob("*.safetensors")):
        return
    if pickled := _files(folder, *_PICKLED):
        raise ModelError(
            "unsafe_weights",
            f"model '{card.name}' takes safetensors, and {folder} holds pickled weights only ({pickled[0].name}); "
            "convert them",
        )
    raise ModelError("missing_weights", f"model '{card.name}' needs *.safetensors weights; found none in {folder}")


def read_state_dict(card: ModelCard, weights: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, or of the only .safetensors or else the only .pth file of a folder.

    A .pth file is read by torch's restricted unpickler, which builds tensors and calls nothing else.

    Raises:
        ModelError: there is no such file (missing_weights), or it holds more than tensors (unsafe_weights).
    """
    path = _chosen(card, weights) if weights.is_dir() else weights
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (OSError, SafetensorError) as err:
            raise ModelError("missing_weights", f"model '{card.name}' cannot read {path}: {err}") from err
    if path.suffix != ".pth":
        raise ModelError("unsafe_weights", f"model '{card.name}' takes .safetensors or .pth weights; got {path.name}")
    return _read_pth(card, path)


def fill(card: ModelCard, network: torch.nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Copy the tensors into the network.

    Raises:
        ModelError: names or shapes do not fit.
    """
    try:
        network.load_state_dict(state)
    except RuntimeError as err:
        raise ModelError(
            "missing_weights", f"the weights do not fit the network of model '{card.name}': {err}"
        ) from err


def _chosen(card: ModelCard, folder: Path) -> Path:
    safe, restricted = _files(folder, "safetensors"), _files(folder, "pth")
    found = safe or restricted
    if len(found) == 1:
        return found[0]
    if found:
        names = [path.name for path in found]
        raise ModelError("missing_weights", f"model '{card.name}' needs one file of weights in {folder}; got {names}")
    if pickled := _files(folder, *_PICKLED):
        raise ModelError(
            "unsafe_weights",
            f"model '{card.name}' takes .safetensors or .pth weights, and {folder} holds {pickled[0].name}; convert it",
        )
    raise ModelError("missing_weights", f"model '{card.name}' needs .safetensors or .pth weights; none in {folder}")


def _files(folder: Path, *suffixes: str) -> list[Path]:
    return sorted(path for suffix in suffixes for path in folder.glob(f"*.{suffix}"))


def _read_pth(card: ModelCard, path: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as err:
        raise ModelError("missing_weights", f"model '{card.name}' needs {path}, which is not there") from err
    except (pickle.UnpicklingError, RuntimeError, EOFError) as err:
        raise ModelError(
            "unsafe_weights", f"{path.name} of model '{card.name}' is not a plain state dict; convert it to safetensors"
        ) from err
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError("unsafe_weights", f"{path.name} of model '{card.name}' must map names to tensors")
    return state
