"""Reads uncertainty off a model's own numbers: pure functions, each with its formula, range, direction and source.

A prediction's ``signals`` carry these values raw, under the names that ``detection``, ``segmentation``,
``token_classification``, ``dropout`` and ``speech`` give them. pipelines/tasks.py turns them into the named uncertainty
vector, where every entry is in [0, 1] and 1 means "no idea".
"""

from __future__ import annotations

from models.signals.boxes import detection, no_miss
from models.signals.chains import LinearChain, TaggedSpan, span_marginals
from models.signals.distributions import binary_entropy, margin, normalised_entropy, softmin, tsallis_confidence
from models.signals.ensembles import dropout, mutual_information, variation_ratio
from models.signals.masks import segmentation, soft_iou, stability
from models.signals.tokens import least_token, mnlp, token_classification, token_product
from models.signals.transcripts import expected_wer, speech, word_error_rate

__all__ = [
    "LinearChain",
    "TaggedSpan",
    "binary_entropy",
    "detection",
    "dropout",
    "expected_wer",
    "least_token",
    "margin",
    "mnlp",
    "mutual_information",
    "no_miss",
    "normalised_entropy",
    "segmentation",
    "soft_iou",
    "softmin",
    "span_marginals",
    "speech",
    "stability",
    "token_classification",
    "token_product",
    "tsallis_confidence",
    "variation_ratio",
    "word_error_rate",
]
