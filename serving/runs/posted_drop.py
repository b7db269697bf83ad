"""Holds a drop that was posted to the service, and says whether the service may open it."""

from __future__ import annotations

from dataclasses import dataclass

from models.errors import ConfigError
from models.types import Task
from pipelines.errors import InvalidRequestError
from pipelines.sources import check_drop, open_source
from pipelines.sources.source import Source
from pipelines.store.values import Run
from serving.settings import Settings

LABEL_STUDIO = "label-studio"  # no drop that can be posted begins so


@dataclass(frozen=True, slots=True, kw_only=True)
class PostedDrop:
    """A drop, as it was named, to be labelled for a task; ``kind`` says what it is where its name does not.

    Who posts it may be anybody: it is opened under the service's own policy, unlike one that is named at the command
    line of whoever runs it (serving/drops/orders.py).
    """

    drop: str
    task: Task
    kind: str | None = None

    @property
    def connection_id(self) -> str | None:
        """The connected project whose tasks are the items, which the run holds; None for a drop that is listed."""
        scheme, _, name = self.drop.partition(":")
        return name if scheme == LABEL_STUDIO else None

    @property
    def name(self) -> str:
        """The last part of it, for people."""
        return self.drop.rstrip("/").rpartition("/")[2] or self.drop

    def as_source(self) -> dict[str, str]:
        """The drop as its run remembers it."""
        return {"drop": self.drop} | ({"named_kind": self.kind} if self.kind else {})

    @staticmethod
    def of(run: Run) -> PostedDrop | None:
        """What a run was posted with; None for any other run."""
        if not run.is_posted or run.task is None or run.source is None:
            return None
        return PostedDrop(drop=run.source["drop"], task=run.task, kind=run.source.get("named_kind"))

    def check(self, settings: Settings) -> None:
        """Find out what can be known without listing.

        Raises:
            InvalidRequestError: the task is not deployed (unknown_task), or the drop may not be opened, is not there,
                or is of no known kind, with the code that says which.
        """
        if self.task not in settings.tasks:
            deployed = ", ".join(sorted(settings.tasks))
            raise InvalidRequestError(
                "unknown_task", f"task '{self.task}' is not deployed here; choose one of: {deployed}"
            )
        try:
            check_drop(self.drop, policy=settings.fetch, kind=self.kind)
        except ConfigError as err:
            raise InvalidRequestError("invalid_drop" if err.code == "bad_config" else err.code, err.message) from err

    def open(self, settings: Settings) -> Source:
        """What lists its items.

        Raises:
            ConfigError: it is not there, may not be opened, or is nothing of the kind.
        """
        return open_source(self.drop, self.task, policy=settings.fetch, kind=self.kind)
