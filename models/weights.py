"""Finds a model's weights, tells their bytes apart by digest, and refuses bytes that the lock does not name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from models.card import ModelCard
from models.errors import ConfigError, ModelError

_HUB_PREFIX = "hf:"
_LOCAL = "local"
# What a hub revision is asked for: never pickles. CTranslate2 keeps its own format in model.bin.
_HUB_PATTERNS = ["*.safetensors", "*.json", "*.txt", "*.model"]
_CTRANSLATE2_PATTERNS = ["model.bin", "*.json", "*.txt"]
# What counts as the model in a local folder; its card, its logs and its data may lie beside it.
_SUFFIXES = {".safetensors", ".json", ".txt", ".model", ".bin", ".pth", ".pt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Weights as found on disk: ``files`` maps each file's name to its sha256; ``digest`` sums them up."""

    path: Path
    files: dict[str, str]

    @property
    def digest(self) -> str:
        lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """One model's entry in the lock file: where its bytes came from and what they are."""

    source: str
    files: dict[str, str]


def find(card: ModelCard, *, lock: Lock | None = None) -> Weights:
    """The card's weights on this machine, checked against the lock.

    Args:
        card: names the weights; a local path must be absolute or relative to the working folder by now.
        lock: what the bytes must be; None accepts any bytes of a local folder, and none of a hub's.

    Raises:
        ModelError: missing_weights, changed_weights.
    """
    if card.weights.startswith(_HUB_PREFIX) and lock is None:
        raise ModelError(
            "missing_weights",
            f"model '{card.name}' names {card.weights}, which is not locked here; run 'prelabel models pull' first",
        )
    if lock is None:
        return read(Path(card.weights))
    weights = read(_on_disk(card, lock.source, local_only=True))
    _check(card, weights, lock)
    return weights


def digest(card: ModelCard, *, lock: Lock | None) -> str:
    """The digest of the card's bytes: the lock's, which nothing else can be loaded with, or that of a local folder.

    Raises:
        ModelError: missing_weights.
    """
    return find(card).digest if lock is None else Weights(path=Path(), files=lock.files).digest


def read(path: Path) -> Weights:
    """The weights at a path (a file, or a folder with all its files) with their digests.

    Raises:
        ModelError: missing_weights.
    """
    if path.is_file():
        return Weights(path=path, files={path.name: _sha256(path)})
    files = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES and p.is_file()) if path.is_dir() else []
    if not files:
        raise ModelError(
            "missing_weights", f"no weights at {path}; give a folder, a .pth file or hf:owner/name@revision"
        )
    return Weights(path=path, files={p.name: _sha256(p) for p in files})


def pull(cards: Iterable[ModelCard], lock_file: Path) -> dict[str, Lock]:
    """Fetch every card's weights (from the hub where the card names it) and write the lock.

    Raises:
        ModelError: missing_weights, with the hub's reason.
    """
    locks = {key(card): _pull(card) for card in cards}
    lock_file.write_text(json.dumps({name: asdict(lock) for name, lock in sorted(locks.items())}, indent=1) + "\n")
    return locks


def read_locks(lock_file: Path) -> dict[str, Lock]:
    """The entries of a lock file by ``name@version``; none when the file does not exist.

    Raises:
        ConfigError: the file holds something else.
    """
    if not lock_file.exists():
        return {}
    try:
        return {name: Lock(**entry) for name, entry in json.loads(lock_file.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as err:
        raise ConfigError(
            f"{lock_file} is no lock file: {err}; restore it, or delete it and run 'prelabel models pull'"
        ) from err


def key(card: ModelCard) -> str:
    """How the lock names a card."""
    return f"{card.name}@{card.version}"


def _check(card: ModelCard, weights: Weights, lock: Lock) -> None:
    for name in sorted(lock.files.keys() | weights.files.keys()):
        wanted, got = lock.files.get(name, "no such file"), weights.files.get(name, "no such file")
        if got != wanted:
            raise ModelError(
                "changed_weights",
                f"{name} of model '{card.name}': got {got}, locked is {wanted}; restore the file, "
                "or run 'prelabel models pull' if the change is meant",
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pull(card: ModelCard) -> Lock:
    path = _on_disk(card, card.weights, local_only=False)
    if not card.weights.startswith(_HUB_PREFIX):
        return Lock(source=_LOCAL, files=read(path).files)
    # The hub's cache keeps a snapshot in a folder named after its commit: lock that, not a branch that moves.
    repository, _, file = _parts(card.weights)
    folder = path.parents[file.count("/")] if file else path
    return Lock(source=f"{_HUB_PREFIX}{repository}@{folder.name}{'#' + file if file else ''}", files=read(path).files)


def _on_disk(card: ModelCard, source: str, *, local_only: bool) -> Path:
    if not source.startswith(_HUB_PREFIX):
        return Path(card.weights)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    repository, revision, file = _parts(source)
    if not repository or not revision:
        raise ModelError("bad_card", f"weights of '{card.name}' must pin a revision: hf:owner/name@revision")
    patterns = [file] if file else _CTRANSLATE2_PATTERNS if card.adapter == "faster_whisper" else _HUB_PATTERNS
    try:
        folder = snapshot_download(repository, revision=revision, allow_patterns=patterns, local_files_only=local_only)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as err:
        raise ModelError(
            "missing_weights",
            f"{source} of model '{card.name}' is not to be had ({type(err).__name__}); "
            "check the name and the network, or give a local folder",
        ) from err
    return Path(folder) / file


def _parts(source: str) -> tuple[str, str, str]:
    """Repository, revision and file ("" for all) of ``hf:owner/name@revision#file``."""
    repository, _, rest = source.removeprefix(_HUB_PREFIX).partition("@")
    revision, _, file = rest.partition("#")
    return repository, revision, file
