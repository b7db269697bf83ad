"""Tests 'prelabel policy' as its users call it, over demo texts whose right answers are known."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from models.demo.sentences import PARTS, Sentence, held_out_texts
from models.errors import ConfigError
from models.types import Annotation, TextSpan
from pipelines.errors import ConflictError, NotFoundError
from pipelines.review import ReviewQueue
from pipelines.store.policies import AUDITS, Policies
from pipelines.store.store import Store
from serving import cli
from serving.demo import DROP

run = CliRunner()
WEIGHTS = DROP.parent / "weights" / "ner"


@dataclass(frozen=True)
class Project:
    """A folder with a configuration, and its store."""

    folder: Path
    url: str

    @property
    def config(self) -> Path:
        return self.folder / "prelabel.yaml"

    def call(self, *arguments: object) -> str:
        """What a command that must work prints."""
        answer = run.invoke(
            cli.app,
            [*map(str, arguments), "--config", str(self.config)],
            env={"PRELABEL_STORE__URL": self.url, "COLUMNS": "160"},
        )
        assert answer.exit_code == 0, (answer.output, answer.exception)
        return answer.stdout

    def ask(self, *arguments: object) -> Any:
        return json.loads(self.call(*arguments, "--json"))

    def refused(self, *arguments: object) -> BaseException:
        answer = run.invoke(
            cli.app, [*map(str, arguments), "--config", str(self.config)], env={"PRELABEL_STORE__URL": self.url}
        )
        assert answer.exit_code == 1 and answer.exception is not None
        return answer.exception

    def annotate(self, texts: Iterable[tuple[str, Sentence]], *, name: str) -> str:
        """The id of a finished run over texts."""
        manifest = self.folder / f"{name}.jsonl"
        rows = ({"id": text_id, "text": sentence.text, "source": text_id.split("-")[0]} for text_id, sentence in texts)
        manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return self.label(manifest, "--task", "ner", "--out", self.folder / name)

    def label(self, *arguments: object) -> str:
        return json.loads(self.call("annotate", *arguments, "--json").splitlines()[-1])["run"]

    def decisions(self, run_id: str) -> list[dict[str, Any]]:
        out = self.folder / f"results-{run_id}"
        self.call("export", run_id, "--format", "jsonl", "--out", out)
        return [json.loads(line) for line in next(out.glob("*.jsonl")).read_text().splitlines()]

    def answer(self, texts: dict[str, Sentence]) -> int:
        """Everything that waits is answered with what is right; how many that were."""

        async def answered() -> int:
            async with Store.open(self.url) as store:
                queue, done = ReviewQueue(store), 0
                while tasks := await queue.claim("texts", reviewer="ann", n=500):
                    for task in tasks:
                        right = _annotations(texts[task.item.id])
                        await queue.submit(task.id, task.attempt, reviewer="ann", annotations=right)
                        done += 1
                return done

        return asyncio.run(answered())


def _annotations(sentence: Sentence) -> tuple[Annotation, ...]:
    return tuple(
        Annotation(id=str(n), label=span.label, geometry=TextSpan(start=span.start, end=span.end), score=1.0)
        for n, span in enumerate(sentence.spans)
    )


def some_texts(n: int, *, seed: int) -> dict[str, Sentence]:
    parts = ((part, number, text) for part in PARTS for number, text in enumerate(held_out_texts(part, n=n, seed=seed)))
    return {f"{part}-{seed}-{number}": text for part, number, text in parts}


@pytest.fixture
def project(tmp_path: Path, postgres_url: str) -> Project:
    project = Project(folder=tmp_path, url=postgres_url)
    project.config.write_text(f"""
models: [{WEIGHTS / "card.yaml"}]
tasks: {{ner: [sentence-tagger]}}
policies: {{ner: {{queue: texts, accept_score: 0.8, accept_no_miss: 0.7, accept_nothing_found: 0.9}}}}
certificates: {{ner: {{queue: texts, alpha: 0.1, delta: 0.2, audit_rate: 0.2, min_n: 60, source: source}}}}
""")
    return project


@pytest.fixture
def fitted(project: Project) -> tuple[Project, str]:
    """A project with a policy that is fitted and not yet in force."""
    texts = some_texts(80, seed=901)
    run_id = project.annotate(texts.items(), name="first")
    project.ask("sample", run_id, "--strategy", "random", "--budget", 240, "--seed", 1)
    project.answer(texts)
    return project, project.ask("policy", "fit", "--task", "ner")["id"]


def test_from_a_first_drop_to_a_policy_that_accepts_and_is_held_to_it(fitted: tuple[Project, str]) -> None:
    project, policy_id = fitted
    [shown] = project.ask("policy", "show")
    certificate = shown["certificates"][""]
    trial = project.ask("policy", "simulate", policy_id)
    project.call("policy", "activate", policy_id)
    texts = some_texts(60, seed=902)

    results = project.decisions(project.annotate(texts.items(), name="second"))
    project.answer(texts)
    audits = project.ask("policy", "audit", policy_id)

    assert (shown["state"], certificate["is_certified"]) == ("fitted", True)
    assert shown["calibration"]["id"] == shown["calibration_id"] and shown["calibration"]["item"]["n"] > 50
    assert {"method", "n", "fitted_at"} <= shown["calibration"]["labels"][0].keys()
    assert "seed" not in shown  # which would tell the audits beforehand
    assert len(shown["evidence"]["certified_on"]) == certificate["n"] > 100
    assert trial["coverage"] > 0.1 and "had this policy been active" in trial["summary"]
    assert {one["decision"]["policy_id"] for one in results} == {policy_id}
    assert all(one["calibrated"] and one["provenance"]["calibration_id"] for one in results)
    routes = [one["decision"]["route"] for one in results]
    assert {"accept", "audit", "review"} == set(routes)
    wrong = [
        one["id"]
        for one in results
        if one["decision"]["route"] in ("accept", "audit") and _spans(one) != sorted(_right(texts[one["id"]]))
    ]
    assert len(wrong) / len(results) <= 0.1 + 3 * (0.1 * 0.9 / len(results)) ** 0.5  # 180 items vary around the promise
    assert audits["routes"] == {route: routes.count(route) for route in set(routes)}
    assert audits["verdict"]["n_audited"] == routes.count("audit") and not audits["suspended"]
    assert {one["what"] for one in audits["drift"]} >= {"scores", "classes", "accepted"}


def _spans(result: dict[str, Any]) -> list[tuple[int, int, str]]:
    return sorted((a["geometry"]["start"], a["geometry"]["end"], a["label"]) for a in result["annotations"])


def _right(sentence: Sentence) -> list[tuple[int, int, str]]:
    return [(span.start, span.end, span.label) for span in sentence.spans]


def test_every_figure_of_a_certificate_can_be_counted_again_from_its_rows(fitted: tuple[Project, str]) -> None:
    project, policy_id = fitted
    certificate = project.ask("policy", "show", policy_id)["certificates"][""]

    traced = project.ask("policy", "trace", policy_id)

    [figures], rows = traced["figures"], traced["rows"]
    assert figures == {
        "slice": "",
        "n": certificate["n"],
        "n_accepted": certificate["n_accepted"],
        "errors": certificate["errors"],
        "is_same": True,
    }
    assert len(rows) == certificate["n"] and all(row["review_id"] for row in rows)
    assert sum(row["loss"] for row in rows if row["is_accepted"]) == certificate["errors"]


def test_a_drop_that_is_labelled_again_brings_no_fresh_answers(fitted: tuple[Project, str]) -> None:
    project, policy_id = fitted
    texts = some_texts(80, seed=901)
    project.annotate(texts.items(), name="again")  # the very items that it was fitted to, under other numbers
    again = project.ask("policy", "simulate", policy_id)
    project.call("policy", "activate", policy_id)
    later = some_texts(60, seed=905)
    project.annotate(later.items(), name="later")
    project.answer(texts | later)

    fresh = project.ask("policy", "simulate", policy_id)

    assert "that it was fitted to" in again["note"]
    assert "after the fit" in fresh["note"] and 10 < fresh["judged"] < 100


def test_a_suspended_policy_accepts_nothing_and_a_retired_one_decides_nothing(fitted: tuple[Project, str]) -> None:
    project, policy_id = fitted
    texts = some_texts(10, seed=903)
    project.call("policy", "activate", policy_id)
    project.call("policy", "suspend", policy_id, "--reason", "the camera was moved")
    suspended = project.decisions(project.annotate(texts.items(), name="suspended"))
    project.call("policy", "retire", policy_id)
    retired = project.decisions(project.annotate(texts.items(), name="retired"))

    assert {one["decision"]["route"] for one in suspended} == {"review"}
    assert "the camera was moved" in suspended[0]["decision"]["reason"]
    assert {one["decision"]["policy_id"].split("-")[0] for one in retired} == {"thresholds"}
    events = project.ask("policy", "show", policy_id)["events"]
    assert [(event["action"], event["reason"]) for event in events] == [
        ("activated", "activated"),
        ("suspended", "the camera was moved"),
        ("retired", "retired"),
    ]


def test_a_run_goes_on_with_the_policy_it_began_with(fitted: tuple[Project, str]) -> None:
    project, policy_id = fitted
    texts = some_texts(10, seed=904)
    began = project.annotate(texts.items(), name="began")  # under the thresholds
    project.call("policy", "activate", policy_id)

    resumed = project.label("--resume", began)  # nothing is left to do, and nothing keeps it from going on
    fresh = project.annotate(texts.items(), name="fresh")

    assert resumed == began
    assert {one["decision"]["policy_id"] for one in project.decisions(fresh)} == {policy_id}


def test_a_policy_whose_promise_is_broken_cannot_be_activated_again(fitted: tuple[Project, str]) -> None:
    project, policy_id = fitted

    async def broken() -> None:
        async with Store.open(project.url) as store:
            await Policies(store).suspend(policy_id, actor=AUDITS, reason="9 of 40 audited items were wrong")

    asyncio.run(broken())

    assert isinstance(project.refused("policy", "activate", policy_id), ConflictError)


def test_the_page_of_the_calibration_is_written(fitted: tuple[Project, str]) -> None:
    project, policy_id = fitted
    page = project.folder / "calibration.html"

    project.call("policy", "report", policy_id, "--out", page)

    html = page.read_text()
    assert policy_id in html and "person" in html and "<svg" in html


def test_terms_on_the_command_line_stand_in_for_configured_ones_and_are_checked(fitted: tuple[Project, str]) -> None:
    project, _ = fitted

    strict = project.ask("policy", "fit", "--task", "ner", "--mode", "accepted_error", "--alpha", 0.01)

    assert (strict["terms"]["mode"], strict["terms"]["alpha"], strict["round"]) == ("accepted_error", 0.01, 2)
    assert not strict["certificates"][""]["is_certified"]  # hundreds of labels prove no 1 %
    assert strict["certificates"][""]["threshold"] is None
    for option, value in (("--alpha", 0.7), ("--mode", "hope"), ("--delta", 0.0)):
        refused = project.refused("policy", "fit", "--task", "ner", option, value)
        assert isinstance(refused, ConfigError) and option.strip("-") in refused.message


def test_without_pre_labels_or_policies_the_message_says_what_to_do(project: Project) -> None:
    nothing = project.refused("policy", "fit", "--task", "ner")
    unknown = project.refused("policy", "show", "certified-0")
    other = project.refused("policy", "fit", "--task", "speech")

    assert isinstance(nothing, ConfigError) and "label something first" in nothing.message
    assert isinstance(unknown, NotFoundError) and "prelabel policy show" in unknown.message
    assert isinstance(other, ConfigError) and "choose one of: ner" in other.message
