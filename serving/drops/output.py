"""Writes the folder of a run out of the store: Parquet shards, a report, and run.json."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from models.errors import ItemError
from pipelines.fetch import FetchPolicy, files
from pipelines.fetch.fetcher import scheme_of
from pipelines.formats import parquet, report, run_manifest
from pipelines.formats.exported import Exported
from pipelines.formats.report import Entry
from pipelines.formats.run_manifest import OutputFile, RunManifest
from pipelines.formats.stored import with_entries
from pipelines.formats.summary import TaskSummary, summary_of
from pipelines.prelabel import Fetches
from pipelines.progress import Progress
from pipelines.store.drops import Drops
from pipelines.store.store import Store
from pipelines.store.values import TaskCounts
from serving.drops.orders import Order
from serving.settings import Settings

_ROWS_PER_SHARD = 100_000
# Failures of items that were not opened, or must not be: their files are not shown either.
_UNOPENED = frozenset(
    {"blocked_url", "too_large", "not_found", "fetch_failed", "unreachable", "invalid_item", "invalid_entry"}
)


async def write_output(
    manifest: RunManifest, store: Store, order: Order, settings: Settings, fetcher: Fetches, *, progress: Progress
) -> RunManifest:
    """Write what a run has come to so far, by an attempt that has made this progress; what run.json says."""
    out, run = order.out, await store.run(manifest.run)
    found = {counts.task: counts for counts in await store.counts(run.id)}
    counts = found.get(order.task, TaskCounts(task=order.task))
    write_shards = partial(parquet.write_shards, out=out, rows_per_shard=_ROWS_PER_SHARD)
    shards = await with_entries(store, run.id, fetcher, write_shards)
    summary, seconds = [rated(counts, progress)], progress.elapsed_s
    title, errors = f"{run.name}: {order.task}", await Drops(store).error_counts(run.id)
    remarks, standards = await Drops(store).remarks(run.id), settings.standards
    facts = _facts(manifest, seconds)

    def write_report(entries: Iterable[Exported]) -> None:
        shown = (
            Entry(result=one.result, source=_source(one, settings.fetch), text=one.text, limits=settings.media)
            for one in entries
        )
        report.write(
            shown,
            out / "report.html",
            title=title,
            summary=summary,
            errors=errors,
            sanity=remarks.by_rule(standards.checked_rules(order.task)),
            rules_off=standards.rules_off(order.task),
            unmapped=remarks.by_label(),
            facts=facts,
        )

    await with_entries(store, run.id, fetcher, write_report)
    finished = replace(
        manifest,
        status=run.status,
        finished_at=run.finished_at,
        seconds=seconds,
        counts=counts,
        errors=tuple(errors),
        findings=remarks.findings,
        unmapped=remarks.unmapped,
        files=tuple(
            OutputFile(name=shard.path.name, rows=shard.rows, size_bytes=shard.bytes, sha256=shard.sha256)
            for shard in shards
        ),
    )
    run_manifest.write(finished, out)
    return finished


def rated(counts: TaskCounts, progress: Progress) -> TaskSummary:
    """The numbers of a run, with the speed of the attempt that has made this progress, if it has labelled anything."""
    return replace(summary_of(counts, seconds=None), items_per_s=progress.items_per_s or None)


def _facts(manifest: RunManifest, seconds: float) -> dict[str, str]:
    """What the report says of the run beside its numbers."""
    facts = {
        "run": manifest.run,
        "drop": manifest.source.get("drop", ""),
        "started": f"{manifest.created_at:%Y-%m-%d %H:%M:%S %Z}",
        "attempts": str(manifest.attempts),
        "seconds, last attempt": f"{seconds:.1f}",
        "policy": manifest.policy or "",
        "prelabel": manifest.code_version,
    }
    return {name: fact for name, fact in facts.items() if fact}


def _source(entry: Exported, policy: FetchPolicy) -> Path | None:
    """The item's own file, if it is one that may be opened."""
    error, uri = entry.result.error, entry.item.uri
    if uri is None or scheme_of(uri) != "file" or (error is not None and error.code in _UNOPENED):
        return None
    with suppress(ItemError):  # gone since
        return files.find(uri, policy)
    return None
