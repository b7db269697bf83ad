"""Writes a token classifier of a stated size with random weights, as Hugging Face saves it."""

from __future__ import annotations

import shutil
from pathlib import Path

DEMO = Path(__file__).parents[1] / "models" / "demo" / "weights" / "ner"

_LOGIT_STD = 20.0
_OUTSIDE, _OUTSIDE_BIAS = 0, 46.0


def write(folder: Path, *, layers: int, hidden: int, most_tokens: int = 512) -> Path:
    """A BERT of ``layers`` × ``hidden`` with the demo model's tokenizer and labels; returns its folder.

    The weights are seeded. The classifier's are wide and lean towards "outside", so that its tags are decided far from
    ties and a few words in a hundred belong to entities, as in a trained model: no arm has more to post-process.
    """
    import torch
    from transformers import AutoConfig, AutoModelForTokenClassification, AutoTokenizer

    config = AutoConfig.from_pretrained(DEMO)
    config.num_hidden_layers, config.hidden_size, config.num_attention_heads = layers, hidden, hidden // 64
    config.intermediate_size, config.max_position_embeddings = 4 * hidden, most_tokens
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = AutoModelForTokenClassification.from_config(config)
        torch.nn.init.normal_(network.classifier.weight, std=_LOGIT_STD / hidden**0.5)
        torch.nn.init.zeros_(network.classifier.bias)
        network.classifier.bias.data[_OUTSIDE] = _OUTSIDE_BIAS
    network.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(DEMO)
    tokenizer.model_max_length = most_tokens
    tokenizer.save_pretrained(folder)
    shutil.copyfile(DEMO / "tokenizer.json", folder / "tokenizer.json")
    return folder
