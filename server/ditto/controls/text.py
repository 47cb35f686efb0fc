"""Text: the clip sounds like what the words say, by the cosine of an audio-text score.

Two backends behind one seam. `shipped()` reads the mel: the tower and the arithmetic of
`text_model`, and a table of words (presets/text/words.tsv) of what each asks of their axes.
`clap.ClapBackend` is a real CLAP, which understands any sentence and needs the decoder.

The target is of a whole clip, so it is not sliced when the mel is.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from segue.presets.vocabulary import Code, SegueError
from segue.server.ditto.mel import MelConfig
from segue.server.ditto.text_model import TextModel, load

SHIPPED = files("segue.presets") / "text"
ENOUGH = 0.5  # the score that ships: real, fitting music's best tenth has 0.32 to 0.68 by text
MAX_CHARACTERS = 1000
LONGEST_PHRASE = 4  # words
NEGATIONS = {"no", "not", "without", "minus", "non", "never"}
DEGREES = {"less": -0.5, "fewer": -0.5, "more": 1.0, "very": 1.5, "really": 1.5}
DEGREES |= {"super": 1.5, "extremely": 1.5, "slightly": 0.5, "somewhat": 0.5, "little": 0.5}
DEGREES |= dict.fromkeys(NEGATIONS, -1.0)
NEUTRAL_WORDS = (
    "a an the and or nor with of in on at to for from by is it its this that like as but too any "
    "some bit quite rather style styled vibe vibes feel feeling mood tone sound sounds sounding "
    "music musical song track tune piece part section instrumental please make i want be"
)
NEUTRAL = frozenset(NEUTRAL_WORDS.split())


class Backend(Protocol):
    """What scores text and audio: unit vectors of one space."""

    def embed_text(self, text: str) -> Tensor:
        """What is asked for: (d,). Raises SegueError for a text that asks for nothing."""
        ...

    def embed_mel(self, mel: Tensor, config: MelConfig) -> Tensor:
        """What is heard: (batch, channels, frames) natural-log mel to (batch, d)."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What was understood of a text: (phrase, factor) as read, and the words not known."""

    known: tuple[tuple[str, float], ...]
    unknown: tuple[str, ...]


@lru_cache(maxsize=1)
def lexicon() -> dict[str, dict[str, float]]:
    """Each word or phrase, and what it asks of each axis."""
    meanings: dict[str, dict[str, float]] = {}
    rows = (SHIPPED / "words.tsv").read_text(encoding="utf-8").splitlines()
    for row in rows:
        if row.startswith("#") or row == "words\tmeaning":
            continue
        words, asked = row.split("\t")
        pairs = (each.rsplit(" ", 1) for each in asked.split("; "))
        meaning = {axis: float(weight) for axis, weight in pairs}
        meanings.update({" ".join(tokens(word)): meaning for word in words.split(", ")})
    return meanings


def tokens(text: str) -> list[str]:
    """Lower-case words; marks that end a thought stay, as a comma."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("&", " and ")
    plain = re.sub(r"['\u2019]", "", plain)
    return [m if m[0].isalnum() else "," for m in re.findall(r"[^\W_]+|[,.;:!?\n]", plain)]


def read(text: str) -> Reading:
    """Phrases of the table, the longest first, each with a factor: "no drums" is drums by -1.

    "very", "slightly", "less" and their like change the next thing said, "no" and "without" turn
    it round; "or" and "nor" carry that on, a comma ends it.
    """
    words, known, unknown = tokens(text), [], []
    at, factor, last = 0, 1.0, 1.0
    while at < len(words):
        phrase, taken = _known_at(words, at)
        if phrase:
            known.append((phrase, factor))
            factor, last = 1.0, factor
        elif words[at] in DEGREES:
            factor *= DEGREES[words[at]]
        elif words[at] == ",":
            factor = last = 1.0
        elif words[at] in ("or", "nor"):
            factor = min(last, 1.0)
        elif words[at] not in NEUTRAL:
            unknown.append(words[at])
            factor = last = 1.0
        at += taken
    return Reading(known=tuple(known), unknown=tuple(dict.fromkeys(unknown)))


def _known_at(words: list[str], at: int) -> tuple[str, int]:
    """The longest phrase of the table that starts there and how many words it has."""
    for length in range(min(LONGEST_PHRASE, len(words) - at), 0, -1):
        phrase = " ".join(words[at : at + length])
        for form in (phrase, phrase.removesuffix("s"), f"{phrase}s"):
            if form in lexicon():
                return form, length
    return "", 1


def weights(text: str) -> dict[str, float]:
    """What a text asks of each axis: the sum over its phrases.

    Raises SegueError when it is too long, has no known word, or its words cancel out.
    """
    if len(text) > MAX_CHARACTERS:
        said = f"the text has {len(text)} characters; {MAX_CHARACTERS} are allowed"
        raise SegueError(Code.BAD_REQUEST, said)
    reading = read(text)
    if not reading.known:
        raise SegueError(Code.BAD_REQUEST, f"{_unknown(text, reading.unknown)}; {_examples()}")
    asked: dict[str, float] = {}
    for phrase, factor in reading.known:
        for axis, weight in lexicon()[phrase].items():
            asked[axis] = asked.get(axis, 0.0) + factor * weight
    if max(map(abs, asked.values())) < 1e-6:
        said = f"the words of {text!r} cancel each other out; leave one of them away"
        raise SegueError(Code.BAD_REQUEST, said)
    return asked


def _unknown(text: str, unknown: tuple[str, ...]) -> str:
    if not unknown:
        return f"the text {text[:80]!r} says nothing about the music"
    near = [*dict.fromkeys(w for u in unknown for w in difflib.get_close_matches(u, lexicon(), 1))]
    hint = f" (did you mean {', '.join(near[:3])}?)" if near else ""
    return f"no word of {text[:80]!r} is known{hint}"


def _examples() -> str:
    known = "warm, bright, calm, dark, epic, fast, slow, strings, piano, drums, ambient, techno"
    return f"try some of: {known}"


@dataclass(frozen=True, kw_only=True)
class EmbeddedBackend:
    """The score that ships. It hears the mel it learned from and no other."""

    model: TextModel

    def embed_text(self, text: str) -> Tensor:
        """(d,); see `weights` for what is refused."""
        return self.model.embed_weights(weights(text))

    def embed_mel(self, mel: Tensor, config: MelConfig) -> Tensor:
        """(batch, d). Raises SegueError for another mel than that it learned from."""
        if config != self.model.mel:
            text = (
                "the text score that ships hears the mel of segue-small; use a CLAP with this one"
            )
            raise SegueError(Code.UNSUPPORTED, text)
        return self.model.embed_mel(mel)


def shipped(device: torch.device | None = None) -> EmbeddedBackend:
    """The score that ships, loaded once a device. Raises SegueError(NO_MODEL)."""
    return _shipped(device or torch.device("cpu"))


@lru_cache(maxsize=4)
def _shipped(device: torch.device) -> EmbeddedBackend:
    with as_file(SHIPPED / "tower.safetensors") as path:
        return EmbeddedBackend(model=load(path).to(device))


def target(text: str, backend: Backend | None = None) -> Tensor:
    """What to be near to: a unit vector (d,), of the whole clip.

    Raises SegueError(BAD_REQUEST) for a text of which nothing is understood.
    """
    return (backend or shipped()).embed_text(text)


def feature(mel: Tensor, config: MelConfig, backend: Backend | None = None) -> Tensor:
    """What is heard: (batch, channels, frames) natural-log mel to unit vectors (batch, d)."""
    return (backend or shipped(mel.device)).embed_mel(mel, config)


def score(mel: Tensor, target: Tensor, config: MelConfig, backend: Backend | None = None) -> Tensor:
    """Cosine of what is heard and what is asked for: (batch,), from -1 to 1."""
    return F.cosine_similarity(feature(mel, config, backend), target.to(mel.device), dim=-1)


def loss(mel: Tensor, target: Tensor, config: MelConfig, backend: Backend | None = None) -> Tensor:
    """1 - cosine: (batch,), from 0 to 2.

    With the score that ships hardly any real music is below 1 - `ENOUGH`: end about there.
    """
    return 1 - score(mel, target, config, backend)
