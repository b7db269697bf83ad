"""Checks the auto-annotation function under cvat-cli itself, against a server of the tests and the demo's models."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import serving.integrations.cvat
from models.demo.scenes import LABELS
from models.errors import ConfigError
from serving.client import Client
from serving.integrations.cvat.annotate import annotate_task
from serving.integrations.cvat.function import create
from serving.integrations.cvat.server import CvatServer
from tests.serving.integrations.cvat.images import frames, labels
from tests.serving.integrations.cvat.real import forward_calls
from tests.serving.integrations.cvat.stub import TOKEN, StubCvat, StubTask, a_cvat

ROOT = Path(__file__).parents[4]
CVAT_CLI = ROOT / ".venv-readers" / "cvat" / "bin" / "cvat-cli"
MODULE = "serving.integrations.cvat"
NAMES = ",".join(LABELS)


def cvat_cli(cvat: StubCvat, words: Sequence[str], home: Path) -> subprocess.CompletedProcess[str]:
    """Run cvat-cli in its own environment, where prelabel's code is but not its libraries."""
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "CVAT_ACCESS_TOKEN": TOKEN,
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "HOME": str(home),
    }
    command = [str(CVAT_CLI), "--server-host", cvat.address, *words]
    return subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=300)


def auto_annotate(
    cvat: StubCvat, address: str, home: Path, *, options: Sequence[str] = (), **parameters: str | int
) -> dict[str, Any]:
    """What ``cvat-cli task auto-annotate`` uploads."""
    given: dict[str, str | int] = {"url": address, "labels": NAMES} | parameters
    words = [f"{name}={'int' if isinstance(value, int) else 'str'}:{value}" for name, value in given.items()]
    parts = [word for one in words for word in ("-p", one)]
    done = cvat_cli(cvat, ["task", "auto-annotate", "1", "--function-module", MODULE, *parts, *options], home)
    assert done.returncode == 0, done.stderr
    return cvat.tasks[1].annotations[-1]


@pytest.fixture
def cvat() -> Iterator[StubCvat]:
    with a_cvat(tasks={1: StubTask(files=frames(6, first=400), labels=labels(), chunk=5)}) as running:
        yield running


def test_cvat_cli_gets_a_hundred_frames_in_at_most_twenty_forward_calls(address: str, tmp_path: Path) -> None:
    task = StubTask(files=frames(100), labels=labels(attributes=("score", "score_kind")), chunk=36)
    with a_cvat(tasks={1: task}) as cvat:
        calls, items = forward_calls(address, "shapes-detector")
        found = auto_annotate(
            cvat, address, tmp_path, cvat_url=cvat.address, cvat_task=1, attributes="score,score_kind"
        )
        calls_after, items_after = forward_calls(address, "shapes-detector")

    assert items_after - items == 100
    assert calls_after - calls <= 20
    assert len({shape["frame"] for shape in found["shapes"]}) > 90
    assert all(0 < shape["score"] < 1 for shape in found["shapes"])
    for shape in found["shapes"]:
        number, kind = (own["value"] for own in shape["attributes"])
        assert (float(number), kind) == (pytest.approx(shape["score"], abs=1e-4), "score")


def test_without_the_tasks_number_frames_are_computed_one_by_one_and_come_to_the_same(
    cvat: StubCvat, address: str, tmp_path: Path
) -> None:
    calls, _ = forward_calls(address, "shapes-detector")
    alone = auto_annotate(cvat, address, tmp_path)
    after, _ = forward_calls(address, "shapes-detector")
    with CvatServer(cvat.address, token=TOKEN) as server, Client(address) as client:
        annotate_task(server, 1, client, task="detection")

    together = cvat.tasks[1].annotations[-1]
    assert after - calls == 6
    assert len(alone["shapes"]) == len(together["shapes"]) > 6
    for one, other in zip(alone["shapes"], together["shapes"], strict=True):
        assert (one["frame"], one["label_id"], one["source"]) == (other["frame"], other["label_id"], other["source"])
        assert one["points"] == pytest.approx(other["points"], abs=0.1)
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)


def test_masks_become_polygons_and_unsure_objects_are_left_out_where_cvat_cli_is_told(
    address: str, tmp_path: Path
) -> None:
    with a_cvat(tasks={1: StubTask(files=frames(3, first=420), labels=labels("mask"))}) as cvat:
        masks = auto_annotate(cvat, address, tmp_path, task="segmentation", shape="mask")
        scores = sorted(shape["score"] for shape in masks["shapes"])
        cvat.tasks[1].labels = labels("polygon")
        polygons = auto_annotate(
            cvat,
            address,
            tmp_path,
            task="segmentation",
            shape="mask",
            options=["--conv-mask-to-poly", "--clear-existing", "--conf-threshold", str(scores[2])],
        )

    assert {shape["type"] for shape in masks["shapes"]} == {"mask"}
    assert {shape["type"] for shape in polygons["shapes"]} == {"polygon"}
    assert sorted(shape["score"] for shape in polygons["shapes"]) == scores[2:]
    assert polygons["method"] == "PUT"


def test_an_image_that_the_service_refuses_gets_no_shapes_and_is_named_at_the_end(
    cvat: StubCvat, address: str, tmp_path: Path
) -> None:
    task = ["-p", f"url=str:{address}", "-p", f"labels=str:{NAMES}", "-p", "task=str:detection"]
    # as long as it may be, and thinner than any model's input: the service refuses it by its limits
    cvat.tasks[1].files = [*frames(1, first=400), ("huge.png", _huge()), *frames(1, first=401)]

    done = cvat_cli(cvat, ["task", "auto-annotate", "1", "--function-module", MODULE, *task], tmp_path)

    assert done.returncode == 0, done.stderr
    assert "1 frames got no shapes: huge.png (too_large)" in done.stderr
    assert {shape["frame"] for shape in cvat.tasks[1].annotations[-1]["shapes"]} == {0, 2}


def _huge() -> bytes:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("1", (65_000, 1_300)).save(file, "PNG")
    return file.getvalue()


def test_cvat_clis_own_agent_runs_the_function(cvat: StubCvat, address: str, tmp_path: Path) -> None:
    parameters = ["--function-module", MODULE, "-p", f"url=str:{address}", "-p", f"labels=str:{NAMES}"]
    made = cvat_cli(cvat, ["function", "create-native", "Shapes", *parameters], tmp_path)
    assert made.returncode == 0, made.stderr
    function = cvat.functions[int(made.stdout)]
    for own in function["labels_v2"]:  # as CVAT gives them back
        own.setdefault("type", "any")
    mapping = {name: {"name": name} for name in LABELS}
    asked = {"type": "annotate_task", "task": 1, "mapping": mapping, "threshold": 0.5, "conv_mask_to_poly": False}
    cvat.ask("batch", "r1", asked)

    done = cvat_cli(cvat, ["function", "run-agent", made.stdout.strip(), *parameters, "--burst"], tmp_path)

    assert done.returncode == 0, done.stderr
    assert [own["name"] for own in function["labels_v2"]] == list(LABELS)
    assert cvat.failed == {}
    assert len(cvat.completed["r1"]["annotations"]["shapes"]) > 6


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, "labels are missing"),
        ({"labels": " , "}, "labels are missing"),
        ({"labels": "cat", "task": "ner"}, "images are labelled by detection or segmentation"),
        ({"labels": "cat", "shape": "cuboid"}, "one of any, rectangle, polygon, mask, tag"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_refused_before_any_frame(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        create(**parameters)


def test_the_package_is_the_function() -> None:
    assert serving.integrations.cvat.create is create
