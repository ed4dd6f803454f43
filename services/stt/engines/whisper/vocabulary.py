"""Whisper's tokens: the special ones, text to tokens and back, and which tokens make up a word."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from services.common.errors import NotReadyError

_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")
# Languages whose words no blank parts.
_UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue", "km", "bo"})
_OPENING = "\"'“¿([{-«„"
_INCOMPLETE = "\N{REPLACEMENT CHARACTER}"


class Tokenizer(Protocol):
    """What is used of tokenizers.Tokenizer."""

    def encode(self, sequence: str, *, add_special_tokens: bool) -> Any: ...

    def decode(self, ids: list[int]) -> str: ...

    def get_vocab_size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The tokens of one model.

    Attributes:
        tokenizer: text to tokens and back.
        languages: a language's token by its subtag; empty for a model that hears English only.
        transcribe, translate: the tasks; None for a model that hears English only.
        first_special: this and all that follow are no text.
    """

    tokenizer: Tokenizer
    end: int
    start: int
    languages: dict[str, int]
    transcribe: int | None
    translate: int | None
    context: int
    no_speech: int
    no_timestamps: int
    first_special: int

    def encode(self, text: str) -> tuple[int, ...]:
        """The tokens of a text."""
        return tuple(self.tokenizer.encode(text, add_special_tokens=False).ids)

    def text_of(self, tokens: Iterable[int]) -> str:
        """The text of tokens, special ones left out."""
        return str(self.tokenizer.decode([token for token in tokens if token < self.first_special]))

    def start_of(self, language: str, *, translate: bool) -> tuple[int, ...]:
        """What a transcript begins with. Args: language: a subtag; of no account to a model for English only."""
        if not self.languages:
            return (self.start, self.no_timestamps)
        task = self.translate if translate else self.transcribe
        assert task is not None
        return (self.start, self.languages[language], task, self.no_timestamps)

    def word_starts(self, tokens: Sequence[int], language: str) -> list[int]:
        """The places in `tokens` at which a word begins; a mark belongs to the word before, or behind if it opens."""
        starts: list[int] = []
        begin, opens, ended_latin = 0, False, False
        for end in range(1, len(tokens) + 1):
            piece = self.text_of(tokens[begin:end])
            # Characters of several bytes may be spread over tokens.
            if piece.endswith(_INCOMPLETE) and end < len(tokens):
                continue
            stripped = piece.strip()
            is_mark = not any(map(str.isalnum, stripped))
            begins = piece.startswith(" ") or (language in _UNSPACED and not (ended_latin and _is_latin(piece[:1])))
            if not starts or (begins and not opens and (not is_mark or stripped in _OPENING)):
                starts.append(begin)
            opens = is_mark and bool(stripped) and stripped in _OPENING
            begin, ended_latin = end, _is_latin(piece[-1:])
        return starts


def joined(words: Sequence[str], language: str) -> str:
    """The text that words make up. Args: language: a subtag."""
    if language not in _UNSPACED:
        return " ".join(words)
    text = ""
    for word in words:
        text += " " + word if _is_latin(text[-1:]) and _is_latin(word[:1]) else word
    return text


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalnum()


def read_vocabulary(file: Path, *, is_multilingual: bool) -> Vocabulary:
    """A model's tokens, from its tokenizer.json.

    Args: is_multilingual: what the model hears; every tokenizer names the languages.
    Raises: NotReadyError in a sentence.
    """
    import tokenizers

    try:
        tokenizer = tokenizers.Tokenizer.from_file(str(file))
    # The library raises nothing more specific.
    except Exception as unreadable:
        raise NotReadyError(f"{file} is no tokenizer of Whisper: {unreadable}; pull the model again") from unreadable

    def optional(*names: str) -> int | None:
        return next((token for name in names if (token := tokenizer.token_to_id(name)) is not None), None)

    def required(*names: str) -> int:
        token = optional(*names)
        if token is None:
            raise NotReadyError(f"{file} is no tokenizer of Whisper: it has no {names[0]}; pull the model again")
        return token

    start = required("<|startoftranscript|>")
    transcribe = optional("<|transcribe|>")
    languages = {}
    for token in range(start + 1, transcribe if is_multilingual and transcribe is not None else start + 1):
        if match := _LANGUAGE.fullmatch(tokenizer.id_to_token(token) or ""):
            languages[match.group(1)] = token
    end = required("<|endoftext|>")
    return Vocabulary(
        tokenizer=tokenizer,
        end=end,
        start=start,
        languages=languages,
        transcribe=transcribe,
        translate=optional("<|translate|>"),
        context=required("<|startofprev|>"),
        no_speech=required("<|nospeech|>", "<|nocaptions|>"),
        no_timestamps=required("<|notimestamps|>"),
        first_special=min(end, start),
    )
