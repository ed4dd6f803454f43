"""Tokens, latents and sound are those of the library's own code on the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from services.tts.engines.xtts.checkpoint import Published
from services.tts.engines.xtts.decoding import Decoding, Newcomer
from services.tts.engines.xtts.sampling import Sampling, likeliest, penalised
from services.tts.engines.xtts.vocoder import FRAME_SAMPLES, REACH, Pieces, Waveforms, Window, folded, usual_windows

GREEDY = Sampling(temperature=0)
TEXTS = {"de": "guten tag, wie geht es ihnen?", "en": "hello", "es": "¿qué tal, amigo mío? muy bien, gracias."}
COUNT = 30


def voice(published: Published, name: str = "ana-tiny") -> tuple[Tensor, Tensor]:
    arrays = published.speakers[name]
    return torch.from_numpy(arrays.latent), torch.from_numpy(arrays.embedding)


def tokens(published: Published, language: str) -> Tensor:
    """Of the text in this language."""
    return published.tokens(published.words(TEXTS[language], language), language)


def said(decoding: Decoding, row: int, steps: int) -> list[int]:
    """The tokens of a row that has just joined."""
    heard = [int(decoding._tokens[row])]
    for _ in range(steps - 1):
        decoding.advance(1)
        heard.append(int(decoding._tokens[row]))
    return heard


@pytest.fixture(scope="module")
def latents(official: Any, published: Published) -> Tensor:
    """What the library streams for a text, shape (COUNT, width)."""
    latent, _ = voice(published)
    text = tokens(published, "de")
    with torch.inference_mode():
        made = official.gpt.get_generator(
            fake_inputs=official.gpt.compute_embeddings(latent, text[None]),
            top_k=1,
            top_p=1.0,
            temperature=1.0,
            do_sample=True,
            num_beams=1,
            num_return_sequences=1,
            length_penalty=1.0,
            repetition_penalty=5.0,
            output_attentions=False,
            output_hidden_states=True,
            return_dict_in_generate=True,
            max_new_tokens=COUNT,
        )
        return torch.cat([each for _, each in made])


@pytest.mark.parametrize("language", TEXTS)
def test_the_likeliest_tokens_are_the_librarys(official: Any, published: Published, language: str) -> None:
    text = tokens(published, language)
    latent, _ = voice(published)
    with torch.inference_mode():
        wanted = official.gpt.generate(
            cond_latents=latent,
            text_inputs=text[None],
            do_sample=False,
            num_beams=1,
            repetition_penalty=5.0,
            max_new_tokens=COUNT,
        )
    decoding = Decoding(published.gpt, 2, GREEDY)
    decoding.join([Newcomer(0, latent, text)])
    assert said(decoding, 0, COUNT) == wanted[0].tolist()


def test_the_latents_are_the_librarys(published: Published, latents: Tensor) -> None:
    decoding = Decoding(published.gpt, 1, GREEDY)
    decoding.join([Newcomer(0, voice(published)[0], tokens(published, "de"))])
    decoding.advance(COUNT - 1)
    assert torch.allclose(decoding.latents(0, COUNT), latents, atol=1e-5)


@pytest.mark.parametrize("rate", [1.0, 0.5, 1.3, 2.0])
def test_pieces_end_to_end_are_the_sound_of_the_whole(
    official: Any, published: Published, latents: Tensor, rate: float
) -> None:
    speaker = voice(published)[1]
    with torch.inference_mode():
        stretched = latents.T[None]
        if rate != 1.0:
            stretched = torch.nn.functional.interpolate(stretched, scale_factor=1 / rate, mode="linear")
        whole = official.hifigan_decoder(stretched.transpose(1, 2), g=speaker).squeeze()
        pieces, windows, first = Pieces(speaker, rate), [], 0
        for known in range(1, COUNT + 1):
            lacking = pieces.lacking(known)
            while (window := pieces.take(latents[:known], is_whole=False)) is not None:
                first = first or known
                windows.append((known, window))
                lacking = pieces.lacking(known)
            # Nothing comes before as many more as it said.
            assert pieces.take(latents[: known + lacking - 1], is_whole=False) is None
        assert not pieces.is_done(COUNT)
        while (window := pieces.take(latents, is_whole=True)) is not None:
            windows.append((COUNT, window))
        given = Waveforms(published.vocoder).of([window for _, window in windows])
    assert pieces.is_done(COUNT)
    assert len(given) >= 3
    sound = torch.from_numpy(np.concatenate(given))
    assert sound.shape == whole.shape
    # Exactly, also where they meet: there is nothing to fade.
    assert float((sound - whole).abs().max()) < 1e-5 * float(whole.abs().max())
    # All but the end are of lengths that a GPU's graphs were recorded for.
    assert {window.frames.shape[1] for known, window in windows if known < COUNT} <= usual_windows()
    # An eighth of a second is heard after 7 tokens at the voice's own pace.
    assert len(given[0]) == Pieces.SIZES[0] * FRAME_SAMPLES
    if rate == 1.0:
        assert first == 7


def test_pieces_voiced_together_sound_as_each_alone(published: Published) -> None:
    random = torch.Generator().manual_seed(4)
    lengths = [26, 50, 26, 76, 26, 26, 31, *[26] * 6]
    voices = [voice(published, name)[1] for name in ("ana-tiny", "bjorn-tiny")]
    windows = [
        Window(torch.randn(published.sizes.width, length, generator=random), voices[index % 2], index % 3, length - 2)
        for index, length in enumerate(lengths)
    ]
    with torch.inference_mode():
        together = Waveforms(published.vocoder).of(windows)
        for window, sound in zip(windows, together, strict=True):
            (alone,) = Waveforms(published.vocoder).of([window])
            assert len(alone) == (window.end - window.begin) * FRAME_SAMPLES
            assert np.abs(alone).max() > 0.01
            assert np.allclose(sound, alone, atol=1e-5)
        assert Waveforms(published.vocoder).of([]) == []


def test_half_of_the_reach_would_be_heard(published: Published) -> None:
    """What the pieces keep back is needed: so the comparison above is not one of silence."""
    frames = torch.randn(1, published.sizes.width, 4 * REACH, generator=torch.Generator().manual_seed(1))
    speaker = voice(published)[1]
    middle = slice((2 * REACH - 1) * FRAME_SAMPLES, (2 * REACH + 1) * FRAME_SAMPLES)
    with torch.inference_mode():
        whole = published.vocoder(frames, speaker)[0]

        def off(reach: int) -> float:
            begin = 2 * REACH - 1 - reach
            part = published.vocoder(frames[..., begin : 2 * REACH + 1 + reach], speaker)[0]
            same = part[reach * FRAME_SAMPLES : (reach + 2) * FRAME_SAMPLES]
            return float((same - whole[middle]).abs().max())

        assert off(REACH) < 1e-6
        assert off(REACH // 2) > 1e-5


def test_weight_norm_is_folded_in_both_of_its_forms(official: Any) -> None:
    state = official.hifigan_decoder.waveform_decoder.state_dict()
    older = {
        name.replace(".parametrizations.weight.original0", ".weight_g").replace(
            ".parametrizations.weight.original1", ".weight_v"
        ): value
        for name, value in state.items()
    }
    assert older.keys() != state.keys()
    newer, same = folded(state), folded(older)
    assert newer.keys() == same.keys()
    assert all(torch.equal(newer[name], same[name]) for name in newer)


@pytest.mark.parametrize(("top_k", "top_p", "temperature"), [(50, 0.85, 0.75), (5, 0.3, 1.0), (1026, 1.0, 1.4)])
def test_what_may_be_drawn_is_what_the_librarys_processors_leave(top_k: int, top_p: float, temperature: float) -> None:
    from transformers.generation.logits_process import (
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    random = torch.Generator().manual_seed(7)
    logits = 4 * torch.randn(3, 1026, generator=random)
    ids = torch.randint(0, 1026, (3, 40), generator=random)
    wanted = RepetitionPenaltyLogitsProcessor(5.0)(ids, logits.clone())
    for warper in (TemperatureLogitsWarper(temperature), TopKLogitsWarper(top_k), TopPLogitsWarper(top_p)):
        wanted = warper(ids, wanted)
    seen = torch.zeros(3, 1026, dtype=torch.bool).scatter(1, ids, value=True)
    left, tokens = likeliest(penalised(logits, seen, 5.0), Sampling(temperature, top_k, top_p, 5.0))
    ours = torch.full_like(logits, -torch.inf).scatter(1, tokens, left)
    assert torch.equal(ours.isinf(), wanted.isinf())
    assert torch.allclose(ours.softmax(-1), wanted.softmax(-1), atol=1e-6)


def test_a_recording_becomes_the_voice_that_the_library_makes_of_it(official: Any, published: Published) -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, 22_050 * 7).astype(np.float32)
    audio = torch.from_numpy(samples)[None]
    made = published.listen(samples)
    config = official.config
    latent = official.get_gpt_cond_latents(audio, 22_050, config.gpt_cond_len, config.gpt_cond_chunk_len)
    assert np.allclose(made.latent, latent.numpy(), atol=1e-5)
    assert np.allclose(made.embedding, official.get_speaker_embedding(audio, 22_050).numpy(), atol=1e-5)
