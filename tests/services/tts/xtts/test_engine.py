"""XTTS as the service uses it: many speakers, one model; files that are not as they should be."""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from services.common.errors import EngineError, NotReadyError
from services.tts import engines
from services.tts.engine import Conditioning, SpeechChunk, Style, resolve_style
from services.tts.engines.xtts.decoding import Decoding
from services.tts.engines.xtts.engine import XttsEngine
from services.tts.engines.xtts.sizes import SAMPLE_RATE_HZ
from services.tts.settings import TtsSettings, XttsSettings
from tests.services.tts.xtts import tiny

TEXT = "Hello world, this is a test."


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[XttsEngine]:
    engine = XttsEngine(folder, "cpu", 3)
    yield engine
    engine.close()


def style(engine: XttsEngine, voice: str = "", language: str = "en", rate: float = 1.0) -> Style:
    return resolve_style(engine.capabilities, voice, language, rate)


def sound(chunks: list[SpeechChunk]) -> np.ndarray:
    return np.concatenate([chunk.samples for chunk in chunks])


def test_it_says_what_it_can(engine: XttsEngine) -> None:
    capabilities = engine.capabilities
    assert [voice.id for voice in capabilities.voices] == ["ana-tiny", "bjorn-tiny"]
    assert [voice.display_name for voice in capabilities.voices] == list(tiny.SPEAKERS)
    assert {"en", "de", "ar", "ko", "hi"} <= set(capabilities.languages)
    assert capabilities.segment_characters("de") == 253
    assert capabilities.segment_characters("ar") == 166
    assert capabilities.can_clone
    assert not capabilities.has_exact_timing
    assert (capabilities.path, capabilities.gpu_name) == ("cpu plain", "")


def test_a_text_lasts_as_long_as_its_tokens_and_as_its_pace(engine: XttsEngine) -> None:
    for rate in (1.0, 2.0):
        length = len(sound(list(engine.speakers[0].speak(TEXT, style(engine, rate=rate)))))
        assert length / SAMPLE_RATE_HZ == pytest.approx(tiny.TOKENS * 1024 / 22_050 / rate, rel=0.03)


def test_the_first_sound_comes_before_the_last_token(engine: XttsEngine) -> None:
    speaking = engine.speakers[0].speak(TEXT, style(engine))
    first = next(speaking)
    assert len(first.samples) / SAMPLE_RATE_HZ == pytest.approx(0.128)
    speaking.close()


def test_three_at_once_speak_each_their_own(engine: XttsEngine) -> None:
    asked = [("", "en"), ("bjorn-tiny", "de"), ("ana-tiny", "es")]
    heard: dict[int, np.ndarray] = {}

    def speak(index: int) -> None:
        voice, language = asked[index]
        heard[index] = sound(list(engine.speakers[index].speak(TEXT, style(engine, voice, language))))

    threads = [threading.Thread(target=speak, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(heard) == [0, 1, 2]
    assert all(np.abs(each).max() > 0.05 for each in heard.values())


def test_who_is_cut_off_leaves_their_place_to_the_next(engine: XttsEngine) -> None:
    for _ in range(5):
        speaking = engine.speakers[1].speak(TEXT, style(engine))
        next(speaking)
        speaking.close()
    assert len(sound(list(engine.speakers[1].speak(TEXT, style(engine))))) > SAMPLE_RATE_HZ


def test_a_listener_who_does_not_listen_does_not_let_it_speak_on(folder: Path) -> None:
    engine = XttsEngine(folder, "cpu", 1)
    try:
        with torch.inference_mode():
            engine.published.gpt.mel_head.bias[1025] = -1e4
        speaking = engine.speakers[0].speak(TEXT, style(engine))
        next(speaking)
        conductor = engine._conductor
        with conductor._wakes:
            assert conductor._wakes.wait_for(lambda: not conductor_has_work(engine), 60)
            (recital,) = conductor._rows.values()
            # Two seconds and the piece that went beyond them.
            assert 2 * SAMPLE_RATE_HZ <= recital.ahead < 3 * SAMPLE_RATE_HZ
        speaking.close()
    finally:
        engine.close()


def conductor_has_work(engine: XttsEngine) -> bool:
    conductor = engine._conductor
    return not conductor._rows or any(recital.ahead < 2 * SAMPLE_RATE_HZ for recital in conductor._rows.values())


def test_a_voice_of_a_recording_speaks(engine: XttsEngine) -> None:
    cloning = engine.capabilities.cloning
    assert cloning is not None
    samples = np.random.default_rng(1).normal(0, 0.1, cloning.sample_rate_hz * 4).astype(np.float32)
    arrays = cloning.condition(samples)
    cloned = replace(style(engine), voice="mine", conditioning=Conditioning(arrays))
    assert len(sound(list(engine.speakers[0].speak(TEXT, cloned)))) > SAMPLE_RATE_HZ
    other = replace(style(engine), conditioning=Conditioning({"gpt_cond_latent": np.zeros((1, 32, 8), np.float32)}))
    with pytest.raises(EngineError, match="a voice of this model is"):
        next(engine.speakers[0].speak(TEXT, other))


def test_a_text_that_is_longer_in_words_is_said_in_parts(engine: XttsEngine) -> None:
    figures = "987654321 " * 20
    parts = engine._parts(figures, "de")
    assert len(parts) > 1
    assert all(len(part) <= engine._max_tokens for part in parts)
    chunks = list(engine.speakers[0].speak(figures, style(engine, language="de")))
    assert len(sound(chunks)) > len(parts) * SAMPLE_RATE_HZ


@pytest.mark.parametrize("text", ["987654321 " * 25, "9" * 250, "1,234,567 and 7,654,321! " * 10])
def test_figures_are_cut_by_what_they_are_in_words_and_none_is_lost(engine: XttsEngine, text: str) -> None:
    published = engine.published
    words, most = published.words, published.characters["en"]
    assert len(words(text, "en")) > 4 * most
    parts: list[str] = []

    def noted(text: str, language: str) -> str:
        if len(spoken := words(text, language)) <= most:
            parts.append(text)
        return spoken

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(published, "words", noted)
        # Published vocabularies have tokens as long as words, so that a text of few tokens may be more than is said.
        patch.setattr(published, "tokens", lambda spoken, _: torch.zeros(len(spoken.split())))
        assert len(engine._parts(text, "en")) == len(parts)
    assert "".join(parts) == text


def test_a_text_that_the_model_does_not_end_is_told_of(
    engine: XttsEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Decoding, "most", tiny.TOKENS)
    list(engine.speakers[0].speak(TEXT, style(engine)))
    told = capsys.readouterr().out
    assert f"xtts_text_cut_off              audio_tokens={tiny.TOKENS}" in told
    assert "world" not in told


def test_a_model_that_fails_tells_who_listens_and_goes_on(engine: XttsEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("the cable was pulled")

    with monkeypatch.context() as patch:
        patch.setattr(engine._conductor._decoding, "join", broken)
        with pytest.raises(EngineError, match="the cable was pulled"):
            next(engine.speakers[0].speak(TEXT, style(engine)))
    assert len(sound(list(engine.speakers[0].speak(TEXT, style(engine))))) > SAMPLE_RATE_HZ


def test_a_device_that_is_lost_leaves_nobody_waiting(folder: Path) -> None:
    engine = XttsEngine(folder, "cpu", 2)
    both = threading.Barrier(2)

    def lost(*_: object) -> None:
        raise RuntimeError("the device is gone")

    def listen(number: int) -> str:
        both.wait(10)
        with pytest.raises(EngineError) as told:
            list(engine.speakers[number].speak(TEXT, style(engine)))
        return str(told.value)

    try:
        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as pool:
            # From then on nothing can be done on it, not even to leave a row.
            patch.setattr(engine._conductor._decoding, "advance", lost)
            patch.setattr(engine._conductor._decoding, "leave", lost)
            heard = [work.result(30) for work in [pool.submit(listen, number) for number in range(2)]]
        assert any("the device is gone" in each for each in heard)
        with pytest.raises(EngineError, match="closed"):
            list(engine.speakers[0].speak(TEXT, style(engine)))
    finally:
        engine.close()


def test_where_the_model_cannot_say_a_word_another_engine_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no kernel image is available")

    monkeypatch.setattr(Decoding, "advance", broken)
    with pytest.raises(NotReadyError, match="XTTS cannot speak on cpu: no kernel image is available"):
        XttsEngine(folder, "cpu", 1)


def test_a_closed_engine_says_so(folder: Path) -> None:
    engine = XttsEngine(folder, "cpu", 1)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        list(engine.recite(TEXT, style(engine)))


@pytest.mark.parametrize("name", ["config.json", "model.pth", "vocab.json", "speakers_xtts.pth"])
def test_a_file_that_is_missing_or_damaged_is_named_in_a_sentence(folder: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / "xtts"
    shutil.copytree(folder, copy)
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NotReadyError, match=rf"(?s){re.escape(name)}.* is damaged"):
        XttsEngine(copy, "cpu", 1)
    (copy / name).unlink()
    with pytest.raises(NotReadyError, match=re.escape(f"lacks {name}; `avatar models pull xtts`")):
        XttsEngine(copy, "cpu", 1)


def test_files_of_two_models_are_not_mixed(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "xtts"
    shutil.copytree(folder, copy)
    config = json.loads((copy / "config.json").read_text())
    config["model_args"]["gpt_layers"] = 3
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(NotReadyError, match="not the model that its config"):
        XttsEngine(copy, "cpu", 1)


def test_nothing_in_a_checkpoint_is_executed(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "xtts"
    shutil.copytree(folder, copy)
    trace = tmp_path / "executed"

    class Touch:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (trace,)

    torch.save({"model": {"weight": Touch()}}, copy / "model.pth")
    with pytest.raises(NotReadyError, match=r"model\.pth is damaged"):
        XttsEngine(copy, "cpu", 1)
    assert not trace.exists()


def test_auto_passes_over_it_where_it_cannot_speak_and_says_why(folder: Path, tmp_path: Path) -> None:
    def chosen(**own: object) -> engines.Selection:
        given = {"AVATAR_DATA_DIR": tmp_path, "engine": own.pop("engine", "auto"), "xtts": XttsSettings(**own)}  # type: ignore[arg-type]
        return engines.load(TtsSettings(**given))  # type: ignore[arg-type]

    without = chosen()
    assert (without.name, "the model xtts is not complete" in without.reason) == ("espeak", True)
    slow = chosen(dir=folder, device="cpu")
    assert (slow.name, "slower than speech" in slow.reason) == ("espeak", True)
    asked = chosen(dir=folder, device="cpu", engine="xtts")
    assert (asked.name, asked.reason) == ("xtts", "the settings ask for it")
    for selection in (without, slow, asked):
        selection.engine.close()
    if not torch.cuda.is_available():
        no_gpu = chosen(dir=folder)
        assert (no_gpu.name, "there is none that PyTorch" in no_gpu.reason) == ("espeak", True)
        no_gpu.engine.close()
