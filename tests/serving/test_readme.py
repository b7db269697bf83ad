"""Checks that the README is true: its commands exist, its configuration loads, its request gets its answer."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

from typer.main import get_command

from models.demo import evaluate
from serving import cli
from serving.settings import load

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands() -> list[list[str]]:
    """The README's make and prelabel commands, as words."""
    lines = "".join(blocks("sh")).splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.startswith(("make ", "prelabel "))]


def test_every_make_target_and_every_command_of_ours_exists() -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    ours = get_command(cli.app).commands  # pyright: ignore[reportAttributeAccessIssue]
    named = re.findall(r"`prelabel (\w+)", README) + [words[1] for words in commands() if words[0] == "prelabel"]

    assert {"demo", "test"} <= {words[1] for words in commands() if words[0] == "make"} <= targets
    assert set(named) <= set(ours)
    assert len(named) > 4


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\(((?!http)[^)#]+)\)", README)

    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_configuration_of_an_own_model_loads(tmp_path: Path) -> None:
    [content] = blocks("yaml")
    (tmp_path / "prelabel.yaml").write_text(content)

    settings = load(str(tmp_path / "prelabel.yaml"))

    assert settings.cards["my-tagger"].weights == str(tmp_path / "my-tagger")


def test_the_quality_table_shows_the_measured_figures() -> None:
    quality = json.loads(evaluate.QUALITY.read_text())

    for task, name in {"detection": "map50", "segmentation": "iou", "ner": "f1", "speech": "wer"}.items():
        for part, figures in quality[task].items():
            assert f"{figures[name]:.2f}" in README, (task, part)
