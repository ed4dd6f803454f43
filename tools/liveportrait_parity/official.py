"""The official networks and formulas, run from a checkout of https://github.com/KwaiVGI/LivePortrait."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import io
import sys
import tempfile
import types
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from services.render.engines.liveportrait.checkpoint import FILES
from services.render.engines.liveportrait.config import LivePortraitConfig
from tools.liveportrait_parity.probe import Probe

# The official setting for each network's file.
_SETTINGS = {"appearance": "F", "motion": "M", "warping": "W", "generator": "G", "stitching": "S"}
_SIZED_BACKBONE = "convnextv2_sized"


def check_checkout(folder: Path) -> None:
    """Raises: FileNotFoundError if a folder is no checkout of the official code."""
    if not (folder / "src" / "live_portrait_wrapper.py").is_file():
        raise FileNotFoundError(f"{folder} is no checkout of LivePortrait: src/live_portrait_wrapper.py is missing")


class Official:
    """The official code with weights from a folder, in float32."""

    def __init__(self, checkout: Path, weights: Path, config: LivePortraitConfig, device: str) -> None:
        """Load it.

        Args:
            checkout: passed `check_checkout`.
            weights: what the official code calls `pretrained_weights`.
            config: the sizes of those weights.
            device: cpu or cuda.
        Raises: FileNotFoundError if the checkout is none.
        """
        if not (checkout / "src" / "live_portrait_wrapper.py").is_file():
            raise FileNotFoundError(
                f"{checkout} is no checkout of LivePortrait: src/live_portrait_wrapper.py is missing"
            )
        # It reports each file that it loads on standard output, which is ours.
        with contextlib.redirect_stdout(io.StringIO()):
            self.wrapper = _load(checkout.resolve(), weights, config, device)
        self.camera: Any = importlib.import_module("src.utils.camera")
        self.networks: dict[str, torch.nn.Module] = {
            "appearance": self.wrapper.appearance_feature_extractor,
            "motion": self.wrapper.motion_extractor,
            "warping": self.wrapper.warping_module,
            "generator": self.wrapper.spade_generator,
            **self.wrapper.stitching_retargeting_module,
        }

    @torch.no_grad()
    def answers(self, probe: Probe) -> dict[str, Tensor]:
        """Every quantity that is compared, portrait by portrait, stacked: (2, ...). Names as in `ours.answers`."""
        with _recorded(self.networks) as recorded:
            rows = [self._by_parameters(probe), self._by_video(probe)]
        answers = {name: torch.cat([row[name] for row in rows]) for name in rows[0]}
        raw = [output for output in recorded["motion"] if "kp" in output]
        answers |= {f"M {name}": torch.cat([output[name] for output in raw[:2]]) for name in raw[0]}
        answers["W out"], answers["W occlusion"], answers["W deformation"] = (
            torch.cat([output[key] for output in recorded["warping"]])
            for key in ("out", "occlusion_map", "deformation")
        )
        return answers

    def _portrait(self, probe: Probe, index: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        pixels = self.wrapper.prepare_source(probe.portraits_rgb[index])
        info: dict[str, Tensor] = self.wrapper.get_kp_info(pixels)
        rotation = self.camera.get_rotation_matrix(info["pitch"], info["yaw"], info["roll"])
        measured = {
            "F volume": self.wrapper.extract_feature_3d(pixels),
            "degrees": torch.cat([info["pitch"], info["yaw"], info["roll"]], dim=1),
            "rotation": rotation,
            "x_s": self.wrapper.transform_keypoint(info),
        }
        return info, measured

    def _drawn(self, row: dict[str, Tensor], driven: Tensor) -> dict[str, Tensor]:
        frame = self.wrapper.warp_decode(row["F volume"], row["x_s"], driven)["out"]
        return row | {"x_d": driven, "G image": frame, "frame": frame}

    def _by_parameters(self, probe: Probe) -> dict[str, Tensor]:
        """As the app's sliders do: pose and expression, then eyes and lip, then stitching."""
        info, row = self._portrait(probe, 0)
        angles = (info["pitch"] + probe.pitch, info["yaw"] + probe.yaw, info["roll"] + probe.roll)
        exp = info["exp"] + torch.from_numpy(probe.exp).to(info["exp"])
        info = info | dict(zip(("pitch", "yaw", "roll"), angles, strict=True)) | {"exp": exp}
        info["scale"] = info["scale"] * probe.scale
        x_s, landmarks = row["x_s"], probe.landmarks[0]
        eyes = self.wrapper.calc_combined_eye_ratio([[probe.eye_ratio]], landmarks)
        lip = self.wrapper.calc_combined_lip_ratio([probe.lip_ratio], landmarks)
        row["eye shift"] = self.wrapper.retarget_eye(x_s, eyes)
        row["lip shift"] = self.wrapper.retarget_lip(x_s, lip)
        x_d = self.wrapper.transform_keypoint(info) + row["eye shift"] + row["lip shift"]
        return self._drawn(row, self.wrapper.stitching(x_s, x_d))

    def _by_video(self, probe: Probe) -> dict[str, Tensor]:
        """As a driving video does: what changed since its first picture, stitching, and lips that start closed."""
        source, row = self._portrait(probe, 1)
        first, now = (self.wrapper.get_kp_info(self.wrapper.prepare_source(image)) for image in probe.driving_rgb)
        rotation, rotation_first = (
            self.camera.get_rotation_matrix(info["pitch"], info["yaw"], info["roll"]) for info in (now, first)
        )
        turned = rotation @ rotation_first.transpose(1, 2) @ row["rotation"]
        exp = source["exp"] + now["exp"] - first["exp"]
        shift = source["t"] + now["t"] - first["t"]
        shift[:, 2] = 0.0
        x_d = source["scale"] * now["scale"] / first["scale"] * (source["kp"] @ turned + exp) + shift
        x_s, landmarks = row["x_s"], probe.landmarks[1]
        row["eye shift"] = self.wrapper.retarget_eye(
            x_s, self.wrapper.calc_combined_eye_ratio([[probe.eye_ratio]], landmarks)
        )
        row["lip shift"] = self.wrapper.retarget_lip(x_s, self.wrapper.calc_combined_lip_ratio([0.0], landmarks))
        return self._drawn(row, self.wrapper.stitching(x_s, x_d) + row["lip shift"])


@contextlib.contextmanager
def _recorded(networks: dict[str, torch.nn.Module]) -> Any:
    """The outputs of networks that answer with several tensors, as they are when they are made."""
    recorded: dict[str, list[dict[str, Tensor]]] = {name: [] for name in ("motion", "warping")}

    def keep(name: str, _module: object, _inputs: object, output: dict[str, Tensor]) -> None:
        recorded[name].append({key: value.clone() for key, value in output.items()})

    hooks = [networks[name].register_forward_hook(partial(keep, name)) for name in recorded]
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


def _load(checkout: Path, weights: Path, config: LivePortraitConfig, device: str) -> Any:
    if str(checkout) not in sys.path:
        sys.path.insert(0, str(checkout))
    if "scipy" not in sys.modules and importlib.util.find_spec("scipy") is None:
        # One of its helpers imports a convex hull, which nothing here calls.
        spatial = types.ModuleType("scipy.spatial")
        spatial.ConvexHull = None  # type: ignore[attr-defined]
        sys.modules |= {"scipy": types.ModuleType("scipy"), "scipy.spatial": spatial}
    settings: Any = importlib.import_module("src.config.inference_config")
    wrapper: Any = importlib.import_module("src.live_portrait_wrapper")
    backbones: Any = importlib.import_module("src.modules.convnextv2")
    motion: Any = importlib.import_module("src.modules.motion_extractor")
    sized = partial(backbones.ConvNeXtV2, depths=list(config.motion.depths), dims=list(config.motion.dims))
    motion.model_dict[_SIZED_BACKBONE] = sized
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch) / "models.yaml"
        models.write_text(yaml.safe_dump({"model_params": parameters_of(config)}))
        return wrapper.LivePortraitWrapper(
            settings.InferenceConfig(
                models_config=str(models),
                flag_use_half_precision=False,
                flag_force_cpu=device == "cpu",
                input_shape=(config.image_size, config.image_size),
                **{f"checkpoint_{letter}": str(weights / FILES[name][0]) for name, letter in _SETTINGS.items()},
            )
        )


def parameters_of(config: LivePortraitConfig) -> dict[str, dict[str, Any]]:
    """The sizes, as the official models.yaml has them."""
    generator = {name: value for name, value in asdict(config.generator).items() if name != "spade_hidden"}
    warping = asdict(config.warping)
    return {
        "appearance_feature_extractor_params": {"image_channel": 3, **asdict(config.appearance)},
        "motion_extractor_params": {"num_kp": config.motion.num_kp, "backbone": _SIZED_BACKBONE},
        "warping_module_params": {
            **{name: value for name, value in warping.items() if name != "dense_motion"},
            "estimate_occlusion_map": True,
            "dense_motion_params": warping["dense_motion"],
        },
        "spade_generator_params": {"upscale": 2, **generator},
        "stitching_retargeting_module_params": {
            name: {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(mlp).items()}
            for name, mlp in (("stitching", config.stitching), ("eye", config.eye), ("lip", config.lip))
        },
    }
