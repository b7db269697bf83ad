"""Names the rules that a prediction keeps, what happens where it does not, and their thresholds."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BeforeValidator, ConfigDict, Field, PositiveFloat, TypeAdapter

Rule = Literal[
    "zero_area",
    "outside_image",
    "degenerate_polygon",
    "mask_crumbs",
    "sliver",
    "tiny_box",
    "outside_text",
    "empty_span",
    "untrimmed_span",
    "outside_recording",
    "empty_speech",
    "repetition",
    "duplicate",
    "exclusive_labels",
    "nested_box",
    "overlap_same_label",
    "overlap_other_label",
]
RULES: tuple[Rule, ...] = get_args(Rule)


def _named(value: object) -> object:
    """YAML 1.1 reads a bare off as false."""
    return "off" if value is False else value


Action = Annotated[Literal["off", "flag", "fix"], BeforeValidator(_named)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SanityRules:
    """What happens where a prediction breaks a rule: nothing (off), a finding (flag), a finding and a repair (fix).

    By default a rule repairs what has one right answer (an edge moved to the image's border, a space cut off) and what
    no reader can use (a box without area), or what says the same thing twice. What may be right after all is flagged:
    removing a label is for a human, or for whoever sets the rule to fix.

    Attributes:
        zero_area: a box that is reversed, flat or not finite; a mask without a pixel, or whose runs are none. Fix
            removes it: nothing can be drawn.
        outside_image: a box or a polygon that reaches beyond the image. Fix clips it, or removes it where nothing is
            left. Needs the image's size, as tiny_box does.
        degenerate_polygon: a polygon of fewer than three points, without area or not finite, is removed; points
            that repeat their neighbour are dropped. One that crosses itself is only ever flagged: where its inside is,
            nobody knows.
        mask_crumbs: small pieces apart from a mask's largest are removed; a mask of nothing but crumbs is only
            flagged.
        sliver: a box too thin for an object. Flagged, for poles, wires and horizons are thin. Fix removes it.
        tiny_box: a box that covers next to nothing of the image. Off, for in aerial images and street scenes those
            are what is looked for.
        outside_text: a span that reaches beyond the text. Fix clips or removes it: no reader takes it. Needs the text.
        empty_span: a span of nothing or of white space; fix removes it.
        untrimmed_span: a span that begins or ends in white space; fix cuts that off.
        outside_recording: a time span that begins before the recording or ends a millisecond or more behind it, is
            reversed or not finite. Fix clips or removes it. The end needs the recording's length.
        empty_speech: a segment whose text is empty, or missing where others of its label have one, and without words
            of its own; fix removes it.
        repetition: a transcript that runs in circles. Flagged, for songs and prayers do, too, and what was really
            said is not known. Fix leaves one turn of it, in the words as well; segments that repeat are removed.
        duplicate: a box or a text span that another with the same label already marks. Fix removes the one that
            scored lower.
        exclusive_labels: labels on one thing of which an ontology allows one. Flagged, for which of them is right is
            the question. Fix keeps the best score.
        nested_box: a box within a larger one of the same label. Flagged, for it may be a group and its members. Fix
            removes the inner one.
        overlap_same_label, overlap_other_label: text spans that overlap. Flagged, for nested names are ("University
            of [Paris]"), and which border is right is not known. Fix keeps the best score.
        sliver_px: a shorter side makes a sliver. What AI-TOD, a data set of tiny objects, calls very tiny begins at
            2 px (Wang et al. 2021).
        sliver_aspect: so does a longer side of more than so many times the shorter. The value of label-studio#9648,
            by which a user found 7,375 slivers in 2,379 images.
        tiny_share: of the image's area; the value of label-studio#9648.
        nested_share: of the inner box's area that lies in the outer one; the value of label-studio#9648. Above one
            half, for only then does its centre lie in there, too, by which candidates are found.
        duplicate_iou: no two objects look so much alike. Suppression in detectors begins at an overlap of 0.5
            (torchvision) or 0.7 (Segment Anything).
        crumb_px: a piece of fewer pixels is a crumb; Kirillov et al. 2023, appendix B (Segment Anything).
        crumb_share: … if it also has less than this share of the largest piece's pixels. The paper's images have
            millions of pixels; in a small one a hundred may be a limb. Of 60 masks that lost crumbs, of those that the
            demo's segmenter drew in 160 held-out scenes, 56 came closer to the truth.
        crumb_pieces: from so many pieces on, none of ``crumb_px``, a mask is nothing but crumbs.
        repeat_times: so many turns of a phrase in a row are a loop …
        repeat_words: … if they have so many words together: people say "no" four times, and rarely "thank you".
        repeat_ratio: letters for each byte of their zlib compression; Radford et al. 2022, §4.5.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", allow_inf_nan=False)

    zero_area: Action = "fix"
    outside_image: Action = "fix"
    degenerate_polygon: Action = "fix"
    mask_crumbs: Action = "fix"
    sliver: Action = "flag"
    tiny_box: Action = "off"
    outside_text: Action = "fix"
    empty_span: Action = "fix"
    untrimmed_span: Action = "fix"
    outside_recording: Action = "fix"
    empty_speech: Action = "fix"
    repetition: Action = "flag"
    duplicate: Action = "fix"
    exclusive_labels: Action = "flag"
    nested_box: Action = "flag"
    overlap_same_label: Action = "flag"
    overlap_other_label: Action = "flag"

    sliver_px: PositiveFloat = 2.0
    sliver_aspect: Annotated[float, Field(gt=1.0)] = 20.0
    tiny_share: Share = 0.003
    nested_share: Annotated[float, Field(gt=0.5, le=1.0)] = 0.85
    duplicate_iou: Annotated[float, Field(ge=0.5, le=1.0)] = 0.9
    crumb_px: Annotated[int, Field(ge=1)] = 100
    crumb_share: Share = 0.01
    crumb_pieces: Annotated[int, Field(ge=2)] = 10
    repeat_times: Annotated[int, Field(ge=2)] = 4
    repeat_words: Annotated[int, Field(ge=1)] = 8
    repeat_ratio: Annotated[float, Field(gt=1.0)] = 2.4

    def action(self, rule: Rule) -> Literal["off", "flag", "fix"]:
        return getattr(self, rule)

    def digest(self) -> str:
        """sha256 in hex of every action and threshold; the same rules have the same digest."""
        return hashlib.sha256(_RULES.dump_json(self)).hexdigest()


_RULES = TypeAdapter(SanityRules)
