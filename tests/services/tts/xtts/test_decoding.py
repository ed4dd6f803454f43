"""Rows of listeners: nobody hears anything of another, whenever they join, wait or leave."""

from __future__ import annotations

import pytest
import torch

from services.tts.engines.xtts.checkpoint import Published
from services.tts.engines.xtts.decoding import Decoding, Newcomer
from services.tts.engines.xtts.sampling import Sampling, drawn
from tests.services.tts.xtts import tiny
from tests.services.tts.xtts.test_against_library import GREEDY, said, tokens, voice


def alone(published: Published, language: str, count: int, name: str = "ana-tiny") -> list[int]:
    decoding = Decoding(published.gpt, 1, GREEDY)
    join(decoding, 0, published, language, name)
    return said(decoding, 0, count)


def join(decoding: Decoding, row: int, published: Published, language: str, name: str = "ana-tiny") -> None:
    decoding.join([Newcomer(row, voice(published, name)[0], tokens(published, language))])


def test_who_begins_together_says_what_they_say_alone(published: Published) -> None:
    decoding = Decoding(published.gpt, 4, GREEDY)
    asked = [(3, "de", "ana-tiny"), (0, "en", "bjorn-tiny"), (2, "es", "ana-tiny")]
    decoding.join([Newcomer(row, voice(published, name)[0], tokens(published, lang)) for row, lang, name in asked])
    assert len({len(tokens(published, language)) for _, language, _ in asked}) == 3
    said_by = {row: [int(decoding._tokens[row])] for row, _, _ in asked}
    for _ in range(19):
        decoding.advance(1)
        for row, heard in said_by.items():
            heard.append(int(decoding._tokens[row]))
    for row, language, name in asked:
        assert said_by[row] == alone(published, language, 20, name)


def test_who_joins_later_and_who_was_there_say_what_they_say_alone(published: Published) -> None:
    decoding = Decoding(published.gpt, 3, GREEDY)
    join(decoding, 0, published, "de")
    first = said(decoding, 0, 8)
    join(decoding, 2, published, "en", "bjorn-tiny")
    second = [int(decoding._tokens[2])]
    for _ in range(12):
        decoding.advance(1)
        first.append(int(decoding._tokens[0]))
        second.append(int(decoding._tokens[2]))
    assert first == alone(published, "de", 20)
    assert second == alone(published, "en", 13, "bjorn-tiny")
    assert first[:13] != second


def test_a_row_that_somebody_has_left_is_as_new(published: Published) -> None:
    decoding = Decoding(published.gpt, 1, GREEDY)
    join(decoding, 0, published, "es")
    decoding.advance(25)
    decoding.leave(0)
    join(decoding, 0, published, "en")
    assert said(decoding, 0, 20) == alone(published, "en", 20)


def test_who_is_held_waits_and_goes_on_where_they_were(published: Published) -> None:
    decoding = Decoding(published.gpt, 2, GREEDY)
    join(decoding, 0, published, "de")
    join(decoding, 1, published, "en")
    decoding.advance(4)
    decoding.hold({0})
    decoding.advance(6)
    spoken, runs = decoding.progress()
    assert spoken == [5, 11]
    assert runs == [True, True]
    decoding.hold(())
    decoding.advance(6)
    assert decoding.progress()[0] == [11, 17]
    kept = Decoding(published.gpt, 1, GREEDY)
    join(kept, 0, published, "de")
    kept.advance(10)
    assert torch.allclose(decoding.latents(0, 11), kept.latents(0, 11), atol=1e-4)


def test_it_ends_with_the_latent_of_the_token_that_says_so(published: Published) -> None:
    decoding = Decoding(published.gpt, 1, GREEDY)
    join(decoding, 0, published, "de")
    decoding.advance(3 * tiny.TOKENS)
    (spoken,), (runs,) = decoding.progress()
    assert not runs
    assert spoken == tiny.TOKENS
    assert int(decoding._tokens[0]) == published.sizes.stop_audio


def test_nobody_speaks_for_longer_than_the_model_can(published: Published) -> None:
    decoding = Decoding(published.gpt, 1, GREEDY)
    with torch.inference_mode():
        # This voice never comes to an end by itself.
        bias = published.gpt.mel_head.bias
        before = bias[published.sizes.stop_audio].clone()
        bias[published.sizes.stop_audio] = -1e4
        try:
            join(decoding, 0, published, "en")
            decoding.advance(published.sizes.max_audio + 10)
        finally:
            bias[published.sizes.stop_audio] = before
    assert decoding.progress() == ([published.sizes.max_audio], [False])


def test_a_text_of_too_many_tokens_is_refused(published: Published) -> None:
    decoding = Decoding(published.gpt, 1, GREEDY)
    most = published.sizes.max_text
    decoding.join([Newcomer(0, voice(published)[0], torch.full((most,), 30))])
    for count in (0, most + 1):
        with pytest.raises(ValueError, match=f"1 to {most} tokens, not {count}"):
            decoding.join([Newcomer(0, voice(published)[0], torch.full((count,), 30))])


def test_tokens_are_drawn_as_often_as_they_are_likely() -> None:
    torch.manual_seed(5)
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    logits = probabilities.log().repeat(20_000, 1)
    nothing = torch.zeros_like(logits, dtype=torch.bool)
    tokens = drawn(logits, nothing, Sampling(temperature=1.0, top_k=4, top_p=1.0))
    shares = torch.bincount(tokens, minlength=4) / len(tokens)
    assert torch.allclose(shares, probabilities, atol=0.02)
    narrow = drawn(logits, nothing, Sampling(temperature=1.0, top_k=4, top_p=0.6))
    # The third would be beyond 0.6; of the two that are left, each is as likely as against the other.
    assert torch.bincount(narrow, minlength=4)[2:].sum() == 0
    assert float((narrow == 0).float().mean()) == pytest.approx(0.5 / 0.8, abs=0.02)
