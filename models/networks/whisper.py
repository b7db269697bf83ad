"""Writes Whisper networks of any size, with random weights and an invented vocabulary, for CTranslate2."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

LARGE_V3_TURBO: dict[str, Any] = {
    "vocab_size": 51_866,
    "num_mel_bins": 128,
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "decoder_layers": 4,
    "decoder_attention_heads": 20,
    "decoder_ffn_dim": 5120,
    "max_source_positions": 1500,
    "max_target_positions": 448,
}


def write_random_network(folder: Path, architecture: Mapping[str, Any], *, is_int8: bool) -> None:
    """Writes model.bin, tokenizer.json and what else CTranslate2 reads into the folder.

    Args:
        folder: where the files go; it exists.
        architecture: settings of transformers' WhisperConfig; what it leaves out is large-v3-turbo.
        is_int8: whether the weights are stored as int8, else as fp16.

    Raises:
        ValueError: the vocabulary is too small for Whisper's own tokens.
    """
    from ctranslate2.converters.transformers import WhisperLoader
    from transformers import WhisperConfig

    settings = {**LARGE_V3_TURBO, **architecture}
    tokenizer = _invented_tokenizer(settings["vocab_size"])
    spec = WhisperLoader()(_random_network(WhisperConfig(**settings), tokenizer), tokenizer)
    spec.validate()
    spec.optimize(quantization="int8" if is_int8 else "float16")
    spec.save(str(folder))
    (folder / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str(), encoding="utf-8")
    features = {"feature_size": settings["num_mel_bins"]}
    (folder / "preprocessor_config.json").write_text(json.dumps(features), encoding="utf-8")


def _random_network(config: Any, tokenizer: PreTrainedTokenizerFast) -> Any:
    """A half-precision network; one block of noise fills all matrices, because drawing 800 million numbers is slow."""
    import torch
    from transformers import WhisperForConditionalGeneration

    with torch.device("meta"):
        network = WhisperForConditionalGeneration(config).half()
    network = network.to_empty(device="cpu").eval()
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0)).half() * 0.02
    with torch.inference_mode():
        for name, parameter in network.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
            else:
                parameter.copy_(
                    noise.repeat(parameter.numel() // len(noise) + 1)[: parameter.numel()].view_as(parameter)
                )
    network.tie_weights()
    network.generation_config.suppress_tokens = []
    network.generation_config.begin_suppress_tokens = []
    languages, vocabulary = _language_tokens(), tokenizer.get_vocab()
    network.generation_config.update(lang_to_id={token: vocabulary[token] for token in languages})
    return network


def _language_tokens() -> list[str]:
    from transformers.models.whisper.tokenization_whisper import LANGUAGES

    return [f"<|{code}|>" for code in LANGUAGES]


def _invented_tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Whisper's special tokens, as many of 30 s of timestamps, and invented words before them up to ``size``."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    first = ["<|endoftext|>", "<|startoftranscript|>"]
    names = ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")
    times = [f"<|{index * 0.02:.2f}|>" for index in range(1501)]
    special = [*first, *_language_tokens(), *(f"<|{name}|>" for name in names), *times]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [f"Ġw{index}" for index in range(size - len(special) - len(letters))]
    vocabulary = {token: index for index, token in enumerate([*letters, *words, *special])}
    if len(vocabulary) != size:
        wanted = len(special) + len(letters)
        raise ValueError(f"vocab_size must be {wanted} or more to hold Whisper's own tokens; got {size}")
    engine = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    engine.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=engine, eos_token=first[0])
