"""Holds what came of a flood against its bars."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, assert_never

from rich.table import Table

from benchmarks.judgement import Judgement, Report
from benchmarks.label_studio.flood import Flood, Floods

FIRST_ANSWER_S = 95.0  # Label Studio hangs up after 100
ALL_STORED_S = 600.0


def report(floods: Floods) -> Report:
    """What is judged, with all figures and their table."""
    return Report(
        judgements=[judgement for flood in floods.floods for judgement in judge(flood)],
        figures=figures(floods),
        tables=[_table(floods)],
    )


def judge(flood: Flood) -> list[Judgement]:
    """Whether the service was killed in the middle of it, and Label Studio has one prediction for each task."""

    def claim(what: str, value: float | None, bar: float, direction: Any, unit: str = "") -> Judgement:
        return Judgement(what=f"{flood.form}: {what}", value=value, bar=bar, direction=direction, unit=unit)

    return [
        *_of_kill(flood, claim),
        claim("all stored after", flood.all_stored_s, ALL_STORED_S, "at_most", "s"),
        claim("tasks without a prediction", flood.found.without, 0, "at_most"),
        claim("predictions too many", flood.found.duplicates, 0, "at_most"),
        claim("the same by Label Studio's API", sum(flood.counts.values()) - flood.tasks, 0, "at_most"),
        claim("model versions", len(flood.found.versions), 1, "at_most"),
    ]


def _of_kill(flood: Flood, claim: Any) -> list[Judgement]:
    """That it happened, when it should; and the first answer, where one came before."""
    kill = flood.kill
    common = [
        claim("processes killed", kill.processes, 5, "at_least"),
        claim("processes that lived on", kill.left, 0, "at_most"),
    ]
    match flood.form:
        case "posted":
            return [
                *common,
                claim("answers", 0 if flood.first_answer_s is None else 1, 0, "at_most"),
                claim("labelled before the kill", kill.labelled / flood.tasks, 1.0, "below"),
                claim("attempts of the run", flood.attempts, 2, "at_least"),
            ]
        case "retrieved":
            return [*common, *_answered(flood, claim)]
        case "in part":
            return [
                *common,
                *_answered(flood, claim),
                claim("predictions in the answer", flood.filled, 1, "at_least"),
                claim("predictions in the answer, of all", flood.filled / flood.tasks, 1.0, "below"),
                claim("attempts of the run", flood.attempts, 2, "at_least"),
            ]
        case _:
            assert_never(flood.form)


def _answered(flood: Flood, claim: Any) -> list[Judgement]:
    return [
        claim("first answer after", flood.first_answer_s, FIRST_ANSWER_S, "below", "s"),
        claim("stored before the kill", flood.kill.stored / flood.tasks, 1.0, "below"),
    ]


def figures(floods: Floods) -> dict[str, Any]:
    """All figures, ready for ``json.dumps``."""
    return {"label_studio": floods.release, "floods": [_figures(flood) for flood in floods.floods]}


def _figures(flood: Flood) -> dict[str, Any]:
    per_s = None if flood.all_stored_s is None else round(flood.tasks / flood.all_stored_s, 1)
    return _rounded(asdict(flood)) | {"stored_per_s": per_s}


def _rounded(value: Any) -> Any:
    match value:
        case float():
            return round(value, 2)
        case dict():
            return {str(name): _rounded(one) for name, one in value.items()}
        case list() | tuple():
            return [_rounded(one) for one in value]
        case _:
            return value


def _table(floods: Floods) -> Table:
    title = f"one call for many tasks, and a SIGKILL; Label Studio {floods.release}"
    grid = Table(title=title, title_justify="left")
    for column in (
        "form",
        "tasks",
        "answer",
        "after, s",
        "filled",
        "killed at, s",
        "up again, s",
        "all stored, s",
        "/s",
    ):
        grid.add_column(column, justify="left" if column in ("form", "answer") else "right")
    for flood in floods.floods:
        found = _figures(flood)
        seconds = (found["first_answer_s"], flood.filled, found["kill"]["at_s"], found["kill"]["restart_s"])
        cells = (flood.tasks, flood.answer, *seconds, found["all_stored_s"], found["stored_per_s"])
        grid.add_row(flood.form, *("-" if cell is None else str(cell) for cell in cells))
    return grid
