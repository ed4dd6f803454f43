"""The production engines in the whole product: XTTS, Whisper and Canary, tiny and with random weights, on the CPU.

Their Whisper recites a sentence whatever is said, and their XTTS makes a noise as long as speech. What is heard is
judged as in the tests with the embedded engines; the face is the embedded one, whose lips can be measured.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import soxr
from numpy.typing import NDArray

from services.render.landmarks import FaceLandmarker
from services.stt.engines.nemo.model import LANGUAGES
from tests.e2e.conftest import SAMPLE_RATE_HZ, Product, new_data_dir, product
from tests.e2e.test_conversation import Asked, converse, device_saying
from tests.e2e.test_interruption import OVER, speak_over
from tests.e2e.test_legacy_contract import black_box_check
from tests.services.stt.espeak_speech import RATE_HZ, speech

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="package"), pytest.mark.timeout(300)]
# Those that the older stack's clients ask for by name, and two more.
SPEAKERS = ("Ana Tiny", "Claribel Dervla", "Sofia Hellen", "Björn Tiny")
# A codec for speech keeps less of the noise that random weights make, and the voice computes on the cores that the
# browser paints on.
ASKED = Asked(sound=0.9, fps=18.0)
# Each sentence lasts 1.9 s, whatever it says, which is the pace of the one that is recited.
TOKENS = 40
# What the recogniser writes, whatever it hears. In noise times are estimated at random, so the mouth has much to do.
HEARD = "my mama and my papa and my papa"
ANSWER = "One and two and three. Four and five and six. Seven and eight and nine. Ten and eleven and twelve."


@pytest_asyncio.fixture(scope="module", loop_scope="package")
async def production(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Product]:
    """It echoes what it hears."""
    from tests.fakes.nemo_models import build_canary
    from tests.services.stt.whisper import tiny_models
    from tests.services.tts.xtts import tiny

    folder = tmp_path_factory.mktemp("production")
    tiny.write_official_folder(folder / "xtts", speakers=SPEAKERS, tokens=TOKENS)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tiny_models, "RECITED", f" {HEARD}")
        engines = {
            "TTS_ENGINE": "xtts",
            "TTS_XTTS__DIR": str(folder / "xtts"),
            "TTS_XTTS__DEVICE": "cpu",
            "STT_ENGINE": "whisper",
            "STT_WHISPER__MODEL": str(tiny_models.build_ctranslate2(folder / "whisper")),
            "CANARY_ENGINE": "canary",
            "CANARY_CANARY__DIR": str(build_canary(folder / "canary", LANGUAGES)),
        }
        for name, value in engines.items():
            patched.setenv(name, value)
        async with product(new_data_dir(folder), has_second=True) as running:
            yield running


def spoken(text: str) -> NDArray[np.int16]:
    """A person, at 48 kHz."""
    resampled: NDArray[np.float32] = soxr.resample(speech(text), RATE_HZ, SAMPLE_RATE_HZ)
    return (resampled * 32767).astype(np.int16)


async def test_a_sentence_is_heard_and_said_by_a_face_in_step(production: Product, tmp_path: Path) -> None:
    landmarker = FaceLandmarker(production.data_dir)
    device = device_saying(tmp_path, spoken("What is the weather like today?"))
    run = await converse(production, "avatars/default", landmarker, device, ASKED)
    assert run.faults() == {}, run
    assert run.final_text == run.spoken_text == HEARD


async def test_speech_over_the_answer_stops_sound_and_lips_at_once(production: Product) -> None:
    await speak_over(production, spoken(OVER), ANSWER)


# The last one: it leaves conversations behind that nobody ended.
@pytest.mark.data
async def test_the_older_stacks_check_passes_as_for_its_own_engines(production: Product, test_data: Path) -> None:
    await black_box_check(production, test_data, "production")
