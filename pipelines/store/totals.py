"""Adds up corrections, group by group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Executable, Select, and_, cast, column, func, literal, select, true
from sqlalchemy.dialects.postgresql import JSONB

from models.types import Task
from pipelines.errors import InvalidRequestError
from pipelines.store.jsonb import storable
from pipelines.store.tables import corrections, counts, decisions, items, prelabels, reviews

GROUPINGS = ("label", "slice:KEY", "model", "stream", "route", "day", "week")

_SHARE_COUNTS = ("unchanged", "edited", "rejected", "added")
_RIGHT_COUNTS = ("right", "wrong", "missed")
_MEANS = ("iou", "span_f1", "wer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which corrections count; None for all. Those of seeded tasks never do.

    ``label``: reviews in which the class occurs, grouped by label that class alone. ``slice``: a key and a value of the
    items' meta. ``since``: answered then or later.
    """

    task: Task | None = None
    run_id: str | None = None
    label: str | None = None
    slice: tuple[str, str] | None = None
    stream: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What reviewers changed in a group of pre-labels.

    ``unchanged``, ``edited``, ``rejected``, ``added`` and ``untouched`` are of the reviews whose pre-label was
    ``shown``: who answers blind changes nothing. ``right``, ``wrong``, ``missed`` and ``errors`` are of all
    ``reviews``. Grouped by label, ``untouched``, ``errors``, ``cost``, ``seconds`` and the means are not known, as they
    belong to whole items.

    Attributes:
        untouched: reviews in which nothing was changed.
        cost: the mean of the shown reviews' costs (see corrections.correction), in seconds by assumption.
        seconds: the median of what reviewers took, of those who said it.
        iou: the mean over the reviews that have one; so are ``span_f1`` and ``wer``.
    """

    group: str
    reviews: int
    shown: int
    unchanged: int
    edited: int
    rejected: int
    added: int
    right: int = 0
    wrong: int = 0
    missed: int = 0
    untouched: int | None = None
    cost: float | None = None
    seconds: float | None = None
    iou: float | None = None
    span_f1: float | None = None
    wer: float | None = None
    errors: dict[str, int] = field(default_factory=dict)

    @property
    def acceptance_rate(self) -> float | None:
        """The share of the shown annotations that stayed as they were."""
        return _share(self.unchanged, self.unchanged + self.edited + self.rejected)

    @property
    def untouched_rate(self) -> float | None:
        """The share of the shown pre-labels in which nothing was changed."""
        return None if self.untouched is None else _share(self.untouched, self.shown)

    @property
    def precision(self) -> float | None:
        """The share of the annotations that were acceptable, shown or not."""
        return _share(self.right, self.right + self.wrong)

    @property
    def recall(self) -> float | None:
        """The share of what there is that an acceptable annotation stood for."""
        return _share(self.right, self.right + self.missed)


def queries_of(by: str | None, chosen: Chosen) -> Sequence[Executable]:
    """What to ask for the totals of the groups; each row names its ``group`` and fields of its Totals.

    Raises:
        InvalidRequestError: there is no such grouping.
    """
    conditions = _conditions(chosen)
    if by == "label":
        only = [] if chosen.label is None else [_LABEL.c.key == storable(chosen.label)]
        return [_by_label(_LABEL.c.key, [*conditions, *only])]
    group = _group(by)
    return [_whole(group, conditions), _rights(group, conditions), _errors(group, conditions)]


_SOURCE = (
    corrections.join(reviews, reviews.c.id == corrections.c.review_id)
    .join(prelabels, prelabels.c.id == corrections.c.prelabel_id)
    .join(items, and_(items.c.run_id == prelabels.c.run_id, items.c.id == prelabels.c.item_id))
    .join(decisions, decisions.c.prelabel_id == prelabels.c.id)
)
_LABEL = func.jsonb_each(corrections.c.by_label).table_valued("key", column("value", JSONB)).lateral("of_label")
_ERROR = func.jsonb_each(corrections.c.errors).table_valued("key", column("value", JSONB)).lateral("of_error")


def _conditions(chosen: Chosen) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = [corrections.c.stream != "seeded", counts]
    if chosen.task is not None:
        found.append(corrections.c.task == chosen.task)
    if chosen.run_id is not None:
        found.append(prelabels.c.run_id == storable(chosen.run_id))
    if chosen.label is not None:
        found.append(corrections.c.by_label.has_key(storable(chosen.label)))
    if chosen.slice is not None:
        key, value = map(storable, chosen.slice)
        found.append(items.c.meta[key].astext == value)
    if chosen.stream is not None:
        found.append(corrections.c.stream == storable(chosen.stream))
    if chosen.since is not None:
        found.append(reviews.c.submitted_at >= chosen.since)
    return found


def _group(by: str | None) -> ColumnElement[str]:
    """What a whole review is grouped by."""
    moment = func.timezone("UTC", reviews.c.submitted_at)
    match (by or "").partition(":"):
        case ("", "", ""):
            return literal("all")
        case ("slice", ":", key) if key:
            return func.coalesce(items.c.meta[storable(key)].astext, "")
        case ("model", "", ""):
            return prelabels.c.provenance["model"].astext + "@" + prelabels.c.provenance["model_version"].astext
        case ("stream", "", ""):
            return corrections.c.stream
        case ("route", "", ""):
            return decisions.c.route
        case ("day" | "week" as unit, "", ""):
            return func.to_char(func.date_trunc(unit, moment), "YYYY-MM-DD")
        case _:
            raise InvalidRequestError(
                "invalid_argument", f"corrections are grouped by one of {', '.join(GROUPINGS)}; got '{by}'"
            )


def _whole(group: ColumnElement[str], conditions: list[ColumnElement[bool]]) -> Select[Any]:
    """The counts and means of whole reviews."""
    is_shown = corrections.c.is_shown
    touches = corrections.c.edited + corrections.c.rejected + corrections.c.added
    middle = func.percentile_cont(0.5).within_group(corrections.c.seconds)
    return _grouped(
        group,
        conditions,
        func.count().label("reviews"),
        func.count().filter(is_shown).label("shown"),
        func.count().filter(and_(is_shown, touches == 0)).label("untouched"),
        *(_sum(corrections.c[name], name, is_shown) for name in _SHARE_COUNTS),
        *(func.avg(corrections.c[name]).label(name) for name in _MEANS),
        func.avg(corrections.c.cost).filter(is_shown).label("cost"),
        middle.label("seconds"),
    )


def _rights(group: ColumnElement[str], conditions: list[ColumnElement[bool]]) -> Select[Any]:
    """What was acceptable, in the sum over the classes."""
    return _grouped(group, conditions, *(_sum(_count_of_label(name), name) for name in _RIGHT_COUNTS), beside=_LABEL)


def _by_label(group: ColumnElement[str], conditions: list[ColumnElement[bool]]) -> Select[Any]:
    is_shown = corrections.c.is_shown
    return _grouped(
        group,
        conditions,
        func.count().label("reviews"),
        func.count().filter(is_shown).label("shown"),
        *(_sum(_count_of_label(name), name, is_shown) for name in _SHARE_COUNTS),
        *(_sum(_count_of_label(name), name) for name in _RIGHT_COUNTS),
        beside=_LABEL,
    )


def _errors(group: ColumnElement[str], conditions: list[ColumnElement[bool]]) -> Select[Any, Any]:
    """One row for each group, with its errors as JSON."""
    each = _grouped(
        group,
        conditions,
        _ERROR.c.key.label("error"),
        _sum(cast(_ERROR.c.value, BigInteger), "many"),
        beside=_ERROR,
        also=[_ERROR.c.key],
    ).subquery("each")
    return select(each.c.group, func.jsonb_object_agg(each.c.error, each.c.many).label("errors")).group_by(each.c.group)


def _grouped(
    group: ColumnElement[str],
    conditions: list[ColumnElement[bool]],
    *columns: ColumnElement[Any],
    beside: Any = None,
    also: list[ColumnElement[Any]] | None = None,
) -> Select[Any]:
    named = group.label("group")
    source = _SOURCE if beside is None else _SOURCE.join(beside, true())
    return select(named, *columns).select_from(source).where(*conditions).group_by(named, *(also or ()))


def _count_of_label(name: str) -> ColumnElement[int]:
    return cast(_LABEL.c.value[name], BigInteger)


def _sum(counted: ColumnElement[Any], name: str, condition: ColumnElement[bool] | None = None) -> ColumnElement[Any]:
    total = func.sum(counted)
    filtered = total if condition is None else total.filter(condition)
    return cast(func.coalesce(filtered, 0), BigInteger).label(name)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
