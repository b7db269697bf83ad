"""States what somebody wants to be promised before items are accepted without a human."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter

from models.types import Annotation, Item, Task
from pipelines.corrections.acceptable import Acceptable
from pipelines.policy.thresholds import Share

Mode = Literal["dataset_error", "accepted_error"]
# A half and 1 are no error rates that anybody would sign for; 0 cannot be certified by a sample.
Risk = Annotated[float, Field(gt=0.0, lt=0.5, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0.0, le=1.0, allow_inf_nan=False)]

ALL = ""  # the slice of items where the terms tell none apart


@dataclass(frozen=True, kw_only=True)
class Tier:
    """Items that call for more scrutiny than others, or for other people.

    An item belongs to the first tier whose ``labels`` its pre-label has one of, and whose ``where`` its slice keys
    meet; an empty condition always holds.

    Attributes:
        name: what reasons call it.
        is_always_reviewed: nothing of it is accepted.
        min_confidence: what its items must reach, where that is more than what was certified.
        audit_rate: the share of what is accepted that is audited; at least that of the terms.
        queue: where its items go, such as to experts.
        quota: the share of its items that go to that queue; the rest goes to the terms'.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    name: str
    labels: tuple[str, ...] = ()
    where: dict[str, str] = field(default_factory=dict)
    is_always_reviewed: bool = False
    min_confidence: Share = 0.0
    audit_rate: Rate | None = None
    queue: str | None = None
    quota: Share = 1.0

    def holds(self, item: Item, annotations: Iterable[Annotation]) -> bool:
        """Whether an item with this pre-label belongs to the tier."""
        if any(item.meta.get(key) != value for key, value in self.where.items()):
            return False
        return not self.labels or any(annotation.label in self.labels for annotation in annotations)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """The terms of a task's certificate.

    Attributes:
        target: when a pre-label counts as good enough as it is, where that is not what is usual for the task
            (corrections.Acceptable: iou, wer, graded).
        mode: what is bounded. dataset_error is the share of all items that are accepted and wrong: the error of the
            finished data set when humans mend the rest. accepted_error is the share of the accepted that are wrong: a
            stricter promise, which takes thousands of labels.
        alpha: the bound on that share.
        delta: the chance that the bound fails all the same, over all rounds of fitting together.
        slices: keys of items' meta; each combination of their values gets a threshold and a certificate of its own, at
            delta over their number. Items of a combination without one are reviewed.
        group: a key of items' meta whose equal values belong together, such as a video: their items count as one.
        source: a key of items' meta that says where an item comes from; those from elsewhere than the certified are
            reviewed.
        audit_rate: the share of all items, whatever their score, that is drawn for the random sample: what of it would
            be accepted is audited, and all of it is reviewed blind.
        min_n: the fewest random labels that are worth a try.
        queue: where items for humans go.
        tiers: which items call for more.
        scratch: by names of the uncertainty vector, above what a pre-label slows a human down rather than helps, and is
            not shown.
        audits: whether reviewers of the random sample see its pre-labels. "shown" needs their sensitivity, which is
            measured by pre-labels that are wrong on purpose.
        drift: what becomes of a policy whose items are no longer like those it was certified on: it is shown, or the
            policy is suspended, too.
        guideline: the version of the labelling guideline; another one voids the certificate.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    queue: str
    target: dict[str, float | bool] = field(default_factory=dict)
    mode: Mode = "dataset_error"
    alpha: Risk = 0.05
    delta: Risk = 0.05
    slices: tuple[str, ...] = ()
    group: str | None = None
    source: str | None = None
    audit_rate: Rate = 0.05
    min_n: Annotated[int, Field(ge=1)] = 100
    tiers: tuple[Tier, ...] = ()
    scratch: dict[str, Share] = field(default_factory=dict)
    audits: Literal["blind", "shown"] = "blind"
    drift: Literal["show", "suspend"] = "show"
    guideline: str = ""

    def acceptable(self, task: Task) -> Acceptable:
        """When a pre-label counts as good enough.

        Raises:
            ConfigError: the target says something else than the task can be measured by.
        """
        return Acceptable.of(task, self.target)

    def slice_of(self, item: Item) -> str:
        """The name of the slice that an item belongs to, such as "source=cam1, locale=de"."""
        return slice_name({key: item.meta.get(key, "") for key in self.slices})


def slice_name(values: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())


TERMS = TypeAdapter(Terms)
