"""Connects with tokens and keys of every kind, right ones and wrong ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import httpx
import pytest

from serving.auth import new_key
from tests.label_studio import pictures
from tests.label_studio.builders import annotate
from tests.label_studio.product import Product
from tests.label_studio.projects import BOXES, TEXTS, Studio, eventually
from tests.label_studio.relay import Relay
from tests.label_studio.server import LabelStudioServer


def test_a_personal_access_token_opens_media_and_takes_answers(
    studio: Callable[..., Studio], product: Product, personal_token: str
) -> None:
    project = studio(BOXES, title="personal token")
    ids = project.upload({f"{n}.jpg": content for n, content in enumerate(pictures.many(3, side_px=128))})
    connected = project.connect(token=personal_token)

    stored = eventually(project.predictions, until=lambda found: len(found) >= len(ids))

    assert Counter(one["task"] for one in stored) == Counter(ids)
    annotate(project.admin, ids[0], result=[], parent_prediction=None)
    [listed] = [one for one in product.ask("label-studio", "list") if one["project"] == project.id]
    assert (listed["there"], listed["failed"]) == (3, 0)
    drop = f"label-studio:{connected['connection']}"
    [run] = [run["id"] for run in product.ask("runs", "list") if run["source"].get("drop") == drop]
    eventually(lambda: product.corrections(run), until=lambda found: found["reviews"] == 1)


def test_label_studio_sends_the_api_key_with_every_call_but_webhooks_which_the_path_admits(
    studio: Callable[..., Studio], product: Product, relay: Relay
) -> None:
    project = studio(TEXTS, tasks=[{"text": "Denndine Thalvsen came to Nepal."}], title="keys")
    project.connect("--on-demand", service=relay.url)
    assert len(project.open(project.tasks()[0]["id"])["predictions"]) == 1
    annotate(project.admin, project.tasks()[0]["id"], result=[])

    [hook] = eventually(lambda: relay.hooks("ANNOTATION_CREATED"))
    calls = [call for call in relay.calls if call.what != "models"]  # which is asked by "connect"
    authorized = {call.what: "authorization" in {name.lower() for name in call.headers} for call in calls}

    assert authorized == {"health": True, "setup": True, "predict": True, "webhook": False}
    assert (hook.status, hook.answer) == (201, {"status": "ok"})
    predict = relay.of("predict")[0]
    with httpx.Client(base_url=product.address, trust_env=False, timeout=60.0) as nobody:
        assert nobody.post(predict.path, json=predict.sent).status_code == 401  # the path alone admits webhooks only
        assert nobody.post(hook.path, json=hook.sent).status_code == 201
        known = hook.path.split("/")[-2]
        for wrong in (known[:-4] + "AAAA", "0" * 12 + known[12:]):
            assert nobody.post(hook.path.replace(known, wrong), json=hook.sent).status_code == 404
        assert nobody.post("/label-studio/ner/webhook", json=hook.sent).status_code == 401


@pytest.mark.parametrize(("kind", "says"), [("key", "a valid API key"), ("token", "refused the legacy token")])
def test_a_wrong_key_or_token_connects_nothing_and_says_so(
    studio: Callable[..., Studio], shared_server: LabelStudioServer, product: Product, kind: str, says: str
) -> None:
    project = studio(TEXTS, title=f"wrong {kind}")
    key, token = product.api_key, shared_server.token
    wrong = new_key()[0] if kind == "key" else "f" * 40
    given = ["--token", wrong if kind == "token" else token, "--api-key", wrong if kind == "key" else key]

    done = product.run("label-studio", "connect", shared_server.url, "-p", str(project.id), *given)

    assert done.returncode == 1
    assert says in " ".join(done.stderr.split())
    assert wrong not in done.stdout + done.stderr
    assert project.get("/api/ml/", project=project.id) == []
    assert project.webhooks() == []
    assert project.id not in {one["project"] for one in product.ask("label-studio", "list")}
