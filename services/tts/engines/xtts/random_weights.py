"""XTTS v2 with random weights, as it is published, for tests and measurements where the official ones may not be.

It makes noise as loud as speech, in every language. Random weights would go on until they may not any more; these stop
after a wanted number of tokens, whatever the text: the position that a token has in the speech is added to what the
model carries on, and from the wanted one on it points where the head of the stop token looks.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from services.tts.engines.xtts.checkpoint import installed_library
from services.tts.engines.xtts.sizes import CONDITIONING, XttsSizes

OFFICIAL = XttsSizes()
# Built in a second, and fast on a CPU.
NARROW = XttsSizes(layers=2, width=64, heads=4, text_tokens=512, start_text=3, vocoder_channels=32)
LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "hu", "ko", "ja", "hi")
SPEAKERS = ("Random One", "Random Two")
_LETTERS = (*range(33, 127), *range(0xA1, 0x180), *range(0x400, 0x460))
_ARABIC = "،؟ابتثجحخدذرزسشصضطظعغفقكلمنهويىئءؤةأإآ"
# Root mean square of the quietest speaker's sound: -20 dBFS; and samples at its ends that are not counted.
_LOUDNESS, _END = 0.1, 2000
# Lengths of the stop's direction, in what is carried on and in its head; and what the head asks of anything else.
_STOP, _STOP_HEAD, _STOP_BIAS = 300.0, 4.0, -20.0


def write_official_folder(
    folder: Path, sizes: XttsSizes = OFFICIAL, *, tokens: int, seed: int = 1, speakers: Sequence[str] = SPEAKERS
) -> None:
    """Write config.json, model.pth, vocab.json and speakers_xtts.pth; 2 GB for the official sizes.

    Args:
        folder: made if it is not there.
        tokens: that each text is long, about 46 ms each.
        speakers: names of the voices in it.
    Raises: NotReadyError if the library that reads the model is not installed.
    """
    library = installed_library()
    folder.mkdir(parents=True, exist_ok=True)
    _write_vocabulary(folder / "vocab.json", sizes)
    config = library.config(model_args=library.arguments(**_arguments(sizes)), languages=list(LANGUAGES))
    torch.manual_seed(seed)
    model = library.model(config, None, sizes.vocoder_channels)
    voices = {
        name: {
            "gpt_cond_latent": torch.randn(1, CONDITIONING, sizes.width),
            "speaker_embedding": normalize(torch.randn(1, sizes.speaker_width, 1), dim=1),
        }
        for name in speakers
    }
    with torch.no_grad():
        _make_speak(model.gpt, sizes, tokens)
        _make_loud(model.hifigan_decoder, sizes, [voice["speaker_embedding"] for voice in voices.values()])
    config.save_json(str(folder / "config.json"))
    torch.save({"model": model.state_dict(), "config": config.to_dict()}, folder / "model.pth")
    torch.save(voices, folder / "speakers_xtts.pth")


def _arguments(sizes: XttsSizes) -> dict[str, Any]:
    """As config.json names them."""
    return {
        "gpt_use_perceiver_resampler": True,
        "gpt_layers": sizes.layers,
        "gpt_n_model_channels": sizes.width,
        "gpt_n_heads": sizes.heads,
        "gpt_number_text_tokens": sizes.text_tokens,
        "gpt_start_text_token": sizes.start_text,
        "gpt_stop_text_token": sizes.stop_text,
        "gpt_num_audio_tokens": sizes.audio_tokens,
        "gpt_start_audio_token": sizes.start_audio,
        "gpt_stop_audio_token": sizes.stop_audio,
        "gpt_max_text_tokens": sizes.max_text + 1,
        "gpt_max_audio_tokens": sizes.max_audio + 3,
        "decoder_input_dim": sizes.width,
        "d_vector_dim": sizes.speaker_width,
    }


def _make_speak(gpt: Any, sizes: XttsSizes, tokens: int) -> None:
    """Weigh a fresh model so that text, voice and place are heard in what it says, and that it stops."""
    # Fresh position embeddings are so small that a wrong one would not be noticed.
    for positions in (gpt.mel_pos_embedding, gpt.text_pos_embedding):
        positions.emb.weight.normal_(0, 0.3)
    # And fresh layers add so little that nobody would notice which text they read. What they add up to is kept the
    # same for any number of them, as in GPT-2 (Radford et al. 2019, section 2.3).
    spread = 1.6 / math.sqrt(sizes.width)
    for name, weight in gpt.gpt.named_parameters():
        if name.endswith(("c_attn.weight", "c_fc.weight")):
            weight.normal_(0, spread)
        elif name.endswith("c_proj.weight"):
            weight.normal_(0, spread * math.sqrt(2 / sizes.layers))
    stop = normalize(torch.randn(sizes.width), dim=0)
    gpt.mel_pos_embedding.emb.weight[tokens - 1 :] += _STOP * stop
    gpt.mel_head.weight[sizes.stop_audio] = _STOP_HEAD * stop
    gpt.mel_head.bias[sizes.stop_audio] = _STOP_BIAS


def _make_loud(decoder: Any, sizes: XttsSizes, speakers: Sequence[Tensor]) -> None:
    """Weigh a fresh vocoder so that it makes noise.

    A fresh one gives a constant, which no codec carries: its biases drown what comes in, and its last layer adds up
    what is above zero.
    """
    vocoder = decoder.waveform_decoder
    for name, weight in vocoder.named_parameters():
        if name.endswith("bias"):
            weight.zero_()
        elif name.startswith("cond"):
            # A voice is the same all the time: it is to be heard in the noise, and not to make a tone of it.
            weight *= 0.1
    vocoder.conv_post.weight -= vocoder.conv_post.weight.mean(dim=-1, keepdim=True)
    latents = torch.randn(1, 20, sizes.width)
    # Narrow vocoders make more of one speaker than of another.
    quietest = min(decoder(latents, g=speaker)[..., _END:-_END].std() for speaker in speakers)
    vocoder.conv_post.weight *= _LOUDNESS / quietest


def _write_vocabulary(file: Path, sizes: XttsSizes) -> None:
    """Letters, each a token, with the special ones where they are in the published vocabulary."""
    special = ["[STOP]", "[UNK]", "[SPACE]", *(f"[{language}]" for language in LANGUAGES)]
    letters = [*map(chr, _LETTERS), *_ARABIC]
    names = list(dict.fromkeys([*special, *letters]))
    # What nothing is cut into.
    names += [f"[{number}]" for number in range(sizes.text_tokens - 1 - len(names))]
    names.insert(sizes.start_text, "[START]")
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": index, "content": name, "special": True} | flags
        for index, name in enumerate(names)
        if name in (*special, "[START]")
    ]
    vocabulary = {name: index for index, name in enumerate(names)}
    model = {"type": "BPE", "unk_token": "[UNK]", "fuse_unk": False, "vocab": vocabulary, "merges": []}
    tokenizer = {"version": "1.0", "added_tokens": added, "pre_tokenizer": {"type": "Whitespace"}, "model": model}
    file.write_text(json.dumps(tokenizer))
