"""Measures the four demo models on their held-out parts: ``python -m models.demo.evaluate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from models.adapter import Adapter, load
from models.card import read_card
from models.demo.train import WEIGHTS, DemoTask

QUALITY = Path(__file__).parent / "quality.json"
MEASURES: dict[DemoTask, str] = {
    DemoTask.DETECTION: "map50",
    DemoTask.SEGMENTATION: "iou",
    DemoTask.NER: "f1",
    DemoTask.SPEECH: "wer",
}
PARTS: dict[DemoTask, tuple[str, ...]] = {
    DemoTask.DETECTION: ("easy", "hard", "out_of_domain"),
    DemoTask.SEGMENTATION: ("easy", "hard", "out_of_domain"),
    DemoTask.NER: ("easy", "hard", "out_of_domain"),
    DemoTask.SPEECH: ("clean", "noisy", "out_of_domain"),
}
# What the first part of each task must reach. Lower is better for word error rate.
BARS: dict[DemoTask, float] = {
    DemoTask.DETECTION: 0.80,
    DemoTask.SEGMENTATION: 0.85,
    DemoTask.NER: 0.92,
    DemoTask.SPEECH: 0.10,
}
LOWER_IS_BETTER = {DemoTask.SPEECH}

Quality = dict[str, dict[str, dict[str, float]]]


def demo_adapter(task: DemoTask) -> Adapter[Any, Any]:
    """The demo model of a task, from the committed weights."""
    card = read_card(WEIGHTS / task / "card.yaml")
    return load(card, Path(card.weights))


def measure(task: DemoTask, *, n: int) -> dict[str, dict[str, float]]:
    """All figures of a task's parts, over n held-out items each."""
    adapter = demo_adapter(task)
    return {part: measure_part(task, adapter, part=part, n=n) for part in PARTS[task]}


def measure_part(task: DemoTask, adapter: Adapter[Any, Any], *, part: str, n: int) -> dict[str, float]:
    """All figures of one part, over n held-out items."""
    return _evaluator(task)(adapter, part=part, n=n)


def _evaluator(task: DemoTask) -> Callable[..., dict[str, float]]:
    match task:
        case DemoTask.NER:
            from models.demo.evaluate_language import evaluate_ner

            return evaluate_ner
        case DemoTask.SPEECH:
            from models.demo.evaluate_language import evaluate_speech

            return evaluate_speech
        case DemoTask.DETECTION:
            from models.demo.evaluate_vision import evaluate_detection

            return evaluate_detection
        case DemoTask.SEGMENTATION:
            from models.demo.evaluate_vision import evaluate_segmentation

            return evaluate_segmentation


def main(
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON only.")] = False,
    write: Annotated[bool, typer.Option(help="Write the figures to models/demo/quality.json.")] = False,
    n: Annotated[int, typer.Option(help="Held-out items for each part.", min=1)] = 200,
) -> None:
    """Measure every demo model on every part."""
    figures = {task: measure(task, n=n) for task in DemoTask}
    quality = only_measures(figures)
    if write:
        QUALITY.write_text(json.dumps(quality, indent=2) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(quality))
    else:
        _print_table(figures, n=n)


def only_measures(figures: dict[DemoTask, dict[str, dict[str, float]]]) -> Quality:
    """The one figure of each part that has a bar, rounded."""
    return {
        str(task): {part: {MEASURES[task]: round(found[MEASURES[task]], 4)} for part, found in parts.items()}
        for task, parts in figures.items()
    }


def _print_table(figures: dict[DemoTask, dict[str, dict[str, float]]], *, n: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Demo models on held-out data, up to {n} items a part")
    for heading in ("task", "part", "measure", "value", "bar", "also"):
        table.add_column(heading, justify="right" if heading in {"value", "bar"} else "left")
    for task, parts in figures.items():
        for index, (part, found) in enumerate(parts.items()):
            also = "\n".join(f"{name} {value:.3f}" for name, value in found.items() if name != MEASURES[task])
            bar = _bar(task, found[MEASURES[task]]) if index == 0 else ""
            table.add_row(str(task), part, MEASURES[task], f"{found[MEASURES[task]]:.3f}", bar, also)
    Console().print(table)


def _bar(task: DemoTask, value: float) -> str:
    if task not in BARS:
        return ""
    bar = BARS[task]
    is_met, sign = (value <= bar, "≤") if task in LOWER_IS_BETTER else (value >= bar, "≥")
    return f"{sign} {bar:.2f} {'✓' if is_met else '✗'}"


if __name__ == "__main__":
    typer.run(main)
