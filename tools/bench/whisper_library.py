"""Whisper as its library, transformers, runs it: the same weights, the same sound, as many tokens."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from services.stt.engines.whisper.network import Whisper
from services.stt.engines.whisper.runtime import MAX_TOKENS, SAMPLE_RATE_HZ, WINDOW_STATES
from services.stt.engines.whisper.vocabulary import Vocabulary

# It says on each call which of its settings another one overrides.
transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
NAME = f"transformers {transformers.__version__}"


def final_of(
    network: Whisper,
    vocabulary: Vocabulary,
    sound: NDArray[np.float32],
    tokens: int,
    device: torch.device,
    *,
    is_compiled: bool,
) -> Callable[[], list[int]]:
    """What hears the sound by the library's own feature extraction and `generate`, and gives exactly so many tokens.

    Args:
        network: whose weights it shares.
        is_compiled: with the library's static cache, for which it compiles the decoder on a GPU; without, as it is.
    """
    sizes = network.sizes
    config = transformers.WhisperConfig(
        vocab_size=sizes.vocabulary,
        num_mel_bins=sizes.bands,
        d_model=sizes.width,
        encoder_layers=sizes.encoder_layers,
        encoder_attention_heads=sizes.encoder_heads,
        encoder_ffn_dim=sizes.encoder_ffn,
        decoder_layers=sizes.decoder_layers,
        decoder_attention_heads=sizes.decoder_heads,
        decoder_ffn_dim=sizes.decoder_ffn,
        max_source_positions=WINDOW_STATES,
        max_target_positions=MAX_TOKENS,
    )
    with torch.device("meta"):
        model = transformers.WhisperForConditionalGeneration(config)
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    model.tie_weights()
    model.eval()  # type: ignore[no-untyped-call]
    dtype = network.decoder.embed_tokens.weight.dtype
    assert vocabulary.transcribe is not None
    generation = transformers.GenerationConfig(  # type: ignore[no-untyped-call]
        decoder_start_token_id=vocabulary.start,
        bos_token_id=vocabulary.end,
        eos_token_id=vocabulary.end,
        pad_token_id=vocabulary.end,
        no_timestamps_token_id=vocabulary.no_timestamps,
        is_multilingual=True,
        lang_to_id={f"<|{language}|>": token for language, token in vocabulary.languages.items()},
        task_to_id={"transcribe": vocabulary.transcribe, "translate": vocabulary.translate},
        suppress_tokens=list(range(vocabulary.first_special, sizes.vocabulary)),
        min_new_tokens=tokens,
        max_new_tokens=tokens,
        do_sample=False,
        num_beams=1,
        **({"cache_implementation": "static"} if is_compiled else {}),
    )
    extractor = transformers.WhisperFeatureExtractor(feature_size=sizes.bands)  # type: ignore[no-untyped-call]

    @torch.inference_mode()
    def final() -> list[int]:
        heard = extractor(sound, sampling_rate=SAMPLE_RATE_HZ, return_tensors="pt", device=str(device))
        columns = heard.input_features.to(device, dtype)
        written = model.generate(columns, generation_config=generation, language="en", task="transcribe")
        # Some versions give the prompt back, too.
        return [int(token) for token in written[0].tolist()][-tokens:]

    return final
