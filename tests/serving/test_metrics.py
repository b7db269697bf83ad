"""Checks that the counts of several processes become one."""

from __future__ import annotations

import pickle

from prometheus_client.parser import text_string_to_metric_families

from models.types import Item
from pipelines.types import Failed, Failure
from serving.metrics import Metrics, exposition


def a_failure(code: str) -> Failed:
    item = Item(id="a", media="text", text="a")
    return Failed(item=item, task="ner", failure=Failure(code=code, message="it failed"))


def test_counts_of_several_processes_are_added_up_by_their_labels() -> None:
    one, other = Metrics(), Metrics()
    one.count([a_failure("timeout"), a_failure("timeout")])
    other.count([a_failure("timeout"), a_failure("too_large")])
    for metrics in (one, other):
        with metrics.measured():
            pass

    total = samples(one, other)

    assert total["prelabel_items_total", "timeout"] == 3.0
    assert total["prelabel_items_total", "too_large"] == 1.0
    assert total["prelabel_request_seconds_count", ""] == 2.0


def test_the_start_is_the_earliest_ones_and_not_a_sum() -> None:
    one, other = Metrics(), Metrics()

    begun = samples(one)["prelabel_request_seconds_created", ""]

    assert samples(one, other)["prelabel_request_seconds_created", ""] == begun


def samples(*processes: Metrics) -> dict[tuple[str, str], float]:
    """What is exposed, by a sample's name and its outcome; the counts travel as they do between gateways."""
    counts = [pickle.loads(pickle.dumps(metrics.counts())) for metrics in processes]  # noqa: S301 - our own bytes
    text = bytes(exposition(counts).body).decode()
    families = text_string_to_metric_families(text)
    return {
        (sample.name, sample.labels.get("outcome", "")): sample.value
        for family in families
        for sample in family.samples
        if "le" not in sample.labels
    }
