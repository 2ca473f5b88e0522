"""The velocity network of the papers' flow, over (T, H, W): 1×3×3 convolutions with FiLM, attention over time.

The flow pack enters as channels (component·D + slice) at every phase; the reference anatomy, coordinates and an image
of the constant τ are concatenated, the dynamics join the time embedding (COF v2, §3.4; LFDM's layout where v2 is
silent). Time is never down-sampled, so any number of phases works.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import nn

from COFGeneratorLib.errors import BundleError
from COFGeneratorLib.generator.networks.dynamics import ECG_SIZE, Dynamics, phase_features
from COFGeneratorLib.generator.networks.grid import MotionGrid
from COFGeneratorLib.generator.networks.mean_network import FilmBlock, plane_coordinates
from COFGeneratorLib.generator.networks.rea import ReferenceAnatomy
from COFGeneratorLib.registration.teacher_network import TeacherConfig

PACK_COMPONENTS = 4
"""v_k, v_j, v_i, confidence: channel = component·D + slice."""
PREDICTIONS = ("x0", "v", "noise", "rate")
ANATOMIES = ("image", "labels", "none")
ECG_ROUTES, TARGETS = ("time", "space"), ("motion", "frames")
ECG_CHANNELS, TAU_WAVES = 16, 4


@dataclass(frozen=True)
class FlowConfig:
    """Size and objective of the velocity network.

    Args:
        widths: Channels at full, half and quarter resolution.
        blocks: Residual blocks a level.
        heads: Attention heads over time.
        hidden: Width of the time embedding.
        prediction: ``"v"`` (x1 − x0, the paper's), ``"x0"`` (the clean pack), ``"noise"`` (the DDPM objective of
            COF-w/Diffusion) or ``"rate"`` (the motion's rate of change over the beat, given the motion so far: the
            physical time of COF v1, without noise and without attention between phases).
        anatomy: ``"image"``, features of the teacher's encoder on the anchor's image (REA, the paper's); ``"labels"``,
            the anatomy maps; or ``"none"``, "w/o REA": the channels stay, empty.
        rea_channels: Fused channels of each slice of the reference anatomy.
        rea_trained: Let the teacher's encoder learn on; it is frozen in the paper.
        teacher: The teacher whose encoder that is; a training sets that of its own teacher.
        ecg_size: Length of the ECG's embedding; a training sets that of its own encoder.
        ecg_route: ``"time"``, through the time embedding, or ``"space"``, as channels of the input alone, the same at
            all phases: "w/o temporal ECG".
        target: ``"motion"``, or ``"frames"``: the anatomy maps of every phase themselves, with no registration behind
            them and no warp after: "w/o TOPPR". A network of frames is for the ablation; it moves no anchor.
        any_anchor: Whether the network is told at which phase the anchor was taken; else it is that of the R wave.
    """

    widths: tuple[int, ...] = (48, 64, 96)
    blocks: int = 1
    heads: int = 4
    hidden: int = 128
    prediction: str = "v"
    anatomy: str = "image"
    rea_channels: int = 8
    rea_trained: bool = False
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    ecg_size: int = 128
    ecg_route: str = "time"
    target: str = "motion"
    any_anchor: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.teacher, Mapping):  # as a bundle states it
            object.__setattr__(self, "teacher", TeacherConfig(**self.teacher))
        for value, known in (
            (self.prediction, PREDICTIONS), (self.anatomy, ANATOMIES), (self.ecg_route, ECG_ROUTES),
            (self.target, TARGETS),
        ):  # fmt: skip
            if value not in known:
                raise BundleError(f"A velocity network has one of {', '.join(known)}; found {value!r}. Correct it.")
        if self.any_anchor and self.prediction == "rate":
            raise BundleError(
                "A flow over physical time begins at the R wave; found anchors of any phase. Leave one of them out."
            )

    @property
    def needs_image(self) -> bool:
        """Whether the network looks at the anchor's image."""
        return self.anatomy == "image"


class TimeAttention(nn.Module):
    """Self-attention along T at every pixel, with the phase embedding added: periodic, no order of frames."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.heads = nn.GroupNorm(8, width), heads
        self.clock = nn.Linear(hidden, width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
        batch, phases = clock.shape[:2]
        _, width, height, columns = x.shape
        tokens = self.norm(x).view(batch, phases, width, -1).permute(0, 3, 1, 2)  # (B, HW, T, C)
        tokens = tokens + self.clock(clock)[:, None]
        parts = self.qkv(tokens).view(batch, height * columns, phases, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(3, 0, 1, 4, 2, 5)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        mixed = mixed.transpose(2, 3).reshape(batch, height * columns, phases, width)
        return x + self.out(mixed).permute(0, 2, 3, 1).reshape(x.shape)


class VelocityUNet(nn.Module):
    """Predict v, or what the configuration says, of a noisy flow pack on a motion grid."""

    def __init__(self, grid: MotionGrid, config: FlowConfig | None = None) -> None:
        super().__init__()
        self.grid, self.config = grid, config or FlowConfig()
        depth, widths, hidden = grid.shape[0], self.config.widths, self.config.hidden
        self.register_buffer("coordinates", plane_coordinates(grid), persistent=False)
        if self.config.needs_image:
            self.reference = ReferenceAnatomy(
                grid, self.config.teacher, self.config.rea_channels, self.config.rea_trained
            )
        self.seen = 3 * depth if self.config.anatomy == "labels" else self.config.rea_channels * depth
        pack = PACK_COMPONENTS * depth
        inputs = pack + self.seen + len(self.coordinates) + 1
        if self.config.ecg_route == "space":
            self.ecg_image = nn.Linear(ECG_SIZE, ECG_CHANNELS)
            inputs += ECG_CHANNELS
        self.dynamics = Dynamics(self.config.ecg_size, hidden)
        self.tau = nn.Sequential(nn.Linear(2 * TAU_WAVES, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.stem = nn.Conv2d(inputs, widths[0], 3, padding=1)
        self.down, self.shrink, self.up, self.grow = (nn.ModuleList() for _ in range(4))
        for level, width in enumerate(widths):
            self.down.append(self._level(width, width, attend=level > 0))
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv2d(width, widths[level + 1], 3, stride=2, padding=1))
        for level in range(len(widths) - 2, -1, -1):
            self.grow.append(nn.Conv2d(widths[level + 1], widths[level], 1))
            self.up.append(self._level(2 * widths[level], widths[level], attend=level > 0))
        self.out = nn.Conv2d(widths[0], pack, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        if self.config.any_anchor:
            self.anchor = nn.Linear(phase_features(torch.zeros(1)).shape[-1], hidden, bias=False)
            nn.init.zeros_(self.anchor.weight)

    def _level(self, inputs: int, width: int, attend: bool) -> nn.ModuleList:
        hidden = self.config.hidden
        blocks = [FilmBlock(inputs, width, hidden)]
        blocks += [FilmBlock(width, width, hidden) for _ in range(self.config.blocks - 1)]
        if attend and self.config.prediction != "rate":
            blocks.append(TimeAttention(width, self.config.heads, hidden))
        return nn.ModuleList(blocks)

    @staticmethod
    def _run(chain: nn.ModuleList, x: torch.Tensor, film: torch.Tensor, clock: torch.Tensor) -> torch.Tensor:
        for block in chain:
            x = block(x, clock) if isinstance(block, TimeAttention) else block(x, film)
        return x

    def anatomy(self, maps: torch.Tensor, image: torch.Tensor | None) -> torch.Tensor:
        """Return what the network sees of the anchor, (B, C, H, W): the same for all phases and all τ.

        Args:
            maps: (B, 3, D, H, W) anatomy maps.
            image: (B, D, h, w) as ``rea.reference_image`` makes it, where ``config.needs_image``.

        Raises:
            BundleError: If the image is missing.
        """
        if self.config.anatomy == "labels":
            return maps.flatten(1, 2)
        if self.config.anatomy == "none":
            return maps.new_zeros(len(maps), self.seen, *maps.shape[3:])
        if image is None:
            raise BundleError(
                "This model looks at the anchor's image; found labels alone. Prepare the anchor with its image."
            )
        return self.reference(image)

    def forward(
        self,
        pack: torch.Tensor,
        tau: torch.Tensor,
        maps: torch.Tensor,
        condition: torch.Tensor,
        phases: torch.Tensor,
        *,
        image: torch.Tensor | None = None,
        anatomy: torch.Tensor | None = None,
        anchor: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return the prediction, (B, T, C, H, W).

        Args:
            pack: (B, T, C, H, W) noisy pack x_τ, C = PACK_COMPONENTS·D.
            tau: (B,) 0 (data) … 1 (noise).
            maps: (B, 3, D, H, W) anatomy maps.
            condition: (B, ecg_size + 1), see ``dynamics.embedding_condition``.
            phases: (T,) phases 0…1.
            image: (B, D, h, w) the anchor's image, where ``config.needs_image`` and ``anatomy`` is not given.
            anatomy: What ``anatomy`` gives, where known: it need not be found anew at every step of a sampler.
            anchor: (B,) phases at which the anchor was taken, where ``config.any_anchor``; the R wave where None.
        """
        batch, count, _, height, width = pack.shape
        still = [self.anatomy(maps, image) if anatomy is None else anatomy]
        still += [self.coordinates.expand(batch, -1, -1, -1), tau.view(batch, 1, 1, 1).expand(-1, 1, height, width)]
        ecg = self.dynamics.ecg(condition)
        if self.config.ecg_route == "space":
            still.append(self.ecg_image(ecg)[:, :, None, None].expand(-1, -1, height, width))
            ecg = torch.zeros_like(ecg)
        scales = 2.0 ** torch.arange(TAU_WAVES, device=tau.device, dtype=tau.dtype) * torch.pi / 2
        waves = torch.cat([torch.sin(tau[:, None] * scales), torch.cos(tau[:, None] * scales)], dim=1)
        dynamics, told = self.dynamics(ecg, phases), self.tau(waves)
        if anchor is not None:
            told = told + self.anchor(phase_features(anchor) - phase_features(torch.zeros_like(anchor)))
        film = nn.functional.silu(told[:, None] + dynamics).flatten(0, 1)

        parts = [pack, torch.cat(still, dim=1)[:, None].expand(-1, count, -1, -1, -1)]
        x, skips = self.stem(torch.cat(parts, dim=2).flatten(0, 1)), []
        for level, chain in enumerate(self.down):
            x = self._run(chain, x, film, dynamics)
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
        for grow, chain in zip(self.grow, self.up, strict=True):
            x = torch.cat([nn.functional.interpolate(grow(x), scale_factor=2.0, mode="nearest"), skips.pop()], dim=1)
            x = self._run(chain, x, film, dynamics)
        return self.out(nn.functional.silu(x)).view(pack.shape)
