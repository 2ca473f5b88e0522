"""A small beating ring with known motion, as the generator would hand it over."""

import numpy as np
from COFGeneratorLib.anatomy.stack import SaxStack
from COFGeneratorLib.cine import Cine
from COFGeneratorLib.ecg.cycle import BEAT_SAMPLES, EcgCycle
from COFGeneratorLib.ecg.record import EcgRecord
from COFGeneratorLib.function import measure_function
from scipy import ndimage


def oblique_geometry(spacing_kji=(8.0, 1.5, 1.25), left_handed=False, origin=(12.0, -34.0, 56.0)) -> np.ndarray:
    """Return an oblique ijk → RAS matrix, mm."""
    angles = np.deg2rad((25.0, -40.0, 15.0))
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        first, second = [other for other in range(3) if other != axis]
        step = np.eye(3)
        step[first, first] = step[second, second] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turn = turn @ step
    if left_handed:
        turn[:, 2] *= -1.0
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array(spacing_kji[::-1])
    matrix[:3, 3] = origin
    return matrix


class RingMotion:
    """Pull displacement of a ring that thickens inwards and shortens, smooth and zero far away and at frame 0."""

    def __init__(self, shape, spacing_kji, n_frames, amplitude_mm=6.0):
        depth, height, width = shape
        k, j, i = np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij")
        y, x = (j - (height - 1) / 2) * spacing_kji[1], (i - (width - 1) / 2) * spacing_kji[2]
        radius = np.hypot(y, x)
        reach = np.exp(-((radius - 16.0) ** 2) / (2 * 7.0**2)) * np.clip((45.0 - radius) / 10.0, 0.0, 1.0)
        unit = 1.0 / np.maximum(radius, 1.0)
        base_to_apex = k / max(depth - 1, 1)
        radial = amplitude_mm * reach * unit
        self.field = np.stack([-0.6 * amplitude_mm * (1 - base_to_apex) * reach, radial * y, radial * x])
        self.scale = np.sin(np.pi * np.arange(n_frames) / n_frames) ** 2

    def displacement_mm(self, frame: int) -> np.ndarray:
        return (self.field * self.scale[frame]).astype(np.float32)


def make_cine(
    shape=(6, 40, 44), n_frames=8, rr_ms=900.0, ijk_to_ras=None, with_labels=True, integer=True, amplitude_mm=6.0
) -> Cine:
    """Return a cine of a ring-shaped heart; ``frames[t](x) = anchor(x + u_t(x))`` with linear interpolation."""
    matrix = oblique_geometry() if ijk_to_ras is None else ijk_to_ras
    rng = np.random.default_rng(7)
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)[::-1]
    _, height, width = shape
    k, j, i = np.meshgrid(*(np.arange(n, dtype=float) for n in shape), indexing="ij")
    y, x = (j - (height - 1) / 2) * spacing[1], (i - (width - 1) / 2) * spacing[2]
    radius = np.hypot(y, x)
    labels = np.where(radius < 13.0, 1, np.where(radius < 20.0, 2, 0)).astype(np.uint8)
    labels[(np.hypot(y, x + 27.0) < 9.0) & (labels == 0)] = 3
    texture = ndimage.gaussian_filter(rng.normal(size=shape), (0.5, 2.0, 2.0)) * 200.0
    voxels = np.array([120.0, 700.0, 250.0, 650.0])[labels] + texture
    voxels = np.clip(ndimage.gaussian_filter(voxels, (0.0, 0.8, 0.8)), 0.0, None)
    anchor = SaxStack(np.rint(voxels) if integer else voxels / 700.0, matrix)

    motion = RingMotion(shape, spacing, n_frames, amplitude_mm)
    grid = np.stack([k, j, i])
    frames, moved = [], []
    for frame in range(n_frames):
        where = grid + motion.displacement_mm(frame) / spacing[:, None, None, None]
        frames.append(ndimage.map_coordinates(anchor.voxels, where, order=1, mode="nearest"))
        moved.append(ndimage.map_coordinates(labels, where, order=0, mode="nearest"))
    time_ms = np.arange(n_frames) * rr_ms / n_frames
    label_frames = np.stack(moved) if with_labels else None
    function = None
    if with_labels:
        function = measure_function(
            label_frames, matrix, time_ms, rr_ms, 60000.0 / rr_ms, labels_from="user", folded_fraction=0.0
        )
    record, cycle = make_ecg(rr_ms)
    return Cine(
        frames=np.stack(frames).astype(np.float32),
        time_ms=time_ms,
        rr_ms=rr_ms,
        anchor=anchor,
        motion=motion,
        labels=label_frames,
        labels_from="user" if with_labels else "none",
        function=function,
        record=record,
        cycle=cycle,
        provenance={
            "version": "0.1.0",
            "bundle_id": "test-bundle",
            "weights_sha256": "ab" * 32,
            "seed": 3,
            "warnings": ["a warning\nin two lines"],
        },
    )


def make_ecg(rr_ms: float) -> tuple[EcgRecord, EcgCycle]:
    """Return 4 s of narrow pulses at 500 Hz and their cycle."""
    fs_hz = 500.0
    time_ms = np.arange(2000) * 1000.0 / fs_hz
    peaks_ms = np.arange(200.0, 3900.0, rr_ms)
    pulses = sum(np.exp(-((time_ms - peak) ** 2) / (2 * 12.0**2)) for peak in peaks_ms)
    record = EcgRecord(np.outer(np.linspace(0.2, 1.3, 12), pulses), fs_hz)
    cycle = EcgCycle(
        cycle_mv=record.signal_mv[:, 100 : 100 + int(rr_ms / 2)],
        beat_mv=np.zeros((12, BEAT_SAMPLES)),
        fs_hz=fs_hz,
        r_peaks_s=peaks_ms / 1000.0,
        accepted=np.ones(len(peaks_ms), bool),
        representative=0,
        rr_ms=rr_ms,
        p_onset_ms=-160.0,
        qrs_onset_ms=-40.0,
        qrs_offset_ms=50.0,
        t_peak_ms=280.0,
        t_end_ms=340.0,
        axis_deg=45.0,
        sokolow_mv=2.0,
        cornell_mv=1.0,
        p_wave_present=True,
        rr_cv=0.0,
        quality=1.0,
        t_end_source="delineated",
    )
    return record, cycle
