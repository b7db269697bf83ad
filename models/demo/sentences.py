"""Writes sentences with marked persons, organisations, places and dates.

Names are composed of a stem (6,000 of them, each an opening, a vowel and a close) and an ending, or come from lists of
real ones. Every fourth stem (by checksum) and every fourth listed name is held out: evaluation uses these only, so none
of its persons, towns, countries, companies or acronyms occurs in training. Endings (-son, -ville, Systems) are shared,
as they are between real names.
"""

from __future__ import annotations

import re
import string
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from models.demo.templates import CHATS, FILLERS, FOREIGN, HEADLINES, TABLES, TEMPLATES, UNSEEN_TEMPLATES

Part = Literal["easy", "hard", "out_of_domain"]
PARTS: tuple[Part, ...] = ("easy", "hard", "out_of_domain")
LABELS = ("person", "organisation", "place", "date")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST_NAMES = _words("""
    Anna Omar Lucia Peter Amara Jonas Priya Mikhail Sofia Daniel Yuki Elena Kwame Ingrid Mateo Fatima Oliver Mei Hannah
    Tariq Camille Stefan Nadia Victor Leila Hugo Grace Andrei Isabel Samuel Zofia Rashid Clara Dmitri Aisha Thomas Noor
    Marta Felix Chidi Julia Ravi Astrid Paulo Helen Kofi Renata Simon Layla Magnus Teresa Ivan Miriam Lars Adaeze David
    Carmen Erik Sunita Martin Olga Hassan Emily Bruno Katya James Lin Rosa Anders Vera Musa Alice
""")
_OPENINGS = _words("""
    B Br C Ch D Dr F Fl Fr G Gl Gr H J K Kl Kr L M N P Pl Pr Qu R S Sh Sk St T Th Tr V W Y Z
""")
_VOWELS = _words("a e i o u ar en el or an in al ei ou")
_CLOSES = _words("b d g k l m n r s t v x ck lm nd rk st")
_FIRST_NAME_ENDINGS = _words("a o ia en as ik ine i us elle")
_COUNTRY_ENDINGS = _words("ia land stan ovia mark")
_MIDDLES = ("a", "en", "el", "o", "ar", "i", "er", "in")
_SURNAME_ENDINGS = _words("son sen berg man well ez ova ski quist ini ley mann ström wood ton ford ic ier dottir")
_TOWN_ENDINGS = _words("ville ton burg ford haven mouth stad field bridge minster grad pur abad holm port wick")
_TOWN_PREFIXES = ("Port", "New", "Saint", "Lake", "East", "North", "Upper", "Mount")
_COUNTRIES = _words("""
    Norway Kenya Peru Vietnam Portugal Canada Ghana Poland Chile Japan Morocco Austria Iceland Uganda Greece Mexico
    Finland Senegal Estonia Colombia Jordan Denmark Bolivia Nepal Ireland Tunisia Croatia Uruguay
""")
_COMPANY_ENDINGS = _words("""
    Systems Group Bank Industries Airlines Holdings Labs Foundation Motors Partners Energy Logistics Media Insurance
    Trust Software Robotics Foods
""")
_FIELDS = (
    "Marine Research", "Public Health", "Applied Physics", "Modern Art", "Urban Planning", "Labour", "Transport",
    "Polar Studies", "Justice", "Economics", "Education", "Folk Music",
)  # fmt: skip
_BODIES = ("Institute of", "Museum of", "Ministry of", "Centre for", "Department of", "Academy of")
_MONTHS = _words("January February March April May June July August September October November December")
_UNITS = ("year", "week", "month", "spring", "summer", "autumn", "winter")
_DAYS = _words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """The half-open range [start, end) of code points that carries a label."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """A text and the spans of all its names and dates, in order."""

    text: str
    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Names:
    """Draws names composed from held-out parts, or from all the others."""

    rng: np.random.Generator
    held_out: bool

    def pick(self, choices: Sequence[str]) -> str:
        return choices[int(self.rng.integers(len(choices)))]

    def part(self, choices: Sequence[str]) -> str:
        """One of this side's parts: every fourth is held out."""
        return self.pick([choice for index, choice in enumerate(choices) if (index % 4 == 3) == self.held_out])

    def stem(self) -> str:
        while True:
            stem = self.pick(_OPENINGS) + self.pick(_VOWELS) + self.pick(_CLOSES)
            if (zlib.crc32(stem.encode()) % 4 == 3) == self.held_out:
                return stem + (self.pick(_MIDDLES) if self.rng.random() < 0.3 else "")

    def first_name(self) -> str:
        composed = self.stem() + self.pick(_FIRST_NAME_ENDINGS)
        return composed if self.rng.random() < 0.4 else self.part(_FIRST_NAMES)

    def surname(self) -> str:
        return self.stem() + self.pick(_SURNAME_ENDINGS)

    def person(self) -> str:
        first, last, initial = self.first_name(), self.surname(), self.pick(string.ascii_uppercase)
        forms = (f"{first} {last}",) * 6 + (f"{initial}. {last}", f"{first} {initial}. {last}", first, last)
        return self.pick(forms)

    def town(self) -> str:
        if self.rng.random() < 0.15:
            return f"{self.pick(_TOWN_PREFIXES)} {self.stem()}{self.pick(_TOWN_ENDINGS)}"
        return self.stem() + self.pick(_TOWN_ENDINGS)

    def place(self) -> str:
        forms = (self.part(_COUNTRIES), self.stem() + self.pick(_COUNTRY_ENDINGS), *[self.town()] * 5)
        return self.pick(forms)

    def organisation(self) -> str:
        town, one, other = self.town(), self.surname(), self.surname()
        forms = (
            f"{self.stem()}{self.pick(('a', 'is', 'ex', 'on', 'ia'))} {self.pick(_COMPANY_ENDINGS)}",
            f"{one} {self.pick(_COMPANY_ENDINGS)}",
            f"{town} {self.pick(_COMPANY_ENDINGS)}",
            f"{one} & {other}",
            f"University of {town}",
            f"{town} University",
            f"{town} City Council",
            f"{self.pick(_BODIES)} {self.part(_FIELDS)}",
            self.acronym(),
        )
        return self.pick(forms)

    def acronym(self) -> str:
        """Three or four capitals; an odd number of letters before M marks the held-out ones."""
        while True:
            letters = "".join(self.pick(string.ascii_uppercase) for _ in range(int(self.rng.integers(3, 5))))
            if (sum(letter < "M" for letter in letters) % 2 == 1) == self.held_out:
                return letters

    def day(self) -> tuple[str, str]:
        """The preposition that a date takes, and the date."""
        day, month, year = int(self.rng.integers(1, 29)), int(self.rng.integers(12)), int(self.rng.integers(1950, 2031))
        name = _MONTHS[month]
        forms = (
            ("on ", f"{day} {name} {year}"),
            ("on ", f"{name} {day}, {year}"),
            ("on ", f"{day} {name}"),
            ("in ", f"{name} {year}"),
            ("on ", f"{year}-{month + 1:02d}-{day:02d}"),
            ("on ", f"{day:02d}/{month + 1:02d}/{year}"),
            ("on ", f"{self.pick(_DAYS)}, {day} {name}"),
            ("in ", str(year)),
        )
        return forms[int(self.rng.integers(len(forms)))]

    def when(self) -> tuple[str, str]:
        """As day, or in the near past."""
        forms = (("on ", self.pick(_DAYS)), ("", f"last {self.pick(_UNITS)}"))
        return forms[int(self.rng.integers(len(forms)))] if self.rng.random() < 0.3 else self.day()

    def soon(self) -> tuple[str, str]:
        """As day, or in the near future."""
        return ("", f"next {self.pick((*_DAYS, *_UNITS))}") if self.rng.random() < 0.5 else self.day()

    def of(self, slot: str) -> tuple[str, str, str]:
        """What fills a template's slot: words before the name, the name, and its label ("" for plain words)."""
        match slot:
            case "person":
                return "", self.person(), "person"
            case "organisation":
                return "", self.organisation(), "organisation"
            case "place":
                return "", self.place(), "place"
            case "date":
                return "", self.day()[1], "date"
            case "when":
                return *self.when(), "date"
            case "soon":
                return *self.soon(), "date"
            case "When":
                before, date = self.when()
                return (before.capitalize(), date, "date") if before else ("", date[0].upper() + date[1:], "date")
            case _:
                return "", self.pick(FILLERS[slot]), ""


_SLOT = re.compile(r"\{(\w+)\}")


def fill(template: str, names: Names, *, change: Callable[[str], str] = str) -> Sentence:
    """A template's slots filled with names; ``change`` is applied to every piece of the text."""
    text, spans = "", list[Span]()
    for index, piece in enumerate(_SLOT.split(template)):
        before, filled, label = names.of(piece) if index % 2 else ("", piece, "")
        text += change(before)
        filled = change(filled)
        if label:
            spans.append(Span(start=len(text), end=len(text) + len(filled), label=label))
        text += filled
    return Sentence(text=text, spans=tuple(spans))


def joined(sentences: Sequence[Sentence], *, by: str = " ") -> Sentence:
    """Several sentences as one text."""
    text, spans = "", list[Span]()
    for index, sentence in enumerate(sentences):
        text += by if index else ""
        spans += [Span(start=s.start + len(text), end=s.end + len(text), label=s.label) for s in sentence.spans]
        text += sentence.text
    return Sentence(text=text, spans=tuple(spans))


def a_training_text(rng: np.random.Generator) -> Sentence:
    """One to three everyday sentences with training names; some texts are longer, some in lower case."""
    names = Names(rng, held_out=False)
    text = joined([_everyday(names) for _ in range(4)]) if rng.random() < 0.06 else _everyday(names)
    return replace(text, text=text.text.lower()) if rng.random() < 0.08 else text


def a_held_out_text(part: Part, rng: np.random.Generator) -> Sentence:
    """A text of an evaluation part; all its names are unseen.

    easy: everyday sentences of the kinds seen in training. hard: kinds of sentences not seen in training, with slips of
    the keyboard, half of them in lower case. out_of_domain: chat messages, headlines, tables and other languages.
    """
    names = Names(rng, held_out=True)
    if part == "easy":
        return _everyday(names)
    if part == "hard":
        lower = rng.random() < 0.5
        return fill(names.pick(UNSEEN_TEMPLATES), names, change=lambda piece: _mistyped(piece, rng, lower=lower))
    genre = names.pick(("chat", "headline", "table", "foreign"))
    if genre == "headline":
        return fill(
            names.pick(HEADLINES), names, change=lambda piece: piece if piece.isupper() else string.capwords(piece, " ")
        )
    return fill(names.pick({"chat": CHATS, "table": TABLES, "foreign": FOREIGN}[genre]), names)


def held_out_texts(part: Part, *, n: int, seed: int) -> Iterator[Sentence]:
    """n texts of a part; the same seed gives the same texts."""
    rng = np.random.default_rng([seed, PARTS.index(part)])
    for _ in range(n):
        yield a_held_out_text(part, rng)


def _everyday(names: Names) -> Sentence:
    count = int(names.rng.choice([1, 2, 3], p=[0.6, 0.3, 0.1]))
    return joined([fill(names.pick(TEMPLATES), names) for _ in range(count)])


def _mistyped(piece: str, rng: np.random.Generator, *, lower: bool) -> str:
    words = [_slip(word, rng) if len(word) > 3 and rng.random() < 0.12 else word for word in piece.split(" ")]
    text = " ".join(words)
    return text.lower() if lower else text


def _slip(word: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(1, len(word) - 1))
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return str(rng.choice([swapped, word[:at] + word[at + 1 :], word[:at] + word[at] + word[at:]]))
