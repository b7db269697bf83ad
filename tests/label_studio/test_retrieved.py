"""Lets Label Studio retrieve predictions for many images, of which some cannot be opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.label_studio import pictures
from tests.label_studio.projects import BOXES, Studio, eventually
from tests.label_studio.relay import Relay

TASKS = 250
GARBAGE, DELETED = 15, 10
_FILES_A_CALL = 100  # Django takes no more


def uploaded(studio: Studio, files: list[bytes]) -> list[int]:
    ids = list[int]()
    for start in range(0, len(files), _FILES_A_CALL):
        part = files[start : start + _FILES_A_CALL]
        ids += studio.upload({f"{start + n}.jpg": content for n, content in enumerate(part)})
    return ids


def test_of_250_images_those_that_can_be_opened_get_one_prediction_and_the_others_are_asked_for_again(
    studio: Callable[..., Studio], relay: Relay
) -> None:
    whole = pictures.many(TASKS)
    broken = {n * TASKS // (GARBAGE + DELETED) for n in range(GARBAGE + DELETED)}
    garbage = set(sorted(broken)[:GARBAGE])
    drop = studio(BOXES, title="250 images")
    ids = uploaded(drop, [b"no picture" if n in garbage else content for n, content in enumerate(whole)])
    places = {task["id"]: drop.file_of(task["data"]["image"]) for task in drop.tasks()}
    for number in broken - garbage:
        places[ids[number]].unlink()
    drop.connect("--on-demand", service=relay.url)

    drop.retrieve()

    bad = {ids[number] for number in broken}
    good = set(ids) - bad
    assert (len(good), len(bad)) == (225, 25)
    stored = eventually(drop.predictions, until=lambda found: len(found) >= len(good))
    assert Counter(one["task"] for one in stored) == Counter(good)  # none is lost, none is there twice
    assert len({one["model_version"] for one in stored}) == 1
    assert [set(tasks) for tasks in relay.asked] == [set(ids)]

    drop.retrieve()

    assert [set(tasks) for tasks in relay.asked] == [set(ids), bad]
    assert Counter(one["task"] for one in drop.predictions()) == Counter(good)

    for number in broken:
        places[ids[number]].write_bytes(whole[number])
    drop.retrieve()

    stored = eventually(drop.predictions, until=lambda found: len(found) >= len(ids))
    assert [set(tasks) for tasks in relay.asked] == [set(ids), bad, bad]
    assert Counter(one["task"] for one in stored) == Counter(ids)
    [listed] = [one for one in drop.product.ask("label-studio", "list") if one["project"] == drop.id]
    assert (listed["owed"], listed["there"], listed["failed"]) == (0, 250, 0)
