"""Whisper models of a few kilobytes in both official layouts, with the same weights, built in a moment.

They recite: whatever they hear, they write their text, word by word, because a token's place decides the next one. What
attention and feed-forward parts add is random and small.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import tokenizers
from ctranslate2.specs import whisper_spec
from numpy.typing import NDArray
from tokenizers import AddedToken, decoders, models, pre_tokenizers

from services.stt.legacy_languages import WHISPER

WIDTH, HEADS, LAYERS, FFN, BANDS = 64, 2, 2, 64, 80
TEXT_TOKENS = 50_257
# Of the third version, with Cantonese.
LANGUAGES = tuple(WHISPER)
RECITED = " what is the weather"
_START = 3  # places before the text: the start, the language, the task; the fourth is "no timestamps"

Weights = dict[str, NDArray[np.float32]]


def tokenizer() -> tokenizers.Tokenizer:
    """The places of the official one; text is its bytes, but for the words that are recited."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: number for number, character in enumerate(alphabet)}
    merges: list[tuple[str, str]] = []
    for word in RECITED.split():
        token = "Ġ"
        for letter in word:
            if token + letter not in vocabulary:
                merges.append((token, letter))
                vocabulary[token + letter] = len(vocabulary)
            token += letter
    vocabulary |= {f"\N{FULL BLOCK}{number}": number for number in range(len(vocabulary), TEXT_TOKENS)}
    made = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|startoftranscript|>", *(f"<|{language}|>" for language in LANGUAGES)]
    special += ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>"]
    made.add_special_tokens(
        [AddedToken(name, special=True, normalized=False) for name in [*special, "<|notimestamps|>"]]
    )
    made.add_tokens([AddedToken(f"<|{place * 0.02:.2f}|>", normalized=False) for place in range(1501)])
    return made


def weights(tokens: tokenizers.Tokenizer, seed: int = 0) -> Weights:
    """By the names of the transformers layout, without "model."."""
    generator = np.random.default_rng(seed)

    def some(*shape: int, scale: float = 0.05) -> NDArray[np.float32]:
        return (generator.standard_normal(shape) * scale).astype(np.float32)

    made: Weights = {}

    def linear(name: str, out: int, into: int, *, bias: bool = True) -> None:
        made[f"{name}.weight"] = some(out, into)
        if bias:
            made[f"{name}.bias"] = some(out)

    def norm(name: str) -> None:
        made[f"{name}.weight"] = np.ones(WIDTH, np.float32)
        made[f"{name}.bias"] = np.zeros(WIDTH, np.float32)

    def attention(name: str) -> None:
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{name}.{part}", WIDTH, WIDTH, bias=part != "k_proj")
        norm(f"{name}_layer_norm")

    for part in ("encoder", "decoder"):
        for layer in range(LAYERS):
            name = f"{part}.layers.{layer}"
            attention(f"{name}.self_attn")
            if part == "decoder":
                attention(f"{name}.encoder_attn")
            linear(f"{name}.fc1", FFN, WIDTH)
            linear(f"{name}.fc2", WIDTH, FFN)
            norm(f"{name}.final_layer_norm")
        norm(f"{part}.layer_norm")
    for number, into in ((1, BANDS), (2, WIDTH)):
        made[f"encoder.conv{number}.weight"] = some(WIDTH, into, 3)
        made[f"encoder.conv{number}.bias"] = some(WIDTH)
    made["encoder.embed_positions.weight"] = some(1500, WIDTH, scale=1.0)
    embeddings = some(tokens.get_vocab_size(), WIDTH, scale=1.0)
    made["decoder.embed_tokens.weight"] = embeddings
    script = [*tokens.encode(RECITED).ids, tokens.token_to_id("<|endoftext|>")]
    positions = np.stack([3 * embeddings[script[(place - _START) % len(script)]] for place in range(448)])
    made["decoder.embed_positions.weight"] = positions
    return made


def build_transformers(folder: Path, made: Weights | None = None) -> Path:
    """The layout that PyTorch reads."""
    folder.mkdir(parents=True)
    tokens = tokenizer()
    tokens.save(str(folder / "tokenizer.json"))
    config = {
        "model_type": "whisper",
        "d_model": WIDTH,
        "encoder_layers": LAYERS,
        "decoder_layers": LAYERS,
        "encoder_attention_heads": HEADS,
        "decoder_attention_heads": HEADS,
        "encoder_ffn_dim": FFN,
        "decoder_ffn_dim": FFN,
        "vocab_size": tokens.get_vocab_size(),
        "num_mel_bins": BANDS,
        "max_source_positions": 1500,
        "max_target_positions": 448,
    }
    rules = {
        "suppress_tokens": [tokens.token_to_id("<|startoftranscript|>")],
        "begin_suppress_tokens": [tokens.token_to_id("Ġ"), tokens.token_to_id("<|endoftext|>")],
        "alignment_heads": [[LAYERS - 1, 0], [LAYERS - 1, 1]],
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps(rules))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": BANDS}))
    write_safetensors(folder / "model.safetensors", made or weights(tokens))
    return folder


def write_safetensors(file: Path, made: Weights, prefix: str = "model.") -> None:
    """The file format, by hand: the header's length, the header, the numbers."""
    header, begin = {}, 0
    for name, numbers in made.items():
        end = begin + numbers.nbytes
        header[prefix + name] = {"dtype": "F32", "shape": numbers.shape, "data_offsets": [begin, end]}
        begin = end
    encoded = json.dumps(header).encode()
    with file.open("wb") as out:
        out.write(len(encoded).to_bytes(8, "little") + encoded)
        for numbers in made.values():
            out.write(numbers.tobytes())


def build_ctranslate2(folder: Path, made: Weights | None = None, quantization: str | None = None) -> Path:
    """The layout that CTranslate2 reads."""
    tokens = tokenizer()
    made = made or weights(tokens)
    spec = whisper_spec.WhisperSpec(LAYERS, HEADS, LAYERS, HEADS)

    def linear(target: object, *names: str) -> None:
        """Several projections are one for the library; keys have no bias, which is a bias of zero."""
        parts = [made[f"{name}.weight"] for name in names]
        biases = [
            made.get(f"{name}.bias", np.zeros(len(part), np.float32)) for name, part in zip(names, parts, strict=True)
        ]
        target.weight, target.bias = np.concatenate(parts), np.concatenate(biases)  # type: ignore[attr-defined]

    def norm(target: object, name: str) -> None:
        target.gamma, target.beta = made[f"{name}.weight"], made[f"{name}.bias"]  # type: ignore[attr-defined]

    for part, target in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        target.position_encodings.encodings = made[f"{part}.embed_positions.weight"]
        norm(target.layer_norm, f"{part}.layer_norm")
        for number, layer in enumerate(target.layer):
            name = f"{part}.layers.{number}"
            own = f"{name}.self_attn"
            norm(layer.self_attention.layer_norm, f"{own}_layer_norm")
            linear(layer.self_attention.linear[0], f"{own}.q_proj", f"{own}.k_proj", f"{own}.v_proj")
            linear(layer.self_attention.linear[1], f"{own}.out_proj")
            if part == "decoder":
                sound = f"{name}.encoder_attn"
                norm(layer.attention.layer_norm, f"{sound}_layer_norm")
                linear(layer.attention.linear[0], f"{sound}.q_proj")
                linear(layer.attention.linear[1], f"{sound}.k_proj", f"{sound}.v_proj")
                linear(layer.attention.linear[2], f"{sound}.out_proj")
            norm(layer.ffn.layer_norm, f"{name}.final_layer_norm")
            linear(layer.ffn.linear_0, f"{name}.fc1")
            linear(layer.ffn.linear_1, f"{name}.fc2")
    for number, conv in ((1, spec.encoder.conv1), (2, spec.encoder.conv2)):
        conv.weight, conv.bias = made[f"encoder.conv{number}.weight"], made[f"encoder.conv{number}.bias"]
    spec.decoder.embeddings.weight = made["decoder.embed_tokens.weight"]
    spec.decoder.projection.weight = spec.decoder.embeddings.weight
    start = tokens.token_to_id("<|startoftranscript|>")
    assert start is not None
    spec.config.suppress_ids = [start]
    spec.config.suppress_ids_begin = [tokens.token_to_id("Ġ"), tokens.token_to_id("<|endoftext|>")]
    spec.config.lang_ids = [start + 1 + number for number in range(len(LANGUAGES))]
    spec.config.alignment_heads = [(LAYERS - 1, 0), (LAYERS - 1, 1)]
    by_number = {number: name for name, number in tokens.get_vocab().items()}
    names = [by_number[number] for number in range(len(by_number))]
    # The library takes a model for multilingual by an empty token.
    names[TEXT_TOKENS - 1] = ""
    spec.register_vocabulary(names)
    spec.validate()
    spec.optimize(quantization=quantization)
    folder.mkdir(parents=True)
    spec.save(str(folder))
    tokens.save(str(folder / "tokenizer.json"))
    (folder / "preprocessor_config.json").write_text(json.dumps({"feature_size": BANDS}))
    return folder
