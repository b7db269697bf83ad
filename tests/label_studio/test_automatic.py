"""Imports tasks into a connected project, and looks that each is labelled once, whatever becomes of its webhook."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from tests.label_studio.builders import some_tasks
from tests.label_studio.product import Product
from tests.label_studio.projects import TEXTS, Studio, eventually
from tests.label_studio.relay import Relay

NAMES = ("Denndine Thalvsen", "Leinen Krounaberg", "Louckas Taloley", "Simon Zougton")


def texts(count: int, *, of: str) -> list[dict[str, str]]:
    return [{"text": f"{NAMES[n % len(NAMES)]} came to {of} on {n + 1} May 2021."} for n in range(count)]


def predicted(studio: Studio) -> Counter[int]:
    return Counter(one["task"] for one in studio.predictions())


def looks(product: Product, studio: Studio) -> bool:
    """Whether nothing is on its way any more."""
    [listed] = [one for one in product.ask("label-studio", "list") if one["project"] == studio.id]
    return not listed["owed"]


def test_tasks_are_labelled_once_as_they_come_with_their_webhook_once_twice_or_lost(
    studio: Callable[..., Studio], admin: httpx.Client, product: Product, relay: Relay
) -> None:
    project = studio(TEXTS, tasks=texts(3, of="Nepal"), title="as they come")
    project.connect(service=relay.url)

    before = [task["id"] for task in project.tasks()]
    eventually(lambda: predicted(project), until=lambda found: found == Counter(before))  # they were there

    hooked = some_tasks(admin, project.id, texts(5, of="Dougton"))
    eventually(lambda: predicted(project), until=lambda found: found == Counter(before + hooked))
    [hook] = relay.hooks("TASKS_CREATED")
    assert {task["id"] for task in hook.sent["tasks"]} == set(hooked)
    assert (hook.status, hook.answer) == (201, {"status": "ok"})

    for _ in range(2):
        again = httpx.post(product.address + hook.path, json=hook.sent, trust_env=False)
        assert again.json() == {"status": "ok"}

    for one in project.webhooks():
        admin.delete(f"/api/webhooks/{one['id']}/").raise_for_status()
    lost = some_tasks(admin, project.id, texts(4, of="Nelvovia"))
    found = eventually(lambda: predicted(project), until=lambda found: set(found) >= set(lost))

    assert len(relay.hooks("TASKS_CREATED")) == 1
    assert found == Counter(before + hooked + lost)  # by then, what was sent twice has been followed: it is older
    assert relay.of("predict") == []  # Label Studio has asked for none
    assert looks(product, project)


def test_a_project_on_demand_is_labelled_when_it_is_asked_for_alone(
    studio: Callable[..., Studio], admin: httpx.Client, product: Product, relay: Relay
) -> None:
    project = studio(TEXTS, title="on demand")
    project.connect("--on-demand", service=relay.url)
    automatic = studio(TEXTS, title="automatic")
    automatic.connect()

    first, second = some_tasks(admin, project.id, texts(2, of="Nepal"))
    seen = some_tasks(admin, automatic.id, texts(2, of="Nepal"))
    eventually(lambda: predicted(automatic), until=lambda found: found == Counter(seen))

    assert len(relay.hooks("TASKS_CREATED")) == 1
    assert predicted(project) == Counter()

    assert len(project.open(first)["predictions"]) == 1

    assert predicted(project) == Counter([first])
    assert second not in predicted(project)


@pytest.mark.parametrize("texts_of", [20])
def test_what_label_studio_asks_for_while_it_is_being_labelled_is_stored_once(
    studio: Callable[..., Studio], admin: httpx.Client, relay: Relay, texts_of: int
) -> None:
    project = studio(TEXTS, title="both ways")
    project.connect(service=relay.url)

    ids = some_tasks(admin, project.id, texts(texts_of, of="Brouxarholm"))
    project.retrieve()

    assert len(relay.of("predict")) == 1
    eventually(lambda: predicted(project), until=lambda found: set(found) == set(ids))
    eventually(lambda: looks(project.product, project))
    assert predicted(project) == Counter(ids)


def test_tasks_that_are_deleted_and_imported_again_are_labelled_again(
    studio: Callable[..., Studio], admin: httpx.Client
) -> None:
    project = studio(TEXTS, title="again")
    project.connect()
    given = texts(3, of="Kledoford")
    ids = some_tasks(admin, project.id, given)
    eventually(lambda: predicted(project), until=lambda found: found == Counter(ids))

    admin.delete(f"/api/projects/{project.id}/tasks/").raise_for_status()
    again = some_tasks(admin, project.id, given)

    assert again == ids  # Label Studio over SQLite gives the same numbers again
    eventually(lambda: predicted(project), until=lambda found: found == Counter(again), limit_s=60.0)
