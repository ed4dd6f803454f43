"""XTTS v2 with random weights and few of them, in the layout in which it is published; built in a second."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

WIDTH, LAYERS, HEADS, VOCODER_CHANNELS = 64, 2, 4, 32
# Random weights would go on until they may not; these stop after so many tokens, 1.7 s.
TOKENS = 36
_PEAK = 0.3
LANGUAGES = ("en", "es", "fr", "de", "it", "pt", "pl", "tr", "ru", "nl", "cs", "ar", "zh-cn", "hu", "ko", "ja", "hi")
SPEAKERS = ("Ana Tiny", "Björn Tiny")


def write_vocabulary(path: Path) -> int:
    """A vocabulary of letters with the special tokens where they are in the published one. Returns: its size."""
    special = ["[STOP]", "[UNK]", "[SPACE]", "[START]", *(f"[{language}]" for language in LANGUAGES)]
    letters = [chr(code) for code in (*range(33, 127), *range(0xA1, 0x180), *range(0x400, 0x460))]
    letters += list("،؟ابتثجحخدذرزسشصضطظعغفقكلمنهويىئءؤةأإآ")
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys([*special, *letters]))}
    added = [
        {"id": index, "content": token, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for token, index in vocabulary.items()
        if token in special
    ]
    model = {"type": "BPE", "unk_token": "[UNK]", "fuse_unk": False, "vocab": vocabulary, "merges": []}
    tokenizer = {"version": "1.0", "added_tokens": added, "pre_tokenizer": {"type": "Whitespace"}, "model": model}
    path.write_text(json.dumps(tokenizer))
    return len(vocabulary)


def narrow() -> Any:
    """While it lasts, the library builds vocoders as narrow as those here: config.json does not say their width."""
    from TTS.tts.models import xtts

    return patch.object(
        xtts, "HifiDecoder", partial(xtts.HifiDecoder, upsample_initial_channel_decoder=VOCODER_CHANNELS)
    )


def write_official_folder(
    folder: Path, seed: int = 1, speakers: Sequence[str] = SPEAKERS, tokens: int = TOKENS
) -> None:
    """config.json, model.pth, vocab.json and speakers_xtts.pth.

    Args: speakers: names of the voices in it; tokens: after which it has said what it was to say.
    """
    import torch
    from TTS.tts.configs.xtts_config import XttsArgs, XttsConfig
    from TTS.tts.models.xtts import Xtts

    folder.mkdir(parents=True, exist_ok=True)
    size = write_vocabulary(folder / "vocab.json")
    arguments = XttsArgs(
        gpt_use_perceiver_resampler=True,
        gpt_num_audio_tokens=1026,
        gpt_start_audio_token=1024,
        gpt_stop_audio_token=1025,
        gpt_layers=LAYERS,
        gpt_n_model_channels=WIDTH,
        gpt_n_heads=HEADS,
        decoder_input_dim=WIDTH,
        gpt_number_text_tokens=size,
        gpt_start_text_token=3,
        gpt_stop_text_token=0,
    )
    config = XttsConfig(model_args=arguments, languages=list(LANGUAGES))
    torch.manual_seed(seed)
    with narrow():
        model = Xtts(config)
    with torch.no_grad():
        # Fresh position embeddings are so small that a wrong one would not be noticed.
        for positions in (model.gpt.mel_pos_embedding, model.gpt.text_pos_embedding):
            positions.emb.weight.normal_(0, 0.3)
        # And fresh layers add so little that nobody would notice which text they read.
        for name, weight in model.gpt.gpt.named_parameters():
            if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")):
                weight.normal_(0, 0.2)
        stop = torch.nn.functional.normalize(torch.randn(WIDTH), dim=0)
        model.gpt.mel_pos_embedding.emb.weight[tokens - 1 :] += 300 * stop
        model.gpt.mel_head.weight[1025] = 4 * stop
        model.gpt.mel_head.bias[1025] = -20
        # As loud as speech.
        voice = torch.nn.functional.normalize(torch.randn(1, 512, 1), dim=1)
        sound = model.hifigan_decoder(torch.randn(1, 20, WIDTH), g=voice)
        model.hifigan_decoder.waveform_decoder.conv_post.weight *= _PEAK / sound.abs().max()
    config.save_json(str(folder / "config.json"))
    torch.save({"model": model.state_dict(), "config": config.to_dict()}, folder / "model.pth")
    voices = {
        name: {
            "gpt_cond_latent": torch.randn(1, 32, WIDTH),
            "speaker_embedding": torch.nn.functional.normalize(torch.randn(1, 512, 1), dim=1),
        }
        for name in speakers
    }
    torch.save(voices, folder / "speakers_xtts.pth")


def engine(speakers: int) -> Any:
    """An engine on such a model, on the CPU."""
    from services.tts.engines.xtts import torchaudio_stand_in
    from services.tts.engines.xtts.engine import XttsEngine

    torchaudio_stand_in.install()
    with tempfile.TemporaryDirectory(prefix="xtts-") as folder:
        write_official_folder(Path(folder))
        return XttsEngine(Path(folder), "cpu", speakers)
