"""The models that `avatar models` fetches: where each file lies, its hash, and the licence that it comes under."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from services.common.errors import NotFoundError
from services.common.settings_file import meant


@dataclass(frozen=True, slots=True)
class Licence:
    """What a model may be used for.

    Args:
        name: as it is typed after `--accept-licence`.
        title: as people know it.
        url: where it can be read.
        allows: what it allows, as the end of a sentence.
        needs_yes: whether somebody has to accept it first, because it forbids what many do.
    """

    name: str
    title: str
    url: str
    allows: str
    needs_yes: bool


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file. Args: path: in the repository, and below the model's folder; sha256: 64 digits."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Model:
    """Files of one repository of a hub, at one revision and under one licence.

    Args:
        name: as people type it.
        service: which process reads it.
        purpose: what it is, for a list.
        repository: OWNER/NAME on the hub.
        revision: the commit, 40 digits; a branch would move.
        folder: below the folder of all models; models that are read together share one.
        companion_of: the model that can use it and does without; empty for one that stands alone.
        without: what that model does then, as a sentence.
    """

    name: str
    service: Literal["render", "tts", "stt"]
    purpose: str
    repository: str
    revision: str
    licence: Licence
    folder: str
    files: tuple[HubFile, ...]
    companion_of: str = ""
    without: str = ""

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


_MIT = Licence(
    name="mit-liveportrait",
    title="MIT",
    url="https://github.com/KwaiVGI/LivePortrait/blob/main/LICENSE",
    allows="any use, commercial use too, as long as its notice stays with the files",
    needs_yes=False,
)
_INSIGHTFACE = Licence(
    name="insightface-non-commercial",
    title="InsightFace models, non-commercial",
    url="https://github.com/deepinsight/insightface#license",
    allows="research that is not commercial, and nothing else; for other use ask its authors",
    needs_yes=True,
)
_CPML = Licence(
    name="coqui-public-model-licence",
    title="Coqui Public Model License 1.0.0, non-commercial",
    url="https://huggingface.co/coqui/XTTS-v2/blob/6c2b0d75eae4b7047358e3b6bd9325f857d43f77/LICENSE.txt",
    allows="use that is not commercial, of the model and of what it says",
    needs_yes=True,
)
_FREE_VOICES = Licence(
    name="piper-thorsten-ljspeech",
    title="CC0 (Thorsten) and public domain (LJ Speech)",
    url="https://huggingface.co/rhasspy/piper-voices/blob/c10ece1aade47bb51c153c893d14e5bf8e5b7117/README.md",
    allows="any use, commercial use too",
    needs_yes=False,
)
_WHISPER = Licence(
    name="mit-whisper",
    title="MIT",
    url="https://github.com/openai/whisper/blob/main/LICENSE",
    allows="any use, commercial use too, as long as its notice stays with the files",
    needs_yes=False,
)
_CC_BY = Licence(
    name="cc-by-4.0-nvidia",
    title="CC BY 4.0 (NVIDIA)",
    url="https://creativecommons.org/licenses/by/4.0/",
    allows="any use, commercial use too, as long as NVIDIA is named",
    needs_yes=False,
)
# The repository that was KwaiVGI/LivePortrait; the older name leads here. Sizes and hashes are those that the hub
# itself gives for its LFS files; repositories of others that carry the same pointers agree on all of them. What
# those of the voices and the recognisers are, at least two repositories that have nothing to do with each other say
# alike.
_LIVEPORTRAIT = "KlingTeam/LivePortrait"
_LIVEPORTRAIT_REVISION = "82a4fa6735ca58432b6ce39301b4b9ee066dea47"

MODELS: tuple[Model, ...] = (
    Model(
        name="liveportrait",
        service="render",
        purpose="LivePortrait: a portrait that speaks, drawn on a GPU",
        repository=_LIVEPORTRAIT,
        revision=_LIVEPORTRAIT_REVISION,
        licence=_MIT,
        folder="liveportrait",
        files=(
            HubFile(
                "liveportrait/base_models/appearance_feature_extractor.pth",
                3_387_959,
                "5279bb8654293dbdf327030b397f107237dd9212fb11dd75b83dfb635211ceb5",
            ),
            HubFile(
                "liveportrait/base_models/motion_extractor.pth",
                112_545_506,
                "251e6a94ad667a1d0c69526d292677165110ef7f0cf0f6d199f0e414e8aa0ca5",
            ),
            HubFile(
                "liveportrait/base_models/spade_generator.pth",
                221_813_590,
                "4780afc7909a9f84e24c01d73b31a555ef651521a1fe3b2429bd04534d992aee",
            ),
            HubFile(
                "liveportrait/base_models/warping_module.pth",
                182_180_086,
                "2f61a6f265fe344f14132364859a78bdbbc2068577170693da57fb96d636e282",
            ),
            HubFile(
                "liveportrait/retargeting_models/stitching_retargeting_module.pth",
                2_393_098,
                "3652d5a3f95099141a56986aaddec92fadf0a73c87a20fac9a2c07c32b28b611",
            ),
            HubFile(
                "liveportrait/landmark.onnx",
                114_666_491,
                "31d22a5041326c31f19b78886939a634a5aedcaa5ab8b9b951a1167595d147db",
            ),
        ),
    ),
    Model(
        name="insightface",
        service="render",
        purpose="the face detector that LivePortrait was published with",
        repository=_LIVEPORTRAIT,
        revision=_LIVEPORTRAIT_REVISION,
        licence=_INSIGHTFACE,
        folder="liveportrait",
        files=(
            HubFile(
                "insightface/models/buffalo_l/det_10g.onnx",
                16_923_827,
                "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
            ),
            HubFile(
                "insightface/models/buffalo_l/2d106det.onnx",
                5_030_888,
                "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf",
            ),
        ),
        companion_of="liveportrait",
        without="the face in a portrait is then found by the small detector of the set-up",
    ),
    Model(
        name="xtts",
        service="tts",
        purpose="XTTS v2: a voice in 17 languages that is cloned from seconds of speech, on a GPU",
        repository="coqui/XTTS-v2",
        revision="6c2b0d75eae4b7047358e3b6bd9325f857d43f77",
        licence=_CPML,
        folder="xtts",
        files=(
            HubFile("config.json", 4_368, "ef262b1454dd2a77e1461b0b2cd53e19b8a7624cc131b837d36df67356bc75e8"),
            HubFile("model.pth", 1_867_929_118, "c7ea20001c6a0a841c77e252d8409f6a74fb423e79b3206a0771ba5989776187"),
            HubFile("vocab.json", 361_219, "928260878a59da8a72a2a5b7687fea29d5106137669d90945430fe17e415304a"),
            HubFile("speakers_xtts.pth", 7_754_818, "f0f6137c19a4eab0cbbe4c99b5babacf68b1746e50da90807708c10e645b943b"),
        ),
    ),
    Model(
        name="piper",
        service="tts",
        purpose="Piper: a German and an English voice for one core of a CPU",
        repository="rhasspy/piper-voices",
        revision="c10ece1aade47bb51c153c893d14e5bf8e5b7117",
        licence=_FREE_VOICES,
        folder="piper",
        files=(
            HubFile(
                "de/de_DE/thorsten/medium/de_DE-thorsten-medium.onnx",
                63_201_294,
                "7e64762d8e5118bb578f2eea6207e1a35a8e0c30595010b666f983fc87bb7819",
            ),
            HubFile(
                "de/de_DE/thorsten/medium/de_DE-thorsten-medium.onnx.json",
                4_819,
                "974adee790533adb273a1ac88f49027d2a1b8f0f2cf4905954a4791e79264e85",
            ),
            HubFile(
                "en/en_US/ljspeech/medium/en_US-ljspeech-medium.onnx",
                63_531_379,
                "6f52a751e2349abe7a76735eb09dc1875298c77ea2342ffd2fef79ff81b87f22",
            ),
            HubFile(
                "en/en_US/ljspeech/medium/en_US-ljspeech-medium.onnx.json",
                4_972,
                "141d612cc0a95ed7efc1ca936b845c2364967f2e9217c5dbfcf69fc4d6c65860",
            ),
        ),
    ),
    Model(
        name="whisper",
        service="stt",
        purpose="Whisper large-v3: speech in 99 languages, on a GPU",
        repository="Systran/faster-whisper-large-v3",
        revision="edaa852ec7e145841d8ffdb056a99866b5f0a478",
        licence=_WHISPER,
        folder="whisper-large-v3",
        files=(
            HubFile("config.json", 2_394, "a9306624f5ec14270a014b647e5c316b6e03a662c369758d1b90697a7b0655b9"),
            HubFile("model.bin", 3_087_284_237, "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1"),
            HubFile(
                "preprocessor_config.json", 340, "7ccc62c6f2765af1f3b46c00c9b5894426835a05021c8b9c01eecb6dfb542711"
            ),
            HubFile("tokenizer.json", 2_480_617, "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca"),
            HubFile("vocabulary.json", 1_068_114, "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1"),
        ),
    ),
    Model(
        name="whisper-small",
        service="stt",
        purpose="Whisper small: the same for a CPU, with more errors",
        repository="Systran/faster-whisper-small",
        revision="536b0662742c02347bc0e980a01041f333bce120",
        licence=_WHISPER,
        folder="whisper-small",
        files=(
            HubFile("config.json", 2_370, "b55496ac7940a7ae47d2c01eab40edfd8701feec1229d9cce3b40014383fb828"),
            HubFile("model.bin", 483_546_902, "3e305921506d8872816023e4c273e75d2419fb89b24da97b4fe7bce14170d671"),
            HubFile("tokenizer.json", 2_203_239, "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab"),
            HubFile("vocabulary.txt", 459_861, "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913"),
        ),
    ),
    Model(
        name="parakeet",
        service="stt",
        purpose="Parakeet v3: speech in 25 languages of Europe, on a CPU",
        repository="istupakov/parakeet-tdt-0.6b-v3-onnx",
        revision="8f23f0c03c8761650bdb5b40aaf3e40d2c15f1ce",
        licence=_CC_BY,
        folder="parakeet",
        files=(
            HubFile(
                "encoder-model.int8.onnx",
                652_183_999,
                "6139d2fa7e1b086097b277c7149725edbab89cc7c7ae64b23c741be4055aff09",
            ),
            HubFile(
                "decoder_joint-model.int8.onnx",
                18_202_004,
                "eea7483ee3d1a30375daedc8ed83e3960c91b098812127a0d99d1c8977667a70",
            ),
            HubFile("vocab.txt", 93_939, "d58544679ea4bc6ac563d1f545eb7d474bd6cfa467f0a6e2c1dc1c7d37e3c35d"),
            HubFile("config.json", 97, "666903c76b9798caf2c210afd4f6cd60b08a8dbf9800ec8d7a3bc0d2148ac466"),
        ),
    ),
    Model(
        name="canary",
        service="stt",
        purpose="Canary 1B v2: the second recogniser, which also translates, in the same 25 languages",
        repository="istupakov/canary-1b-v2-onnx",
        revision="5ebc1520cef7b6b318b3526ad17adbfe00bc1bfc",
        licence=_CC_BY,
        folder="canary",
        files=(
            HubFile(
                "encoder-model.int8.onnx",
                859_078_138,
                "6d96e9945898e5ace48f4efecd459ca1df81859730be27b8af6b197639403ee1",
            ),
            HubFile(
                "decoder-model.int8.onnx",
                170_040_374,
                "52d83aa7aad41fbbe4f9dfcd341d784735a6eb4c6eb0d3290fc27a0d8ac39abf",
            ),
            HubFile("vocab.txt", 208_022, "2c9efe6104fd29522ea27ce0e3aef5d37c690af4e5a4232e643e23ca403ffea3"),
            HubFile("config.json", 68, "f90ace8e35326dcd47c7330b230644fa0835083ed1e89e2f59aa08ba10d74f54"),
        ),
    ),
)


def find(name: str) -> Model:
    """The model of a name. Raises: NotFoundError, which names those that there are."""
    known = {model.name: model for model in MODELS}
    if name not in known:
        raise NotFoundError(f"there is no model {name}{meant(name, known)}; there are {', '.join(known)}")
    return known[name]


def companions(model: Model) -> list[Model]:
    """The models that this one can use and does without."""
    return [other for other in MODELS if other.companion_of == model.name]
