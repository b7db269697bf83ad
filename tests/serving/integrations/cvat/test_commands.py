"""Checks the commands for CVAT as a person calls them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from typer.testing import CliRunner, Result

from models.errors import ConfigError
from serving.integrations.cvat.commands import cvat_app
from tests.serving.integrations.cvat.images import BAD, frames, labels
from tests.serving.integrations.cvat.stub import TOKEN, StubTask, a_cvat


def run(words: Sequence[str]) -> Result:
    return CliRunner().invoke(cvat_app, words, env={"CVAT_ACCESS_TOKEN": TOKEN})


def test_annotate_says_what_was_stored_and_which_frame_failed(address: str) -> None:
    task = StubTask(files=[*frames(2, first=700), ("bad.png", BAD)], labels=labels())
    with a_cvat(tasks={4: task}) as cvat:
        done = run(["annotate", "4", "--cvat", cvat.address, "--url", address, "--json"])

    said = json.loads(done.output)
    [stored] = task.annotations
    assert done.exit_code == 0
    assert (said["frames"], said["shapes"]) == (3, len(stored["shapes"]))
    assert [(frame["index"], frame["code"]) for frame in said["failed"]] == [(2, "unreadable_image")]


def test_annotate_ends_with_1_when_no_frame_could_be_labelled(address: str) -> None:
    with a_cvat(tasks={4: StubTask(files=[("bad.png", BAD)], labels=labels())}) as cvat:
        done = run(["annotate", "4", "--cvat", cvat.address, "--url", address])

    assert done.exit_code == 1
    assert "frame 0 (bad.png): unreadable_image" in done.output


def test_a_function_is_registered_and_an_agent_works_for_it(address: str) -> None:
    file = frames(1, first=702)
    names = [str(own["name"]) for own in labels()]
    with a_cvat(tasks={4: StubTask(files=file, labels=labels())}) as cvat:
        made = run(["register", "Shapes", "--cvat", cvat.address, "--labels", ",".join(names)])
        mapping = {name: {"name": name} for name in names}
        asked = {"type": "annotate_task", "task": 4, "mapping": mapping, "threshold": None, "conv_mask_to_poly": False}
        cvat.ask("batch", "r1", asked)
        done = run(["agent", made.output.strip(), "--cvat", cvat.address, "--url", address, "--burst"])

    assert (made.exit_code, done.exit_code) == (0, 0)
    assert cvat.functions[1]["kind"] == "detector"
    assert cvat.failed == {}
    assert cvat.completed["r1"]["annotations"]["shapes"]


def test_an_interactor_is_registered_with_what_it_takes() -> None:
    with a_cvat() as cvat:
        run(["register", "Clicks", "--cvat", cvat.address, "--interactor", "--public"])

    assert cvat.functions[1] == {
        "id": 1,
        "provider": "native",
        "name": "Clicks",
        "visibility": "public",
        "kind": "interactor",
        "min_pos_points": 0,
        "min_neg_points": 0,
        "startswith_box_optional": True,
    }


@pytest.mark.parametrize("words", [["--cvat", "http://[::1"], ["--cvat", "http://127.0.0.1:9", "--token", "ü"]])
def test_a_wrong_address_or_token_is_no_traceback(words: Sequence[str]) -> None:
    done = run(["annotate", "1", *words])

    assert isinstance(done.exception, ConfigError)  # which the command line says as one line
