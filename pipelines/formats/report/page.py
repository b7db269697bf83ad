"""Writes a run as one HTML page to look at: numbers first, then every item, the most uncertain ones on top."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from models.types import Annotation, Task
from pipelines.formats.report.card import Card, Entry, cards
from pipelines.formats.report.colours import Colour, colours
from pipelines.formats.report.failures import failure_rows
from pipelines.formats.report.histogram import BINS, Histogram
from pipelines.formats.report.tally import Tally, TaskTally, tally
from pipelines.formats.summary import TaskSummary
from pipelines.store.values import ErrorCount

MAX_UNMAPPED = 60


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
    entries: Iterable[Entry],
    file: Path,
    *,
    title: str,
    subtitle: str = "",
    summary: Sequence[TaskSummary] | None = None,
    errors: Sequence[ErrorCount] = (),
    sanity: Mapping[str, tuple[int, int, int]] = {},
    rules_off: Sequence[str] = (),
    unmapped: Mapping[str, int] = {},
    facts: Mapping[str, str] = {},
) -> None:
    """Write the page. It holds everything it shows and asks nothing of the network.

    The items are read once, and of those that are not shown nothing is kept, so a run may have any number of them.
    At most MAX_CARDS items of a task, MAX_LABELS labels of an item, MAX_CHARS characters of a text and MAX_AUDIO_BYTES
    of recordings are shown; the page says what it left out.

    Args:
        summary: the numbers of each task; counted here, without a speed, where they are not given.
        errors: how many items failed with each code, and how many of them will be tried again; where they are not
            given, the items are counted here, and the page does not say whether they will.
        sanity: for each rule that was checked, how many labels it flagged, changed and removed.
        rules_off: rules that are switched off.
        unmapped: how often the models gave each label that no mapping names; the MAX_UNMAPPED most frequent are shown.
        facts: what else is to be known of the run, in this order: its id, its source, when it began …
    """
    run = tally(entries)
    # Of the cards alone: the page can filter by no other labels, and a run may have any number of those.
    colour_of = colours(annotation.label for entry in run.shown() for annotation in entry.result.annotations)
    summary = _complete(summary or (), run)
    most_unmapped = sorted(unmapped.items(), key=lambda pair: -pair[1])
    page = _environment().get_template("page.html.jinja")
    html = page.render(
        title=title,
        subtitle=subtitle,
        summary=summary,
        models=_models(run),
        made=f"{run.latest:%Y-%m-%d %H:%M %Z}".strip() if run.latest else "",
        colours=colour_of,
        label_numbers={label: number for number, label in enumerate(colour_of)},
        routes=list(run.routes),
        items=sum(numbers.items for numbers in summary),
        failures=failure_rows(run.failures, errors),
        findings={rule: counts for rule, counts in sanity.items() if any(counts)},
        clean_rules=[rule for rule, counts in sanity.items() if not any(counts)],
        rules_off=rules_off,
        unmapped=most_unmapped[:MAX_UNMAPPED],
        hidden_unmapped=most_unmapped[MAX_UNMAPPED:],
        facts=facts,
        sections=[_section(numbers, run, colour_of) for numbers in summary],
        failed=cards(run.failed, colour_of),
        hidden_failed=run.failed_items - len(run.failed),
        bins=BINS,
    )
    file.write_text(html.lstrip(), encoding="utf-8")


def _complete(summary: Sequence[TaskSummary], run: Tally) -> list[TaskSummary]:
    """The numbers given, and those counted here for tasks that they leave out, so that no item is."""
    given = {numbers.task for numbers in summary}
    return [*summary, *(of_task.counts.summary() for task, of_task in run.tasks.items() if task not in given)]


def _section(numbers: TaskSummary, run: Tally, colour_of: Mapping[str, Colour]) -> Section:
    of_task = run.tasks.get(numbers.task, TaskTally(numbers.task))
    shown = of_task.most_uncertain
    return Section(
        task=numbers.task,
        summary=numbers,
        histogram=of_task.scores.histogram(),
        policies=sorted(of_task.policies),
        calibrations=sorted(of_task.calibrations),
        cards=cards(shown, colour_of),
        hidden_cards=of_task.worked - len(shown),
    )


def _models(run: Tally) -> list[Model]:
    """Every model that ran, in the order of its first use."""
    return [
        Model(name=m.rpartition(":")[0], digest=m.rpartition(":")[2], tasks=tuple(of)) for m, of in run.models.items()
    ]


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
