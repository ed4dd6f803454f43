"""Our networks and formulas, asked the same."""

from __future__ import annotations

from dataclasses import fields

import torch
from torch import Tensor

from services.render.engines.liveportrait.keypoints import Motion, edited, eye_ratios, lip_ratio, relative
from services.render.engines.liveportrait.pipeline import Drive, Pipeline, Source
from services.render.engines.liveportrait.retargeting import retarget
from tools.liveportrait_parity.probe import Probe


def answers(pipeline: Pipeline, probe: Probe, given: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Every quantity that is compared, of both portraits in one batch: (2, ...).

    Args:
        given: the official answers: then each network gets what the official one got. `x_d` and `frame` never do:
            they come from the portraits.
    """
    networks, device = pipeline.networks, pipeline.device
    landmarks = torch.from_numpy(probe.landmarks)
    source = pipeline.prepare(probe.portraits_rgb, eye_ratios(landmarks), lip_ratio(landmarks))
    drive = _drive(pipeline, probe, source)
    x_d = pipeline.driven(source, drive)
    answers = {f"M {name}": value for name, value in networks.motion.detector(_pixels(pipeline, probe)).items()}
    answers |= {
        "F volume": source.volume,
        "degrees": torch.stack([source.face.pitch, source.face.yaw, source.face.roll], dim=1),
        "rotation": source.face.motion.rotation,
        "x_s": source.x_s,
        "x_d": x_d,
        "frame": pipeline.draw(source, x_d),
    }
    told = answers if given is None else given
    wanted_eyes = torch.full((2, 1), probe.eye_ratio, device=device)
    wanted_lip = torch.tensor([[probe.lip_ratio], [0.0]], device=device)
    answers["eye shift"] = retarget(networks.eye, told["x_s"], torch.cat([source.eye_ratios, wanted_eyes], dim=1))
    answers["lip shift"] = retarget(networks.lip, told["x_s"], torch.cat([source.lip_ratio, wanted_lip], dim=1))
    warped = networks.warping(told["F volume"], told["x_s"], told["x_d"])
    answers |= {"W out": warped.out, "W occlusion": warped.occlusion, "W deformation": warped.deformation}
    answers["G image"] = networks.generator(told.get("W out", warped.out))
    return answers


def alone(pipeline: Pipeline, probe: Probe) -> Tensor:
    """The frame of the second portrait, drawn without the first. Returns: shape (1, 3, edge, edge)."""
    landmarks = torch.from_numpy(probe.landmarks)
    one = slice(1, 2)
    source = pipeline.prepare(probe.portraits_rgb[one], eye_ratios(landmarks)[one], lip_ratio(landmarks)[one])
    return pipeline.frames(source, Drive(_by_video(pipeline, probe, source)))


def _pixels(pipeline: Pipeline, probe: Probe) -> Tensor:
    return pipeline.pixels(probe.portraits_rgb)


def _drive(pipeline: Pipeline, probe: Probe, source: Source) -> Drive:
    exp = torch.from_numpy(probe.exp).to(pipeline.device)
    by_parameters = edited(source.face, exp=exp, pitch=probe.pitch, yaw=probe.yaw, roll=probe.roll, scale=probe.scale)
    by_video = _by_video(pipeline, probe, source)
    rows = {
        field.name: torch.stack([getattr(by_parameters, field.name)[0], getattr(by_video, field.name)[-1]])
        for field in fields(Motion)
    }
    # The second row's are left as the video has them.
    eye, lip = (
        torch.tensor([[wanted], [torch.nan]], device=pipeline.device) for wanted in (probe.eye_ratio, probe.lip_ratio)
    )
    return Drive(Motion(**rows), eye_ratio=eye, lip_ratio=lip)


def _by_video(pipeline: Pipeline, probe: Probe, source: Source) -> Motion:
    motion = pipeline.read(probe.driving_rgb).motion
    first, now = (Motion(*(getattr(motion, field.name)[row : row + 1] for field in fields(Motion))) for row in (0, 1))
    return relative(source.face.motion, now, first)
