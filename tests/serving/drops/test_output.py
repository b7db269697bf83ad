"""Tests that what the rules find in a drop reaches the folder of its run: rows, report and run.json."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from models.card import BatchLimits, ModelCard
from models.engine import Engine
from models.media import MediaLimits, decode
from models.types import Annotation, Box, Content, ImagePayload, Payload, Prediction, Priority
from pipelines.batch import Batch, FlowLabels
from pipelines.formats import parquet, run_manifest
from pipelines.formats.run_manifest import RunManifest
from pipelines.ontology import Alias, Class, Ontology
from pipelines.policy import ThresholdPolicy
from pipelines.recent import Recent
from pipelines.remarks import FindingCount, UnmappedCount
from pipelines.sanity import SanityRules
from pipelines.sources import open_source
from pipelines.store.drops import Drops
from pipelines.store.store import Store
from pipelines.types import ModelUse
from serving.drops.orders import Order
from serving.drops.output import write_output
from serving.service import flow_over
from serving.settings import Settings, StoreSettings

STREET = Ontology(
    classes=(Class(name="vehicle"), Class(name="person")), aliases=(Alias(labels=("car", "auto"), to="vehicle"),)
)


@dataclass(frozen=True)
class Seen:
    brightness: float
    cost: float = 1.0


class Sloppy:
    """A detector that marks the same on every image, much of it wrong, and the brightness of the image last."""

    def prepare(self, payloads: Sequence[Payload]) -> list[Seen]:
        return [Seen(float(payload.image_rgb.mean())) for payload in payloads if isinstance(payload, ImagePayload)]

    def forward(self, batch: Sequence[Seen]) -> list[float]:
        return [seen.brightness for seen in batch]

    def read(self, raw: list[float], payloads: Sequence[Payload]) -> list[Prediction]:
        return [self._marked(brightness) for brightness in raw]

    def _marked(self, brightness: float) -> Prediction:
        boxes = [
            ("car", (-5.0, 4.0, 20.0, 30.0)),  # reaches beyond the image
            ("auto", (0.0, 4.0, 20.0, 30.0)),  # the same again, once both are vehicles within the image
            ("person", (40.0, 10.0, 40.0, 30.0)),  # flat
            ("person", (40.0, 10.0, 41.0, 30.0)),  # thin
            ("tram", (30.0, 30.0, 60.0, 60.0)),  # a class that nobody has
            *([("kite", (10.0, 40.0, 20.0, 50.0))] if brightness > 127 else []),
        ]
        annotations = tuple(
            Annotation(id=str(n), label=label, geometry=Box(xyxy=xyxy), score=0.9 - n / 100)
            for n, (label, xyxy) in enumerate(boxes)
        )
        return Prediction(annotations=annotations, signals={"min_score": 0.85, "no_miss": 0.9})


class OneEngine:
    """The flow's models: the sloppy one, behind a real engine."""

    def __init__(self) -> None:
        self.engine = Engine(Sloppy(), decode=partial(decode, limits=MediaLimits()), limits=BatchLimits())

    async def predict(
        self, model: str, content: Content, *, priority: Priority, deadline_s: float | None
    ) -> Prediction:
        return await self.engine.predict(content, priority=priority, deadline_s=deadline_s)

    def use_of(self, model: str) -> ModelUse:
        return ModelUse(name=model, version="1", weights_digest="w" * 64, config_digest="c" * 64)


@asynccontextmanager
async def labelled(
    folder: Path, store_url: str, *, sanity: SanityRules = SanityRules(), ontology: Ontology | None = None
) -> AsyncIterator[tuple[RunManifest, Path]]:
    """A run over four images, two of which are equal and one of which is broken: what it says, and its folder."""
    drop, out = folder / "drop", folder / "out"
    drop.mkdir()
    out.mkdir()
    for name, grey in (("a.png", 0), ("b.png", 255), ("same as b.png", 255)):
        Image.fromarray(np.full((64, 64, 3), grey, np.uint8)).save(drop / name)
    (drop / "broken.png").write_bytes((drop / "a.png").read_bytes()[:40])
    order = Order(drop=str(drop), task="detection", out=out)
    settings = Settings(
        models=(ModelCard(name="sloppy", task="detection", adapter="torchvision_detection", weights="unused"),),
        tasks={"detection": ("sloppy",)},
        policies={"detection": ThresholdPolicy(queue="images", accept_score=0.5)},
        store=StoreSettings(url=store_url),
        lock_file=Path("unused.lock"),
        sanity=sanity,
        ontology=ontology,
    )
    settings = settings.model_copy(update={"fetch": order.opened(settings.fetch)})
    models = OneEngine()
    async with Store.open(store_url) as store, flow_over(settings, models, store) as flow:
        drops = Drops(store)
        await drops.begin("r", name="drop", task="detection", source=order.as_source(), fingerprint={})
        async with drops.hold("r", worker="a test") as attempt:
            labels = FlowLabels(flow, at_once=1, recent=Recent(partial(drops.known, "r")))  # one after the other
            source = open_source(order.drop, order.task, policy=settings.fetch)
            batch = Batch("r", "detection", source=source, store=store, labels=labels, attempt=attempt)
            await store.finish_run("r", status=await batch.work())
        run = await store.run("r")
        manifest = RunManifest(
            run="r",
            status=run.status,
            task="detection",
            source={},
            code_version="1",
            created_at=run.created_at,
            finished_at=None,
        )
        yield await write_output(manifest, store, order, settings, flow.fetcher, progress=batch.progress), out
    await models.engine.close()


def panel(out: Path, heading: str) -> str:
    """The text of one of the report's panels; empty where it has none."""
    page = (out / "report.html").read_text(encoding="utf-8")
    [*_, found] = ["", *(part for part in page.split('<div class="panel">') if f"<h2>{heading}</h2>" in part)]
    return " ".join(re.sub(r"<[^>]+>", " ", found.partition("<details")[0]).split())


async def test_what_the_rules_find_is_repaired_counted_and_shown(tmp_path: Path, postgres_url: str) -> None:
    async with labelled(tmp_path, postgres_url, ontology=STREET) as (manifest, out):
        rows = {result.id: result for result in parquet.read(out)}

    assert run_manifest.read(out) == manifest
    assert manifest.findings == (
        FindingCount(rule="zero_area", action="removed", findings=3, items=3),
        FindingCount(rule="outside_image", action="changed", findings=3, items=3),
        FindingCount(rule="sliver", action="flagged", findings=3, items=3),
        FindingCount(rule="duplicate", action="removed", findings=3, items=3),
    )
    assert manifest.unmapped == (
        UnmappedCount(label="tram", annotations=3, items=3),
        UnmappedCount(label="kite", annotations=2, items=2),
    )
    assert rows["broken.png"].error
    assert [(a.id, a.label, a.geometry) for a in rows["a.png"].annotations] == [
        ("0", "vehicle", Box(xyxy=(0.0, 4.0, 20.0, 30.0))),
        ("3", "person", Box(xyxy=(40.0, 10.0, 41.0, 30.0))),
        ("4", "tram", Box(xyxy=(30.0, 30.0, 60.0, 60.0))),
    ]
    assert [found.annotation_id for found in rows["a.png"].findings] == ["2", "0", "3", "1"]
    assert rows["same as b.png"].findings == rows["b.png"].findings
    assert rows["same as b.png"].unmapped == {"tram": 1, "kite": 1}
    said = panel(out, "Sanity checks")
    for row in ("zero_area 0 0 3", "outside_image 0 3 0", "sliver 3 0 0", "duplicate 0 0 3"):
        assert row in said
    assert "Nothing found: nested_ box" in said
    assert "Switched off: tiny_ box" in said
    assert "tram 3 kite 2" in panel(out, "Unmapped labels")


async def test_rules_that_are_off_find_nothing_and_are_named(tmp_path: Path, postgres_url: str) -> None:
    off: Any = dict.fromkeys(("zero_area", "outside_image", "sliver", "duplicate", "nested_box"), "off")

    async with labelled(tmp_path, postgres_url, sanity=SanityRules(**off)) as (manifest, out):
        [dark] = [result for result in parquet.read(out) if result.id == "a.png"]

    assert (manifest.findings, manifest.unmapped) == ((), ())
    assert [(a.id, a.label) for a in dark.annotations] == [
        *[("0", "car"), ("1", "auto"), ("2", "person"), ("3", "person"), ("4", "tram")]
    ]
    assert dark.annotations[0].geometry == Box(xyxy=(-5.0, 4.0, 20.0, 30.0))
    assert "Switched off: zero_ area , outside_ image , sliver , tiny_ box , duplicate , nested_ box" in panel(
        out, "Sanity checks"
    )
    assert panel(out, "Unmapped labels") == ""
