"""Runs token classifiers of Hugging Face: named entities as character spans."""

from __future__ import annotations

import itertools
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import torch
from pydantic import Field, NonNegativeInt
from tokenizers import Tokenizer

from models import signals
from models.card import ModelCard, options_of, torch_device
from models.compiled import compile_part
from models.dropout import SeededDropout, dropping, seed_dropout, seed_of
from models.embedding import embedding
from models.errors import ItemError, ModelError
from models.graphs import CudaRecorder, Graphs, Recorder, are_wanted, graph_part
from models.passes import Pass, PassLimits, cut
from models.precision import half_dtype, tensor_cores
from models.pretrained import network_of, processor_of
from models.tags import Tags, group
from models.types import Annotation, Payload, Prediction, TextPayload, TextSpan

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

# CPU: measured with a BERT of 6 × 384 on one shared core, 64 texts of lognormal length (median 40, longest 326 tokens);
# transformers' pipeline at batch_size=32 is 1.0: 256 tokens a pass 4.2 to 6.5, 1,024 7.4 to 7.9, 4,096 7.1 to 7.7.
# CUDA: not measured. A pass of BERT-large starts about 300 kernels (2 ms), the time of some 2,000 tokens at half the
# peak of an H100; multiples of 8 are what its matrix units and masked attention want.
_PASSES = {
    "cpu": PassLimits(most_tokens=1024, pass_tokens=32),
    "cuda": PassLimits(most_tokens=16_384, pass_tokens=2048, multiple=8),
}
_GRAPH_TOKENS = 2048  # beyond them kernels take longer than their launch (see pass_tokens), and padding costs more
_NO_LIMIT, _SMALLEST_WINDOW = 1 << 30, 8
_BERT_LARGE: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 28_996,
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "labels": ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC", "B-MISC", "I-MISC"],
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The longest input in tokens, and how many of them neighbouring windows share.

    And whether to compile the network, whether short passes replay CUDA graphs, and how many further passes with
    dropout tell how much the network's own doubt is worth.
    """

    window_tokens: Annotated[int, Field(ge=_SMALLEST_WINDOW)] = 512
    stride_tokens: NonNegativeInt = 64
    compile: bool = False
    graphs: bool = False
    mc_passes: NonNegativeInt = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """The half-open code-point range of one word and the index of its first token."""

    start: int
    end: int
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizedText:
    """A text as token ids, and as the half-open token ranges that the network sees one at a time."""

    token_ids: np.ndarray  # (T,) int64
    words: tuple[Word, ...]
    windows: tuple[tuple[int, int], ...]

    @property
    def cost(self) -> float:
        """Tokens, counting those of overlaps twice."""
        return float(sum(end - start for start, end in self.windows))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagged:
    """The (T, K) float32 tag probabilities of each tokenized text of a batch.

    And the (C, T, K) ones of each in C passes with dropout, or nothing; and its (H,) float32 embedding, or nothing.
    """

    texts: Sequence[TokenizedText]
    probabilities: Sequence[np.ndarray]
    dropped: Sequence[np.ndarray] = ()
    embeddings: Sequence[np.ndarray] = ()


def cut_windows(count: int, *, size: int, stride: int) -> tuple[tuple[int, int], ...]:
    """Half-open ranges of at most ``size`` that cover ``count`` tokens; neighbours share ``stride`` tokens or more.

    The last range is moved back so that it is full.
    """
    if count <= size:
        return ((0, count),) if count else ()
    starts = [*range(0, count - size, size - stride), count - size]
    return tuple((start, start + size) for start in starts)


def own_tokens(text: TokenizedText) -> list[tuple[int, int]]:
    """The half-open range of a text's tokens that is read from each of its windows, counted in the window."""
    cuts = [(before_end + start) // 2 for (_, before_end), (start, _) in itertools.pairwise(text.windows)]
    bounds = itertools.pairwise((0, *cuts, len(text.token_ids)))
    return [(first - start, last - start) for (start, _), (first, last) in zip(text.windows, bounds, strict=False)]


def stitched(text: TokenizedText, outputs: Sequence[np.ndarray]) -> np.ndarray:
    """(T, K) probabilities of a text's tokens from those of its windows.

    Overlaps are cut in the middle, so that each token is read from the window where it has most context.
    """
    if not outputs:
        return np.zeros((0, 0), dtype=np.float32)
    return np.concatenate([output[first:last] for output, (first, last) in zip(outputs, own_tokens(text), strict=True)])


class TokenClassifier:
    """A token classification network and its fast tokenizer."""

    def __init__(self, card: ModelCard, network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> None:
        self._card, self._device = card, torch_device(card)
        self._network: torch.nn.Module = torch.nn.Module.to(network, device=self._device).eval()
        if dtype := half_dtype(card, device=self._device):
            for parameter in network.parameters():  # not the buffers: rotary frequencies would lose their low digits
                parameter.data = parameter.data.to(dtype)
        self._tags = Tags.of([name for _, name in sorted((network.config.id2label or {}).items())], card)
        self._pieces = plain(tokenizer)
        self._padding = padding_id(tokenizer)
        self._before, self._after = special_tokens(self._pieces)
        self._size, self._stride = _window(card, most=most_tokens(network, tokenizer))
        special = len(self._before) + len(self._after)
        self._size -= special
        self._passes = _PASSES[self._device]
        self._graphs: Graphs | None = None
        options = options_of(card, Options)
        self._width = network.config.hidden_size
        if card.embeddings:
            keep_hidden(card, network)
        self._mc_passes, self._dropout = options.mc_passes, self._seeded_dropout(options)
        if are_wanted(asked=options.graphs, device=self._device):
            self.record_graphs(CudaRecorder(), is_compiled=options.compile)
        elif options.compile:
            compile_part(self._network, is_any_shape=True)

    def _seeded_dropout(self, options: Options) -> tuple[SeededDropout, ...]:
        if not options.mc_passes:
            return ()
        if options.compile or options.graphs:
            raise ModelError("bad_card", f"'{self._card.name}' cannot have mc_passes with compile or graphs; drop one")
        layers = seed_dropout(self._network)
        if not layers:
            raise ModelError("bad_card", f"'{self._card.name}' has no dropout, so mc_passes would tell nothing")
        return layers

    def record_graphs(self, record: Recorder, *, is_compiled: bool = False) -> None:
        """Replay passes that are short enough, padded to a power of two in tokens and in windows."""
        special = len(self._before) + len(self._after)
        lengths = (2**power - special for power in range(_SMALLEST_WINDOW.bit_length(), 16))
        shorter = (length for length in lengths if 0 < length < self._size)
        self._passes = replace(self._passes, lengths=(*shorter, self._size))
        self._graphs = graph_part(
            self._network,
            [2**power for power in range(_GRAPH_TOKENS.bit_length())],
            record=record,
            is_compiled=is_compiled,
            is_any_shape=True,
            most_numbers=_GRAPH_TOKENS,
        )

    @property
    def labels(self) -> tuple[str, ...]:
        return self._tags.entities

    def prepare(self, payloads: Sequence[Payload]) -> list[TokenizedText]:
        return [self._tokenized(payload) for payload in payloads]

    def _tokenized(self, payload: Payload) -> TokenizedText:
        if not isinstance(payload, TextPayload):
            raise ItemError("wrong_media", f"got {type(payload).__name__}; '{self._card.name}' labels text")
        encoding = self._pieces.encode(payload.text, add_special_tokens=False)
        return TokenizedText(
            token_ids=np.asarray(encoding.ids, dtype=np.int64),
            words=tuple(words_of(encoding.offsets, encoding.word_ids, payload.text)),
            windows=cut_windows(len(encoding.ids), size=self._size, stride=self._stride),
        )

    def padded_cost(self, batch: Sequence[TokenizedText]) -> float:
        """Tokens that ``forward`` computes for the batch, padding among them; without padding it is the cost."""
        lengths = [end - start for text in batch for start, end in text.windows]
        return float(sum(chunk.length * self._rows(chunk) for chunk in cut(lengths, self._passes)))

    def _rows(self, own: Pass) -> int:
        """How many windows are computed for those of a pass."""
        rows, tokens_each = len(own.indices), len(self._before) + own.length + len(self._after)
        return rows if self._graphs is None else self._graphs.padded_rows(rows, numbers_each=tokens_each)

    @torch.inference_mode()
    def forward(self, batch: Sequence[TokenizedText]) -> Tagged:
        """Windows of a like length run together, whichever text they are of."""
        windows = [text.token_ids[start:end] for text in batch for start, end in text.windows]
        ranges = [own for text in batch for own in own_tokens(text)]
        passes = cut([len(window) for window in windows], self._passes)
        with tensor_cores(self._card):  # all passes are on their way before the first result is waited for
            outputs, sums = list[torch.Tensor](), list[torch.Tensor]()
            for own in passes:
                answer = self._answer([windows[index] for index in own.indices], own)
                outputs.append(self._tagged(answer, own))
                if self._card.embeddings:
                    sums.append(self._summed(answer, [ranges[index] for index in own.indices], own))
            dropped = [self._dropped(text) for text in batch] if self._mc_passes else []
        found = dict[int, np.ndarray]()
        for own, output in zip(passes, outputs, strict=True):
            found |= zip(own.indices, output.cpu().numpy(), strict=True)
        remaining = iter(found[index][: len(window)] for index, window in enumerate(windows))
        taken = [[next(remaining) for _ in text.windows] for text in batch]
        probabilities = [stitched(text, own) for text, own in zip(batch, taken, strict=True)]
        embeddings = self._means(batch, passes, sums) if self._card.embeddings else []
        return Tagged(texts=batch, probabilities=probabilities, dropped=dropped, embeddings=embeddings)

    def _dropped(self, text: TokenizedText) -> np.ndarray:
        """(C, T, K) probabilities from C passes with dropout.

        Each window runs alone, C times side by side, with masks that its tokens seed: neighbours change nothing.
        """
        outputs = list[np.ndarray]()
        for start, end in text.windows:
            window = text.token_ids[start:end]
            with dropping(self._dropout, seed=seed_of(window)):
                alike = Pass(indices=tuple(range(self._mc_passes)), length=len(window))
                answer = self._answer([window] * self._mc_passes, alike)
                outputs.append(self._tagged(answer, alike).cpu().numpy())
        each = [stitched(text, [own[number] for own in outputs]) for number in range(self._mc_passes)]
        return np.stack(each)

    def _means(
        self, batch: Sequence[TokenizedText], passes: Sequence[Pass], sums: Sequence[torch.Tensor]
    ) -> list[np.ndarray]:
        """The (H,) mean over each text's tokens from the sums over its windows; zeros for a text without tokens."""
        found = dict[int, np.ndarray]()
        for own, summed in zip(passes, sums, strict=True):
            found |= zip(own.indices, summed.cpu().numpy(), strict=True)
        remaining = iter(found[index] for index in range(len(found)))
        of_texts = [[next(remaining) for _ in text.windows] for text in batch]
        return [
            np.sum(own, axis=0) / len(text.token_ids) if own else np.zeros(self._width, dtype=np.float32)
            for text, own in zip(batch, of_texts, strict=True)
        ]

    def _answer(self, windows: Sequence[np.ndarray], own: Pass) -> Any:
        """What the network says of the windows of a pass: "logits", and "hidden" where embeddings are wanted."""
        first = len(self._before)
        ids = np.full((len(windows), first + own.length + len(self._after)), self._padding, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, seen, window in zip(ids, mask, windows, strict=True):
            whole = [*self._before, *window, *self._after]
            row[: len(whole)], seen[: len(whole)] = whole, 1
        return self._network(input_ids=self._moved(ids), attention_mask=self._moved(mask))

    def _tagged(self, answer: Any, own: Pass) -> torch.Tensor:
        """(n, length, K) tag probabilities, still on the device."""
        first = len(self._before)
        return answer["logits"][:, first : first + own.length].float().softmax(dim=-1)

    def _summed(self, answer: Any, ranges: Sequence[tuple[int, int]], own: Pass) -> torch.Tensor:
        """(n, H) sums of the last hidden state over each window's own tokens, still on the device."""
        first = len(self._before)
        hidden = answer["hidden"][:, first : first + own.length].float()
        is_own = np.zeros((len(ranges), own.length), dtype=np.float32)
        for row, (start, end) in zip(is_own, ranges, strict=True):
            row[start:end] = 1.0
        return torch.einsum("nth,nt->nh", hidden, self._moved(is_own))

    def _moved(self, array: np.ndarray) -> torch.Tensor:
        tensor = torch.from_numpy(array)
        return tensor if self._device == "cpu" else tensor.pin_memory().to(self._device, non_blocking=True)

    def read(self, raw: Tagged, payloads: Sequence[Payload]) -> list[Prediction]:
        rows = zip(raw.texts, raw.probabilities, payloads, strict=True)
        predictions = [self._prediction(text, probabilities, payload) for text, probabilities, payload in rows]
        if self._card.embeddings:
            vectors = (embedding(self._card.name, vector) for vector in raw.embeddings)
            predictions = [replace(p, embedding=vector) for p, vector in zip(predictions, vectors, strict=True)]
        if not self._mc_passes:
            return predictions
        own = zip(predictions, raw.texts, raw.dropped, strict=True)
        return [replace(p, signals=p.signals | signals.dropout(_of_words(text, passes))) for p, text, passes in own]

    def _prediction(self, text: TokenizedText, probabilities: np.ndarray, payload: Payload) -> Prediction:
        """Spans and signals of one text; a word's tag is its first token's."""
        if not isinstance(payload, TextPayload):
            raise ItemError("wrong_media", f"got {type(payload).__name__}; '{self._card.name}' labels text")
        if not np.isfinite(probabilities).all():
            raise ItemError("model_failed", f"'{self._card.name}' gave numbers that are not finite for this text")
        of_words = _of_words(text, probabilities).reshape(-1, len(self._tags.meanings))
        meanings = [self._tags.meanings[tag] for tag in of_words.argmax(axis=1)]
        named = [
            (label, first, last) for entity, first, last in group(meanings) if (label := self._card.label_for(entity))
        ]
        scores = signals.least_token(of_words.max(axis=1), [(first, last) for _, first, last in named])
        spans = [
            (label, text.words[first].start, text.words[last - 1].end, score)
            for (label, first, last), score in zip(named, scores.tolist(), strict=True)
        ]
        is_emitted = scores >= self._card.min_score
        emitted = [span for span, is_good in zip(spans, is_emitted, strict=True) if is_good]
        return Prediction(
            annotations=tuple(_annotation(index, span, payload.text) for index, span in enumerate(emitted)),
            signals=signals.token_classification(
                of_words,
                outside=self._tags.outside,
                span_scores=scores,
                is_emitted=is_emitted,
                token_cost=text.cost,
            ),
        )


def _of_words(text: TokenizedText, probabilities: np.ndarray) -> np.ndarray:
    """(…, W, K) from (…, T, K): of each word's first token."""
    return probabilities[..., [word.token for word in text.words], :]


def _annotation(index: int, span: tuple[str, int, int, float], text: str) -> Annotation:
    label, start, end, score = span
    return Annotation(
        id=str(index), label=label, geometry=TextSpan(start=start, end=end), score=score, text=text[start:end]
    )


def keep_hidden(card: ModelCard, network: PreTrainedModel) -> None:
    """Let a token classifier also give the last hidden state of its encoder, (n, T, H), as "hidden".

    Its own output_hidden_states would give, and let a recorded graph copy, those of all layers.

    Raises:
        ModelError: it has no encoder of its own.
    """
    if network.base_model is network:
        raise ModelError("bad_card", f"model '{card.name}' has no encoder to embed texts with; set embeddings to false")
    seen = list[torch.Tensor]()
    run: Any = network.forward

    def keep(_: torch.nn.Module, __: object, answer: Any) -> None:
        seen.append(answer[0])

    def forward(**inputs: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.clear()
        answer = run(**inputs)
        return {"logits": answer.logits, "hidden": seen.pop()}

    network.base_model.register_forward_hook(keep)
    network.forward = forward


def plain(tokenizer: PreTrainedTokenizerFast) -> Tokenizer:
    """The tokenizer's own engine without truncation and padding, so that threads may share it.

    Special tokens spelled out in a text ("[SEP]") are read as text.
    """
    pieces = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    pieces.no_truncation()
    pieces.no_padding()
    pieces.encode_special_tokens = True
    return pieces


def special_tokens(pieces: Tokenizer) -> tuple[list[int], list[int]]:
    """The special tokens that the tokenizer puts before and after a text."""
    encoding = pieces.encode("a")
    inner = [index for index, is_special in enumerate(encoding.special_tokens_mask) if not is_special]
    first, last = (inner[0], inner[-1] + 1) if inner else (len(encoding.ids), len(encoding.ids))
    return encoding.ids[:first], encoding.ids[last:]


def words_of(offsets: Sequence[tuple[int, int]], word_ids: Sequence[int | None], text: str) -> Iterator[Word]:
    """The words of a text without surrounding white space; a token outside of any word is a word of its own."""
    keyed = [(-1 - index if word is None else word, index) for index, word in enumerate(word_ids)]
    for _, tokens in itertools.groupby(keyed, key=lambda pair: pair[0]):
        indices = [index for _, index in tokens]
        start, end = min(offsets[index][0] for index in indices), max(offsets[index][1] for index in indices)
        covered = text[start:end]
        if covered.strip():
            start, end = start + len(covered) - len(covered.lstrip()), end - len(covered) + len(covered.rstrip())
            yield Word(start=start, end=end, token=indices[0])


def padding_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """The token that fills up short inputs; attention masks it."""
    return tokenizer.pad_token_id if isinstance(tokenizer.pad_token_id, int) else 0


def most_tokens(network: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> int:
    """The longest input that both the network and its tokenizer allow."""
    positions = getattr(network.config, "max_position_embeddings", None) or _NO_LIMIT
    if "roberta" in network.config.model_type or network.config.model_type == "camembert":
        positions -= padding_id(tokenizer) + 1  # its positions begin behind the padding's
    return min(positions, tokenizer.model_max_length or _NO_LIMIT)


def _window(card: ModelCard, *, most: int) -> tuple[int, int]:
    """The size of a window in tokens and how many it shares with the next."""
    options = options_of(card, Options)
    size = min(options.window_tokens, most)
    return size, min(options.stride_tokens, size // 4)


def load(card: ModelCard, folder: Path) -> TokenClassifier:
    """Reads a token classifier as Hugging Face saves it: config.json, safetensors weights, a fast tokenizer.

    Options: ``window_tokens`` (512) is the longest input; a longer text is cut into windows that share
    ``stride_tokens`` (64, at most a quarter of a window). ``compile`` (false) builds kernels with torch.compile;
    ``graphs`` (false) replays short passes as CUDA graphs. ``mc_passes`` (0) runs each window that many more times with
    dropout in all but the attention's weights, text by text, for the signals of ``models.signals.dropout``; it
    multiplies the work, and goes with neither of the two before.

    Raises:
        ModelError: there are no weights, or only pickled ones, or they lack the classifier; or passes with dropout are
            asked for, and there is none.
    """
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    network = network_of(card, folder, auto_class=AutoModelForTokenClassification)
    tokenizer = processor_of(card, folder, auto_class=AutoTokenizer)
    if not getattr(tokenizer, "is_fast", False):
        raise ModelError("missing_weights", f"'{card.name}' needs a fast tokenizer (tokenizer.json) in {folder}")
    return TokenClassifier(card, network, tokenizer)


def build_random(card: ModelCard) -> TokenClassifier:
    """A classifier of the size in ``architecture`` with random weights and an invented vocabulary.

    ``architecture`` holds any settings of the network's Hugging Face configuration, ``model_type`` and ``labels`` (tag
    names) among them; what it leaves out is BERT-large.
    """
    from transformers import AutoConfig, AutoModelForTokenClassification

    settings: dict[str, Any] = _BERT_LARGE | card.architecture
    labels, model_type = settings.pop("labels"), settings.pop("model_type")
    names = dict(enumerate(labels))
    config = AutoConfig.for_model(
        model_type, **settings, id2label=names, label2id={name: index for index, name in names.items()}
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = AutoModelForTokenClassification.from_config(config, trust_remote_code=False)
    return TokenClassifier(card, network, _invented_tokenizer(settings["vocab_size"], config.max_position_embeddings))


def _invented_tokenizer(size: int, longest: int) -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer of every one-, two-, three-letter piece in turn, until the vocabulary is full."""
    from tokenizers import models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    letters = string.ascii_lowercase
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *string.digits, *string.punctuation, *string.ascii_uppercase]
    words = ("".join(word) for length in itertools.count(1) for word in itertools.product(letters, repeat=length))
    pieces = (piece for word in words for piece in (word, f"##{word}"))
    vocabulary = {name: index for index, name in enumerate(itertools.islice(itertools.chain(names, pieces), size))}
    engine = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106
    engine.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    engine.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return PreTrainedTokenizerFast(tokenizer_object=engine, model_max_length=longest, pad_token="[PAD]")  # noqa: S106
