"""Looks at where a project sends what happens in it."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from serving.doctor import Finding
from serving.integrations.label_studio.reach import OurBackend
from serving.integrations.label_studio.records import Backend, Webhook

# What the service acts upon.
WANTED = frozenset(
    {"TASKS_CREATED", "ANNOTATION_CREATED", "ANNOTATIONS_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"}
)
_SUFFIX = "/webhook"


def of(webhooks: Sequence[Webhook], backends: Sequence[Backend], ours: OurBackend) -> list[Finding]:
    """Whether Label Studio tells us of new tasks and answers; and webhooks that nobody needs any more.

    Label Studio adds a webhook when a backend is added (not when its address is changed later) and leaves it when the
    backend is deleted: each annotation then waits
    for it up to a second.
    """
    mine = [webhook for webhook in webhooks if ours.is_at(webhook.url.removesuffix(_SUFFIX))]
    needed = [backend.url.rstrip("/") + _SUFFIX for backend in backends]
    orphans = [hook for hook in webhooks if hook.url.endswith(_SUFFIX) and hook.url not in needed and hook not in mine]
    if mine and not any(ours.is_at(backend.url) for backend in backends):
        orphans += mine
        mine = []
    return [_ours(mine, [hook for hook in webhooks if hook not in orphans]), *map(_orphan, orphans)]


def _ours(mine: Sequence[Webhook], others: Sequence[Webhook]) -> Finding:
    subject = "webhook"
    if not mine:
        elsewhere = f" (there is one to {_shown(others[0].url)})" if others else ""
        advice = "add one in Settings → Webhooks to the address of the backend with /webhook behind it"
        text = f"none calls us{elsewhere}: new tasks and answers are found only when we poll; {advice}"
        return Finding(subject=subject, state="bad", text=text)
    active = [webhook for webhook in mine if webhook.is_active]
    if not active:
        text = f"the one that calls us (number {mine[0].id}) is off; turn it on in Settings → Webhooks"
        return Finding(subject=subject, state="bad", text=text)
    told = frozenset().union(*(WANTED if webhook.sends_all else webhook.actions for webhook in active))
    if missing := sorted(WANTED - told):
        text = f"ours is not told of {', '.join(missing)}; tick all actions in Settings → Webhooks"
        return Finding(subject=subject, state="bad", text=text)
    if not any(webhook.sends_payload for webhook in active):
        text = "ours comes without a payload; tick 'Send payload' in Settings → Webhooks"
        return Finding(subject=subject, state="bad", text=text)
    return Finding(subject=subject, state="ok", text=f"number {active[0].id} tells us of new tasks and answers")


def _orphan(webhook: Webhook) -> Finding:
    text = (
        f"number {webhook.id} calls {_shown(webhook.url)}, which is no backend of the project any more; each "
        "annotation waits for it; delete it in Settings → Webhooks"
    )
    return Finding(subject="webhook", state="note", text=text)


def _shown(url: str) -> str:
    """Without its path, which may hold a key."""
    parsed = httpx.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode()}"
