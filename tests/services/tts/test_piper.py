"""Piper's engine, by tiny voices in the published layout whose right answers are known."""

# ruff: noqa: RUF001 - phonetic letters look like others.

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from avatar.tts.v1 import legacy_pb2, legacy_pb2_grpc, tts_pb2
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.common.errors import EngineError, NotReadyError
from services.tts.engine import SpeechChunk, Viseme, resolve_style
from services.tts.engines import load
from services.tts.engines.espeak import EspeakEngine
from services.tts.engines.espeak.copies import Copies
from services.tts.engines.piper import PiperEngine
from services.tts.engines.piper.graph import split
from services.tts.engines.piper.spelling import spell
from services.tts.engines.piper.voice_files import find
from services.tts.engines.piper.voice_model import VoiceModel
from services.tts.legacy_servicer import LANGUAGES
from services.tts.settings import PiperSettings, TtsSettings
from services.tts.speakable import make_speakable
from tests.fakes.piper_voice import FRAME_SAMPLES, FRAMES, IDS, build_voice, build_voices
from tests.legacy_calls import answer_of, json_body
from tests.services.tts.serving import channel_to, serving

RATE_HZ = 22_050


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_voices(tmp_path_factory.mktemp("piper"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[PiperEngine]:
    engine = PiperEngine(folder, 4, 2)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def espeak() -> Iterator[Copies]:
    copies = Copies(1)
    yield copies
    copies.close()


def speak(engine: PiperEngine, text: str, language: str = "en-US", *, voice: str = "", speaker: int = 0) -> list[Any]:
    return list(engine.speakers[speaker].speak(text, resolve_style(engine.capabilities, voice, language, 1)))


def samples_of(chunks: list[SpeechChunk]) -> NDArray[np.float32]:
    return np.concatenate([chunk.samples for chunk in chunks])


def symbols_of(espeak: Copies, text: str, language: str = "en-US") -> str:
    """What a voice would read, its pads left out."""
    spoken = make_speakable(text)
    recording = espeak.libraries[0].synthesize(spoken.text, espeak.voice_files()[language], 175, 10**7)
    spelling = spell(spoken, recording.events, {symbol: [number] for symbol, number in IDS.items()})
    if spelling is None:
        return ""
    names = {number: symbol for symbol, number in IDS.items()}
    assert [names[number] for number in spelling.ids[1:-1:2]] == ["_"] * (len(spelling.ids) // 2)
    return "".join(names[number] for number in spelling.ids[::2])


@pytest.mark.parametrize(
    ("language", "text", "symbols"),
    [
        ("en-US", "Hello, world.", "^həlˈoʊ, wˈɜːld.$"),
        ("en-US", "How are you? Fine!", "^hˈaʊ ɑːɹ juː?fˈaɪn!$"),
        ("en-US", "two boats: one; and a (big) one", "^tˈuː bˈoʊts: wˈʌn; ænd ɐ bˈɪɡ wˌʌn$"),
        ("en-US", "in the 7 seas", "^ɪnðə sˈɛvən sˈiːz$"),
        ("en-US", "1,234.50", "^wˈʌn θˈaʊzənd tˈuːhˈʌndɹɪd θˈɜːɾi fˈɔːɹ pɔɪnt fˈaɪv zˈiəɹoʊ$"),
        ("en-US", "**really** …", "^ɹˈiəli;$"),
        ("de", "Guten Morgen, schöne Welt.", "^ɡˈuːtən mˈɔɾɡən, ʃˈøːnə vˈɛlt.$"),
        ("de", "Das ist ein Computer", "^das ɪst aɪn kɔmpjˈuːtɜ$"),
        ("en-US", "?!", ""),
    ],
)
def test_text_is_written_as_the_voices_learnt_it(espeak: Copies, language: str, text: str, symbols: str) -> None:
    assert symbols_of(espeak, text, language) == symbols


def test_accents_are_symbols_of_their_own_and_unknown_ones_are_left_out(espeak: Copies) -> None:
    assert "ɑ\u0303" in symbols_of(espeak, "un restaurant", "fr")
    spoken = make_speakable("hot")
    recording = espeak.libraries[0].synthesize(spoken.text, espeak.voice_files()["en-US"], 175, 10**7)
    few = {"_": [0], "^": [1], "$": [2], "t": [7]}
    spelling = spell(spoken, recording.events, few)
    assert spelling is not None
    assert spelling.ids == (1, 0, 7, 0, 2)


def test_pieces_are_the_sound_that_the_whole_voice_makes(folder: Path) -> None:
    for voice in find(folder):
        object.__setattr__(voice, "noise", (0.0, 0.0))
        model = VoiceModel(voice)
        ids = tuple(int(number) for number in np.random.default_rng(5).integers(0, len(IDS), 101))
        plan = model.plan(ids, 1 if len(voice.speakers) > 1 else 0, 1.0)
        pieces = list(model.sound(plan, 0, int(plan.frames.sum())))
        feed: dict[str, Any] = {"input": [ids], "input_lengths": [len(ids)], "scales": np.array([0, 1, 0], np.float32)}
        feed |= {"sid": [1]} if len(voice.speakers) > 1 else {}
        (whole,) = onnxruntime.InferenceSession(str(voice.path)).run(None, feed)
        assert [len(piece) for piece in pieces[:3]] == [24 * FRAME_SAMPLES, 48 * FRAME_SAMPLES, 96 * FRAME_SAMPLES]
        assert np.abs(np.concatenate(pieces) - whole.reshape(-1)).max() < 1e-5
        middle = np.concatenate(list(model.sound(plan, 30, 90)))
        assert np.abs(middle - whole.reshape(-1)[30 * FRAME_SAMPLES : 90 * FRAME_SAMPLES]).max() < 1e-5


def frames_of(symbols: str) -> int:
    """How long the tiny voices are over symbols, each with its pad."""
    return sum(FRAMES[symbol] + FRAMES["_"] for symbol in symbols)


def test_words_and_phonemes_are_exactly_where_the_voice_speaks_them(engine: PiperEngine) -> None:
    chunks = speak(engine, "A boat, Peter!", voice="en-us-ljspeech-medium")
    # 3 of the frames before the first sound are kept: 30 ms.
    begin = 3
    words = [word.start for chunk in chunks for word in chunk.words]
    expected = [begin, begin + frames_of("ɐ "), begin + frames_of("ɐ bˈoʊt, ")]
    assert words == [frames * FRAME_SAMPLES for frames in expected]
    phonemes = [phoneme for chunk in chunks for phoneme in chunk.phonemes]
    assert [phoneme.symbol for phoneme in phonemes if phoneme.symbol] == ["ɐ", "b", "oʊ", "t", "p", "iː", "ɾ", "ɚ"]
    (diphthong,) = (phoneme for phoneme in phonemes if phoneme.symbol == "oʊ")
    assert diphthong.start == (begin + frames_of("ɐ b")) * FRAME_SAMPLES
    assert diphthong.end - diphthong.start == frames_of("ˈoʊ") * FRAME_SAMPLES
    assert diphthong.is_stressed


def test_it_is_loud_where_there_is_a_phoneme_and_silent_where_there_is_a_pause(engine: PiperEngine) -> None:
    chunks = speak(engine, "Two boats, and a ship: all of them.", voice="en-us-ljspeech-medium")
    samples = samples_of(chunks)
    phonemes = [phoneme for chunk in chunks for phoneme in chunk.phonemes]
    visemes = [viseme for chunk in chunks for viseme in chunk.visemes]
    levels: dict[bool, list[float]] = {True: [], False: []}
    for phoneme in phonemes[1:-1]:
        # What the vocoder sees of the neighbours is heard at the edges, over 5 frames.
        edge = 5 * FRAME_SAMPLES if not phoneme.symbol else 0
        if phoneme.end - phoneme.start > 2 * edge:
            part = samples[phoneme.start + edge : phoneme.end - edge]
            levels[bool(phoneme.symbol)].append(float(np.sqrt(np.mean(part**2))))
    assert len(levels[False]) == 2
    assert max(levels[False]) < 1e-6
    assert min(levels[True]) > 0.05
    rests = [viseme for viseme in visemes[1:-1] if viseme.viseme is Viseme.SIL]
    assert len(rests) == 2
    assert visemes[-1].viseme is Viseme.SIL
    assert visemes[-1].end == len(samples)


def test_the_first_sound_does_not_wait_for_the_rest(engine: PiperEngine) -> None:
    chunks = speak(engine, "This is a sentence that is long enough for several pieces of sound.")
    lengths = [len(chunk.samples) / RATE_HZ for chunk in chunks]
    assert len(lengths) >= 4
    assert lengths[0] < 0.3
    assert max(lengths) < 1.2


def test_a_language_alone_chooses_its_first_voice_and_a_voice_its_language(engine: PiperEngine) -> None:
    chosen = {tag: resolve_style(engine.capabilities, "", tag, 1).voice for tag in ("de", "de-AT", "en", "en-US", "")}
    assert chosen == {
        "de": "de-de-thorsten-medium",
        "de-AT": "de-de-thorsten-medium",
        "en": "en-gb-cori-medium",
        "en-US": "en-us-ljspeech-medium",
        "": "en-gb-cori-medium",
    }
    style = resolve_style(engine.capabilities, "de-de-thorsten-medium", "", 1)
    assert style.language == "de-DE"
    assert "Pair p1 (en-US)" in [voice.display_name for voice in engine.capabilities.voices]


def test_languages_without_a_voice_are_spoken_by_espeak_and_its_voices_say_so(engine: PiperEngine) -> None:
    capabilities = engine.capabilities
    assert [voice.display_name for voice in capabilities.voices[-4:]] == [
        "Anna (espeak-ng, female)",
        "Clara (espeak-ng, female, softer)",
        "Martin (espeak-ng, male)",
        "Paul (espeak-ng, male, softer)",
    ]
    assert all("espeak" not in voice.display_name for voice in capabilities.voices[:-4])
    chosen = {tag: resolve_style(capabilities, "", tag, 1) for tag in ("fr", "zh-cn", "pt-BR", "en-AU")}
    assert {tag: (style.voice, style.language) for tag, style in chosen.items()} == {
        "fr": ("anna", "fr"),
        "zh-cn": ("anna", "zh"),
        "pt-BR": ("anna", "pt-BR"),
        # A voice of another region is nearer than a robot of this one.
        "en-AU": ("en-gb-cori-medium", "en"),
    }


def test_whoever_was_called_by_name_before_the_voices_came_still_speaks(engine: PiperEngine) -> None:
    espeak = EspeakEngine(1)
    for voice in espeak.capabilities.voices:
        for language in ("", "de", "de-DE", "en-GB", "en-US", "en-GB-scotland", "fr", "hi"):
            style = resolve_style(engine.capabilities, voice.id, language, 1)
            assert (style.voice, style.language[:2]) == (voice.id, language[:2] or "en")
    assert {voice.display_name for voice in espeak.capabilities.voices} <= {
        voice.display_name for voice in engine.capabilities.voices
    }
    espeak.close()


def test_a_lent_voice_is_espeak_to_the_sample_and_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    build_voice(tmp_path, "de_DE-still-low", "de", inference={"noise_scale": 0, "noise_w": 0})
    engine, espeak = PiperEngine(tmp_path, 1, 1), EspeakEngine(1)
    before = speak(engine, "Guten Morgen, liebe Leute.", "de")
    text = "Bonjour, tout le monde !"
    (lent,) = speak(engine, text, "fr", voice="clara")
    (own,) = espeak.speakers[0].speak(text, resolve_style(espeak.capabilities, "clara", "fr", 1))
    assert np.array_equal(lent.samples, own.samples)
    assert (lent.words, lent.phonemes, lent.visemes) == (own.words, own.phonemes, own.visemes)
    assert [text[word.text_begin : word.text_end] for word in lent.words] == ["Bonjour", "tout", "le", "monde"]
    after = speak(engine, "Guten Morgen, liebe Leute.", "de")
    assert np.array_equal(samples_of(before), samples_of(after))
    assert [chunk.phonemes for chunk in before] == [chunk.phonemes for chunk in after]
    engine.close()
    espeak.close()


def test_a_lent_voice_beside_faster_ones_keeps_its_pitch_and_its_places(tmp_path: Path) -> None:
    build_voice(tmp_path, "de_DE-fine-high", "de", sample_rate_hz=44_100)
    engine, espeak = PiperEngine(tmp_path, 1, 1), EspeakEngine(1)
    assert engine.capabilities.sample_rate_hz == 44_100
    text = "Buenos días, amigos."
    (lent,) = speak(engine, text, "es")
    (own,) = espeak.speakers[0].speak(text, resolve_style(espeak.capabilities, "", "es", 1))
    assert np.abs(lent.samples[::2] - own.samples).max() < 0.05
    for name in ("words", "phonemes", "visemes"):
        places = [(span.start, span.end) for span in getattr(lent, name)]
        assert places == [(2 * span.start, 2 * span.end) for span in getattr(own, name)]
    assert lent.visemes[-1].end == len(lent.samples)
    engine.close()
    espeak.close()


def test_a_voice_of_the_folder_has_its_name_to_itself(tmp_path: Path) -> None:
    build_voice(tmp_path, "anna-x-low", "de", language={"code": "de_DE"}).rename(tmp_path / "anna.onnx")
    (tmp_path / "anna-x-low.onnx.json").rename(tmp_path / "anna.onnx.json")
    engine = PiperEngine(tmp_path, 1, 1)
    assert [voice.id for voice in engine.capabilities.voices] == ["anna", "clara", "martin", "paul"]
    assert resolve_style(engine.capabilities, "", "fr", 1).voice == "clara"
    engine.close()


def test_a_voice_at_another_rate_speaks_at_that_of_the_engine(engine: PiperEngine) -> None:
    text = "a boat at sea"
    slower = speak(engine, text, voice="en-us-pair-low-p0")
    plain = speak(engine, text, voice="en-us-ljspeech-medium")
    seconds = [len(samples_of(chunks)) / RATE_HZ for chunks in (slower, plain)]
    # The same frames, each of which lasts longer at 16 kHz.
    assert seconds[0] == pytest.approx(seconds[1] * RATE_HZ / 16_000, rel=0.05)
    visemes = [viseme for chunk in slower for viseme in chunk.visemes]
    assert visemes[-1].end == len(samples_of(slower))
    assert all(one.end == other.start for one, other in itertools.pairwise(visemes))


def test_the_speakers_of_one_file_sound_different(engine: PiperEngine) -> None:
    one, other = (samples_of(speak(engine, "hello", voice=f"en-us-pair-low-p{number}")) for number in (0, 1))
    assert len(one) == len(other)
    assert np.abs(one - other).max() > 0.1


def test_a_rate_holds_although_durations_are_rounded_up_to_whole_frames(tmp_path: Path) -> None:
    # At twice the rate phonemes of 3 frames would be 2, and pads of 1 are 1 at any rate: half as long again.
    build_voice(tmp_path, "en_US-hasty-low", "en-us", inference={"length_scale": 0.45})
    engine = PiperEngine(tmp_path, 1, 1)
    text = "how long does this sentence take when it is said in half the time"
    plain = [len(samples_of(speak(engine, text))) for _ in range(10)][-1]
    chunks = engine.speakers[0].speak(text, resolve_style(engine.capabilities, "", "en", 2.0))
    assert len(samples_of(list(chunks))) == pytest.approx(plain / 2, rel=0.25)
    engine.close()


def test_edges_are_soft_so_that_seams_do_not_click(engine: PiperEngine) -> None:
    for text in ("apple", "my", "oh,"):
        samples = samples_of(speak(engine, text))
        assert samples[0] == samples[-1] == 0.0


def test_speakers_on_four_threads_say_what_each_says_alone(tmp_path: Path) -> None:
    build_voice(tmp_path, "en_US-still-low", "en-us", inference={"noise_scale": 0, "noise_w": 0})
    engine = PiperEngine(tmp_path, 4, 1)
    texts = [f"sentence number {number}, spoken by one of four" for number in range(4)]
    alone = [samples_of(speak(engine, text)) for text in texts]
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            together = threads.map(lambda n: samples_of(speak(engine, texts[n], speaker=n)), range(4))
            assert all(np.array_equal(one, other) for one, other in zip(alone, together, strict=True))
    engine.close()


def test_no_more_voices_are_kept_than_the_settings_allow(folder: Path) -> None:
    engine = PiperEngine(folder, 1, 1)
    for voice in engine.capabilities.voices:
        assert len(samples_of(speak(engine, "hello", voice.languages[0], voice=voice.id))) > 1000
        assert len(engine._loaded._loaded) == 1
    engine.close()
    assert not engine._loaded._loaded


def test_a_voice_that_is_gone_when_it_is_first_used_is_said_in_words(tmp_path: Path) -> None:
    build_voices(tmp_path)
    engine = PiperEngine(tmp_path, 1, 1)
    (gone,) = tmp_path.rglob("en_GB-cori-medium.onnx")
    gone.write_bytes(b"")
    with pytest.raises(EngineError, match=r"cori-medium\.onnx is damaged or not whole"):
        speak(engine, "hello", "en-GB", voice="en-gb-cori-medium")
    assert speak(engine, "hallo", "de")
    engine.close()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def replaced_by_another_model(path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["input"], ["output"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("input", "output")]
    path.write_bytes(
        onnx.helper.make_model(onnx.helper.make_graph([node], "g", ends[:1], ends[1:])).SerializeToString()
    )


def replaced_by_a_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><title>sign in</title>")


def with_an_operator_that_nobody_knows(path: Path) -> None:
    model = onnx.load(path)
    next(node for node in model.graph.node if node.op_type == "Tanh").op_type = "Nonsense"
    path.write_bytes(model.SerializeToString())


def without_configuration(path: Path) -> None:
    path.with_name(f"{path.name}.json").unlink()


def configured(**change: Any) -> Callable[[Path], None]:
    def change_configuration(path: Path) -> None:
        config = path.with_name(f"{path.name}.json")
        config.write_text(json.dumps(json.loads(config.read_text()) | change))

    return change_configuration


def with_half_a_configuration(path: Path) -> None:
    config = path.with_name(f"{path.name}.json")
    config.write_text(config.read_text()[:50])


def twice(path: Path) -> None:
    build_voice(path.parent / "copy", path.stem, "en-us")


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (Path.unlink, "en_US-x-low.onnx is missing; it belongs to en_US-x-low.onnx.json"),
        (cut_short, "en_US-x-low.onnx is damaged or not whole; fetch the official file again"),
        (replaced_by_a_page, "en_US-x-low.onnx is damaged or not whole"),
        (replaced_by_another_model, "en_US-x-low.onnx is not one of Piper's voices: it is no VITS"),
        (with_an_operator_that_nobody_knows, "en_US-x-low.onnx is no model that can be read"),
        (without_configuration, "en_US-x-low.onnx.json is missing; it says how en_US-x-low.onnx is used"),
        (with_half_a_configuration, "en_US-x-low.onnx.json is damaged or not whole"),
        (configured(audio={"quality": "low"}), "not the configuration of a voice of Piper: audio.sample_rate"),
        (configured(phoneme_type="text"), "reads text, and this engine writes phonemes of espeak-ng only"),
        (configured(phoneme_id_map={"_": [0], "^": [1]}), r"has no id for '\$' in its phoneme_id_map"),
        (configured(espeak={"voice": "xx"}), "needs phonemes of xx, which espeak-ng does not know"),
        (twice, "are two voices of one name; remove one of them"),
    ],
)
def test_what_is_wrong_with_the_files_is_said_in_one_sentence(
    tmp_path: Path, harm: Callable[[Path], None], sentence: str
) -> None:
    harm(build_voice(tmp_path, "en_US-x-low", "en-us"))
    with pytest.raises(NotReadyError, match=sentence) as refused:
        PiperEngine(tmp_path, 1, 1)
    assert "\n" not in str(refused.value)


def test_a_folder_without_a_voice_is_refused(tmp_path: Path) -> None:
    for empty in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotReadyError, match="there is no voice of Piper in"):
            find(empty)


def test_older_configurations_without_language_and_frame_length_are_understood(tmp_path: Path) -> None:
    build_voice(tmp_path, "de_DE-older-low", "de", language=None, speaker_id_map={}, speakers=2)
    (voice,) = find(tmp_path)
    assert (voice.language, voice.frame_samples, dict(voice.speakers)) == ("de-DE", 256, {"0": 0, "1": 1})


def test_the_halves_share_no_weights(folder: Path) -> None:
    for voice in find(folder):
        halves = split(voice.path)
        assert halves.seam.vocoder_inputs == (("sid",) if len(voice.speakers) > 1 else ())
        assert len(halves.front) + len(halves.vocoder) < voice.path.stat().st_size + 2_000


def settings_of(data_dir: Path, **own: Any) -> TtsSettings:
    return TtsSettings(**{"AVATAR_DATA_DIR": data_dir, "max_streams": 1, **own})


def test_auto_takes_it_before_espeak_where_its_voices_are_and_says_why_not(tmp_path: Path) -> None:
    voices = PiperSettings(dir=build_voices(tmp_path / "voices"))
    chosen = load(settings_of(tmp_path, piper=voices))
    assert chosen.name == "piper"
    assert "the best that runs here" in chosen.reason
    chosen.engine.close()
    without = load(settings_of(tmp_path))
    assert without.name == "espeak"
    assert "the model piper is not complete" in without.reason
    assert "models pull piper" in without.reason
    without.engine.close()
    with pytest.raises(NotReadyError, match="models pull piper"):
        load(settings_of(tmp_path, engine="piper"))


async def test_the_service_speaks_with_it_in_the_language_that_is_asked_for(tmp_path: Path) -> None:
    engine = PiperEngine(build_voices(tmp_path / "voices"), 1, 4)
    async with serving(engine) as tts:
        config = tts_pb2.SynthesisConfig(language_code="de")
        spoken = await tts.Synthesize(tts_pb2.SynthesizeRequest(text="Guten Tag. Wie geht es?", config=config))
    assert spoken.config.voice == "voices/de-de-thorsten-medium"
    assert [word.word for word in spoken.timing.words] == ["Guten", "Tag", "Wie", "geht", "es"]
    assert spoken.timing.exact
    last = spoken.timing.visemes[-1]
    assert int(last.viseme) == Viseme.SIL
    assert last.end_offset == spoken.audio_duration


async def test_routes_of_the_older_stack_speak_all_its_languages(tmp_path: Path) -> None:
    engine = PiperEngine(build_voices(tmp_path / "voices"), 1, 4)
    async with channel_to(engine) as channel:
        stub: Any = legacy_pb2_grpc.LegacyTextToSpeechServiceStub(channel)
        answer = await answer_of(stub.GetLanguages(legacy_pb2.GetLanguagesRequest()))
        assert answer.json["languages"] == LANGUAGES
        for language in LANGUAGES:
            for speaker in (None, "Paul (espeak-ng, male, softer)"):
                body = json_body({"text": "1 2 3", "language": language, "speaker": speaker})
                spoken = await answer_of(stub.SynthesizeFile(legacy_pb2.SynthesizeFileRequest(json=body)))
                assert (spoken.status, spoken.content_type) == (200, "audio/wav"), language


ANY_TEXT = st.text(max_size=200) | st.text(
    st.sampled_from("aeiß .,;!?'\"-[]<>&\n1290é\u0301中日あア한మకا😀\u200d\x01\x00%€"), max_size=60
)


@settings(deadline=None, max_examples=40)
@given(ANY_TEXT, st.sampled_from(["en-US", "de", "fr"]))
def test_any_text_is_spoken_with_spans_that_cover_it(engine: PiperEngine, text: str, language: str) -> None:
    chunks = speak(engine, text, language)
    length = sum(len(chunk.samples) for chunk in chunks)
    for name in ("phonemes", "visemes"):
        spans = [(span.start, span.end) for chunk in chunks for span in getattr(chunk, name)]
        assert not spans or (spans[0][0], spans[-1][1]) == (0, length)
        assert all(one[1] == other[0] for one, other in itertools.pairwise(spans))
    words = [word for chunk in chunks for word in chunk.words]
    assert all(one.text_end <= other.text_begin for one, other in itertools.pairwise(words))
