"""Writes a run as one HTML page to look at: numbers first, then every item, the most uncertain ones on top."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from models.types import Annotation, Task
from pipelines.formats.report.card import Card, Entry, cards, route
from pipelines.formats.report.colours import Colour, colours
from pipelines.formats.report.histogram import BINS, Histogram, histogram
from pipelines.formats.results import Result
from pipelines.formats.summary import TaskSummary, summarise
from pipelines.types import Provenance

MAX_CARDS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that ran, as ``name@version`` and the first digits of its weights' sha256, and what for."""

    name: str
    digest: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A task's items that worked: its numbers, its histogram and its cards, the most uncertain first."""

    task: Task
    summary: TaskSummary
    histogram: Histogram
    policies: list[str]
    calibrations: list[str]
    cards: list[Card]
    hidden_cards: int


def write(
    entries: Sequence[Entry],
    file: Path,
    *,
    title: str,
    subtitle: str = "",
    summary: Sequence[TaskSummary] | None = None,
) -> None:
    """Write the page. It holds everything it shows and asks nothing of the network.

    At most MAX_CARDS items of a task, MAX_LABELS labels of an item, MAX_CHARS characters of a text and MAX_AUDIO_BYTES
    of recordings are shown; the page says what it left out.

    Args:
        summary: the numbers of each task; counted here, without a speed, where they are not given.
    """
    results = [entry.result for entry in entries]
    colour_of = colours(annotation.label for result in results for annotation in result.annotations)
    summary = _complete(summary or (), results)
    failed = [entry for entry in entries if entry.result.status == "failed"]
    page = _environment().get_template("page.html.jinja")
    html = page.render(
        title=title,
        subtitle=subtitle,
        summary=summary,
        models=_models(results),
        made=_made(results),
        colours=colour_of,
        label_numbers={label: number for number, label in enumerate(colour_of)},
        routes=list(dict.fromkeys(route(result) for result in results)),
        sections=list(_sections(entries, summary, colour_of)),
        failed=cards(failed[:MAX_CARDS], colour_of),
        hidden_failed=max(len(failed) - MAX_CARDS, 0),
        bins=BINS,
    )
    file.write_text(html.lstrip(), encoding="utf-8")


def item_uncertainty(result: Result) -> float:
    """The highest entry of the item's uncertainty vector; 1.0, no idea, where there is none."""
    return max(result.uncertainty.values(), default=1.0)


def _complete(summary: Sequence[TaskSummary], results: Sequence[Result]) -> list[TaskSummary]:
    """The numbers given, and those counted here for tasks that they leave out, so that no item is."""
    given = {numbers.task for numbers in summary}
    return [*summary, *(numbers for numbers in summarise(results, {}) if numbers.task not in given)]


def _sections(
    entries: Sequence[Entry], summary: Sequence[TaskSummary], colour_of: Mapping[str, Colour]
) -> Iterator[Section]:
    for numbers in summary:
        done = [e for e in entries if e.result.task == numbers.task and e.result.status != "failed"]
        done.sort(key=lambda entry: _doubt(entry.result), reverse=True)
        made = [entry.result.provenance for entry in done if entry.result.provenance]
        yield Section(
            task=numbers.task,
            summary=numbers,
            histogram=histogram([entry.result for entry in done]),
            policies=sorted({provenance.policy_id for provenance in made if provenance.policy_id}),
            calibrations=sorted({provenance.calibration_id for provenance in made if provenance.calibration_id}),
            cards=cards(done[:MAX_CARDS], colour_of),
            hidden_cards=max(len(done) - MAX_CARDS, 0),
        )


def _doubt(result: Result) -> tuple[float, float]:
    """What cards are sorted by; between equal items the mean of the vector decides."""
    values = result.uncertainty.values()
    return item_uncertainty(result), sum(values) / len(values) if values else 1.0


def _models(results: Sequence[Result]) -> list[Model]:
    """Every model that ran, in the order of its first use."""
    tasks: dict[str, dict[Task, None]] = {}
    for result in results:
        for model in _chain(result.provenance) if result.provenance else ():
            tasks.setdefault(model, {})[result.task] = None
    return [Model(name=m.rpartition(":")[0], digest=m.rpartition(":")[2], tasks=tuple(of)) for m, of in tasks.items()]


def _chain(provenance: Provenance) -> tuple[str, ...]:
    alone = f"{provenance.model}@{provenance.model_version}:{provenance.weights_digest[:12]}"
    return provenance.chain or (alone,)


def _made(results: Sequence[Result]) -> str:
    times = sorted(result.provenance.created_at for result in results if result.provenance)
    return f"{times[-1]:%Y-%m-%d %H:%M %Z}".strip() if times else ""


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    environment.filters["csp_hash"] = _csp_hash
    environment.filters["meaning"] = _meaning
    environment.filters["breakable"] = _breakable
    return environment


def _csp_hash(script: str) -> Markup:
    """How a Content-Security-Policy names the one inline script that may run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return Markup(f"'sha256-{digest}'")  # noqa: S704 — base64 only


def _meaning(annotation: Annotation) -> str:
    """A label in one line."""
    confidence = "" if annotation.confidence is None else f", confidence {annotation.confidence:.2f}"
    return f"{annotation.label}, score {annotation.score:.2f}{confidence}"


def _breakable(name: str) -> Markup:
    """A path that may go over to the next line behind its separators."""
    return Markup(re.sub(r"([/\\_.:-]+)", r"\1<wbr>", str(escape(_visible(name)))))  # noqa: S704 — escaped just here


def _visible(value: object) -> object:
    """Text from outside with what HTML cannot hold, or what would reorder the text around it, made visible."""
    return value.translate(_VISIBLE) if isinstance(value, str) and not isinstance(value, Markup) else value


_BIDI_CONTROLS = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE: dict[int, str] = (
    {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in "\t\n\r"}  # Unicode's control pictures
    | dict.fromkeys((*range(0x7F, 0xA0), *range(0xD800, 0xE000)), "\N{REPLACEMENT CHARACTER}")
    | {code: f"‹U+{code:04X}›" for code in _BIDI_CONTROLS}
)
