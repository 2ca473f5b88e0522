"""From tissues to MR images, in batches on any device: signal, texture, flow, coil, artefacts, noise.

Every number is drawn from the generator handed in, so that an image is a function of tissues, contrast and seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from COFTrainingLib.phantom.contrast import Contrast, draw_contrast
from COFTrainingLib.phantom.tissues import BLOOD, FAT, TISSUE_COUNT, Tissue

OPPOSED = {"bssfp": 0.7, "gre": 0.3, "random": 0.4}
"""Share of the scans of each kind of contrast in which fat and water are in opposed phase."""


@dataclass(frozen=True)
class Acquisition:
    """What one scan does to the signal; lengths in mm, shares of the LV blood's or the brighter signal.

    Args:
        contrast: Signal by tissue.
        blur_mm: Standard deviation of the in-plane point spread.
        ringing: Share of the image's k-space radius kept, 1 for all (truncation gives Gibbs ringing).
        coil: (10,) coefficients of the log-quadratic sensitivity of the receive coil.
        coil_ripple: Standard deviation of smooth sensitivity variations.
        noise: Standard deviation of the complex noise.
        flow: Strength of the flow variations inside blood.
        flow_void: Strength of dark spots in blood.
        ghost: Strength of the displaced copy; ``ghost_shift`` its displacement as a share of the field of view.
        bands: Strength of the off-resonance bands; ``band_cycles`` how many cross the field of view.
        slice_gain: Standard deviation of the gain between slices.
        inflow: Log gain of blood at one end of the stack, its negative at the other: fresh spins flow in from one side.
        clutter: Share of the body replaced by random shapes of random signal.
        opposed: Whether fat and water are in opposed phase, as in balanced SSFP at usual repetition times: voxels that
            hold both lose signal, which draws a black line around every fat ("India ink").
    """

    contrast: Contrast
    blur_mm: float
    ringing: float
    coil: np.ndarray
    coil_ripple: float
    noise: float
    flow: float
    flow_void: float
    ghost: float
    ghost_shift: float
    bands: float
    band_cycles: float
    slice_gain: float
    inflow: float
    clutter: float
    opposed: bool = False


def draw_acquisition(rng: np.random.Generator, kind: str | None = None, clean: bool = False) -> Acquisition:
    """Draw one scan; ``clean`` switches the rarer artefacts off (for pictures and gentle tests)."""
    often = 0.0 if clean else 1.0

    def sometimes(share: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high) * often) if rng.random() < share else 0.0

    own = rng.spawn(1)[0]  # so that all other draws stay as they were
    coil = rng.normal(0.0, 1.0, 10) * np.array([0] + [0.45] * 3 + [0.25] * 6) * rng.uniform(0.0, 1.2)
    contrast = draw_contrast(rng, kind)
    return Acquisition(
        contrast=contrast,
        blur_mm=float(rng.uniform(0.3, 1.3)),
        ringing=float(rng.uniform(0.45, 0.95)) if rng.random() < 0.4 * often else 1.0,
        coil=coil * (0.5 if clean else 1.0),
        coil_ripple=float(rng.uniform(0.0, 0.15)),
        noise=float(rng.uniform(0.005, 0.05 if rng.random() < 0.8 else 0.12)),
        flow=float(rng.uniform(0.0, 0.16)),
        flow_void=sometimes(0.3, 0.2, 0.9),
        ghost=sometimes(0.25, 0.02, 0.15),
        ghost_shift=float(rng.uniform(0.1, 0.5)),
        bands=sometimes(0.25, 0.3, 0.95),
        band_cycles=float(rng.uniform(0.5, 3.0)),
        slice_gain=float(rng.uniform(0.0, 0.08 if rng.random() < 0.7 else 0.3 * often + 0.08)),
        inflow=float(rng.normal(0.0, 0.6 * often)) if rng.random() < 0.5 else 0.0,
        clutter=sometimes(0.2, 0.2, 0.9),
        opposed=not clean and bool(own.random() < OPPOSED[contrast.kind]),
    )


def smooth_noise(generator: torch.Generator, shape: tuple[int, ...], cells: tuple[int, ...]) -> torch.Tensor:
    """Return smooth noise of unit variance on (D, H, W), made on a lattice of ``cells`` and interpolated."""
    lattice = torch.randn((1, 1, *cells), generator=generator, device=generator.device)
    field = functional.interpolate(lattice, size=shape, mode="trilinear", align_corners=True)[0, 0]
    return field / field.std().clamp_min(1e-3)


def form_images(
    tissues: torch.Tensor, acquisition: Acquisition, spacing_mm: float, generator: torch.Generator
) -> torch.Tensor:
    """Return the images of one stack.

    Args:
        tissues: (D, S, H, W) uint8 codes, S samples through the slice's thickness.
        acquisition: What the scan does.
        spacing_mm: Pixel size.
        generator: Source of randomness on the tissues' device.

    Returns:
        (D, H, W) float32 magnitude, LV blood about 1 where the coil's sensitivity is 1.
    """
    depth, _, height, width = tissues.shape
    shape, index = (depth, height, width), tissues.long()
    mean, texture = _table(acquisition.contrast.mean, tissues), _table(acquisition.contrast.texture, tissues)
    if acquisition.clutter:
        index, mean, texture = _with_clutter(index, mean, texture, acquisition.clutter, generator)
    if acquisition.opposed:
        mean = mean.index_copy(0, _table(FAT, tissues).long(), -mean[list(FAT)])
    signal, rough = mean[index].mean(dim=1), texture[index].mean(dim=1)  # (D, H, W): partial volume through the slab
    extent_mm = max(height, width) * spacing_mm
    coarse = max(int(extent_mm / 9.0), 2)
    pattern = 0.6 * smooth_noise(generator, shape, (depth, coarse, coarse))
    pattern = pattern + 0.6 * torch.randn(shape, generator=generator, device=tissues.device)
    signal = signal.sign() * (signal.abs() + rough * pattern).clamp_min(0.0)
    signal = signal * _flow(index, shape, acquisition, generator, extent_mm)
    if acquisition.ghost:
        shift = int(acquisition.ghost_shift * height)
        signal = signal + acquisition.ghost * signal.roll(shift, dims=1)
    signal = signal * _sensitivity(shape, acquisition, generator)
    if acquisition.bands:
        signal = signal * _bands(shape, acquisition, generator)
    signal = _blur(signal, acquisition.blur_mm / spacing_mm)
    if acquisition.ringing < 1.0:
        signal = _truncate(signal, acquisition.ringing)
    noise = torch.randn((2, *shape), generator=generator, device=tissues.device) * acquisition.noise
    return ((signal + noise[0]) ** 2 + noise[1] ** 2).sqrt()


def _table(values: np.ndarray | Sequence[int], like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=like.device)


def _with_clutter(
    index: torch.Tensor, mean: torch.Tensor, texture: torch.Tensor, share: float, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Replace part of the body by random shapes: what lies around a heart must not matter."""
    count, device = 12, index.device
    depth, _, height, width = index.shape
    shape = (depth, height, width)
    fields = torch.stack([smooth_noise(generator, shape, (3, 7, 7)) for _ in range(5)])
    codes = TISSUE_COUNT + (fields.argmax(dim=0) + 5 * (fields[0] > 0.3).long()).clamp_max(count - 1)
    body = torch.ones(TISSUE_COUNT, dtype=torch.bool, device=device)
    body[: Tissue.CORONARY + 1] = False
    body[[Tissue.AIR, Tissue.LUNG]] = True
    where = smooth_noise(generator, shape, (2, 4, 4)) < 2.0 * share - 1.0
    index = torch.where(body[index] & where[:, None], codes[:, None], index)
    random = torch.rand((2, count), generator=generator, device=device)
    return index, torch.cat([mean, 1.2 * random[0]]), torch.cat([texture, 0.12 * random[1]])


def _flow(
    index: torch.Tensor,
    shape: tuple[int, int, int],
    acquisition: Acquisition,
    generator: torch.Generator,
    extent_mm: float,
) -> torch.Tensor:
    """Return the gain of flowing blood: swirls, inflow that changes along the stack, dark spots."""
    blood = torch.zeros(int(index.max()) + 1, device=index.device)
    blood[[code for code in BLOOD if code < len(blood)]] = 1.0
    share = blood[index].mean(dim=1)
    swirls = max(int(extent_mm / 16.0), 2)
    gain = acquisition.flow * smooth_noise(generator, shape, (shape[0], swirls, swirls))
    gain = gain + 1.2 * acquisition.flow * smooth_noise(generator, shape, (3, 2, 2))
    if acquisition.flow_void:
        spots = smooth_noise(generator, shape, (shape[0], swirls, swirls))
        gain = gain - acquisition.flow_void * torch.sigmoid(6.0 * (spots - 1.9))
    along = torch.linspace(-1, 1, shape[0], device=index.device)[:, None, None]
    return (1.0 + share * gain).clamp_min(0.05) * (share * acquisition.inflow * along).exp()


def _sensitivity(shape: tuple[int, int, int], acquisition: Acquisition, generator: torch.Generator) -> torch.Tensor:
    """Return the receive sensitivity: exp of a quadratic in space, smooth ripple, gain of each slice."""
    axes = [torch.linspace(-1, 1, n, device=generator.device) for n in shape]
    k, j, i = torch.meshgrid(*axes, indexing="ij")
    terms = (torch.ones_like(k), k, j, i, k * k, j * j, i * i, k * j, k * i, j * i)
    log = sum(float(c) * term for c, term in zip(acquisition.coil, terms, strict=True))
    log = log + acquisition.coil_ripple * smooth_noise(generator, shape, (2, 5, 5))
    gain = torch.randn((shape[0], 1, 1), generator=generator, device=generator.device) * acquisition.slice_gain
    return (log + gain).clamp(-2.5, 2.0).exp()


def _bands(shape: tuple[int, int, int], acquisition: Acquisition, generator: torch.Generator) -> torch.Tensor:
    """Return the loss in off-resonance bands: zeros of |cos| of a smooth phase."""
    axes = [torch.linspace(-1, 1, n, device=generator.device) for n in shape]
    _, j, i = torch.meshgrid(*axes, indexing="ij")
    angle, start = torch.rand(2, generator=generator, device=generator.device) * 2 * torch.pi
    phase = acquisition.band_cycles * torch.pi * (j * angle.sin() + i * angle.cos()) + start
    phase = phase + 0.8 * smooth_noise(generator, shape, (2, 4, 4))
    return 1.0 - acquisition.bands * torch.exp(-((phase.cos() / 0.18) ** 2))


def _blur(signal: torch.Tensor, sigma_pixels: float) -> torch.Tensor:
    if sigma_pixels < 0.15:
        return signal
    reach = max(int(3 * sigma_pixels + 0.5), 1)
    x = torch.arange(-reach, reach + 1, device=signal.device, dtype=signal.dtype)
    kernel = torch.exp(-(x**2) / (2 * sigma_pixels**2))
    kernel = kernel / kernel.sum()
    out = functional.pad(signal[:, None], (reach, reach, reach, reach), mode="replicate")
    out = functional.conv2d(out, kernel[None, None, None, :])
    return functional.conv2d(out, kernel[None, None, :, None])[:, 0]


def _truncate(signal: torch.Tensor, kept: float) -> torch.Tensor:
    """Cut the outer k-space off, as a coarser acquisition matrix does."""
    spectrum = torch.fft.rfft2(signal)
    rows = torch.fft.fftfreq(signal.shape[1], device=signal.device).abs()[:, None] * 2
    columns = torch.fft.rfftfreq(signal.shape[2], device=signal.device).abs()[None, :] * 2
    return torch.fft.irfft2(spectrum * ((rows <= kept) & (columns <= kept)), s=signal.shape[1:])
