"""The body around the heart in the patient's own axes: chest wall, lungs, mediastinum, spine and upper abdomen.

Nothing here moves and nothing is measured from it. It is what a segmenter must learn not to take for a heart.
Coordinates are RAS mm from the heart's origin: x to the patient's right, y to the front, z to the head.
"""

import numpy as np

from COFTrainingLib.phantom.noise import Blobs, NoiseField
from COFTrainingLib.phantom.tissues import Tissue


class Thorax:
    """One drawn body.

    Args:
        rng: Source of randomness.
        heart_points: (n, 3) points on the heart's outer surface, in the coordinates of this module; the body is fitted
            around them.
        inferior: (3,) unit vector from the heart towards the diaphragm, same coordinates.
    """

    def __init__(self, rng: np.random.Generator, heart_points: np.ndarray, inferior: np.ndarray) -> None:
        self.half_width = rng.uniform(112, 150)
        self.half_depth = rng.uniform(72, 105)
        self.exponent = rng.uniform(2.0, 2.8)
        self.midline = rng.uniform(12, 36)
        self.spine_depth = rng.uniform(0.78, 0.95)
        self.middle = self._fit_depth(heart_points, rng.uniform(0.88, 0.99))
        self.muscle_mm = rng.uniform(9, 22)
        self.fat_mm = rng.choice([rng.uniform(2, 10), rng.uniform(8, 25), rng.uniform(20, 45)])
        self.rib_pitch, self.rib_slope, self.rib_phase = rng.uniform(24, 34), rng.uniform(0.2, 0.6), rng.uniform(0, 30)
        self.rib_width = rng.uniform(0.3, 0.5)
        self.relief = NoiseField(rng, 60.0)
        self.fine_relief = NoiseField(rng, 14.0)
        down = inferior + np.array([0.0, 0.0, -rng.uniform(0.2, 1.2)])
        self.down = down / np.linalg.norm(down)
        self.diaphragm = float((heart_points @ self.down).max() + rng.uniform(-6, 8))
        self.dome = rng.uniform(0.0, 0.004)
        self.right_dome_mm = rng.uniform(0, 35)
        self.liver_edge = rng.uniform(-55, 25)
        self.liver_slope = rng.uniform(-0.6, 0.6)
        self.stomach = np.array([-rng.uniform(-15, 75), -rng.uniform(5, 55), 0.0])
        self.stomach_radii = np.array([rng.uniform(28, 55), rng.uniform(25, 45), rng.uniform(25, 50)])
        self.stomach_below = rng.uniform(20, 60)
        self.stomach_wall_mm = rng.uniform(3, 7)
        self.stomach_gas = rng.random() < 0.5
        self.stomach_folds = rng.uniform(0.0, 0.35)
        self.spleen_below = rng.uniform(25, 60)
        self.aorta_radius, self.aorta_at = rng.uniform(9, 15), rng.uniform(8, 24)
        self.cava_radius, self.cava_at = rng.uniform(9, 15), np.array([rng.uniform(8, 30), -rng.uniform(5, 30)])
        self.mediastinum_half_mm = rng.uniform(4, 26)
        self.lung_vessels = Blobs(rng, 22.0, (1.2, rng.uniform(3, 7)), rng.uniform(0.25, 0.8), 4.0)
        self.hilar_vessels = Blobs(rng, 34.0, (3.0, rng.uniform(7, 13)), rng.uniform(0.2, 0.6), 4.0)
        self.liver_vessels = Blobs(rng, 26.0, (1.2, rng.uniform(3.5, 8)), rng.uniform(0.2, 0.8), 5.0)
        self.loops = Blobs(rng, 40.0, (9.0, 18.0), 0.8, 2.0)

    def _fit_depth(self, heart_points: np.ndarray, share: float) -> float:
        """Place the cavity so that the heart reaches ``share`` of the way to the front and side walls."""
        low, high = -160.0, 60.0
        for _ in range(2):
            for _ in range(24):
                middle = 0.5 * (low + high)
                reach = self._level(heart_points[:, 0], heart_points[:, 1], middle)[0].max()
                front = heart_points[:, 1].max() > middle
                low, high = (low, middle) if not front or reach < share else (middle, high)
            if self._level(heart_points[:, 0], heart_points[:, 1], middle)[0].max() <= 1.0:
                break
            self.half_width *= 1.2  # a heart too big for this chest gets a bigger one
            self.half_depth *= 1.2
            low, high = -200.0, 80.0
        return middle

    def _level(self, x: np.ndarray, y: np.ndarray, middle: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the superellipse level (1 at the inner chest wall) and the distance inwards from it, mm."""
        x, y = x - self.midline, y - middle
        n = self.exponent
        level = ((np.abs(x) / self.half_width) ** n + (np.abs(y) / self.half_depth) ** n) ** (1.0 / n)
        radius = np.hypot(x, y)
        return level, radius * (1.0 / np.maximum(level, 1e-3) - 1.0)

    def tissue_at(self, points_mm: np.ndarray) -> np.ndarray:
        """Return the tissue code at points (n, 3), (n,) uint8."""
        points = np.asarray(points_mm, dtype=np.float32)
        x, y, _ = points.T
        _, depth = self._level(x, y, self.middle)
        relief = self.relief(points)
        tissue = np.full(len(points), Tissue.AIR, dtype=np.uint8)
        self._wall(tissue, points, depth, relief)
        inside = np.flatnonzero(depth > 0)
        tissue[inside] = self._cavity(points[inside], depth[inside], relief[inside])
        self._spine(tissue, points)
        return tissue

    def _wall(self, tissue: np.ndarray, points: np.ndarray, depth: np.ndarray, relief: np.ndarray) -> None:
        """Paint muscle with ribs and sternum, subcutaneous fat and skin outside the cavity."""
        x, y, z = points.T
        muscle = self.muscle_mm * (1.0 + 0.25 * relief)
        fat = self.fat_mm * np.clip(1.0 + 0.25 * relief, 0.3, None)
        outside = -depth
        tissue[(outside >= 0) & (outside < muscle)] = Tissue.MUSCLE
        in_fat = (outside >= muscle) & (outside < muscle + fat)
        tissue[in_fat] = Tissue.SUBCUTANEOUS_FAT
        streaks = in_fat & (self.fine_relief(points) > 2.1)
        tissue[streaks] = Tissue.MUSCLE
        tissue[(outside >= muscle + fat) & (outside < muscle + fat + 2.0)] = Tissue.SKIN
        # a rib climbs towards the spine; its marrow lies within a thin dark shell
        around = np.abs(np.arctan2(x - self.midline, y - self.middle)) * self.half_depth
        cycle = np.abs(np.mod((z - self.rib_slope * around + self.rib_phase) / self.rib_pitch, 1.0) - 0.5)
        radial = np.abs(outside - 0.35 * self.muscle_mm) / (0.32 * self.muscle_mm)
        inside_rib = (cycle / (0.5 * self.rib_width)) ** 2 + radial**2
        front = around < 0.6 * self.half_width
        tissue[inside_rib < 1.0] = Tissue.CARTILAGE
        tissue[(inside_rib < 0.5) & ~front] = Tissue.BONE
        sternum = (np.abs(x - self.midline) < 17.0) & (y > self.middle) & (np.abs(outside - 6.0) < 5.5)
        tissue[sternum] = Tissue.BONE
        between = (outside >= 0) & (outside < 0.2 * self.muscle_mm) & (relief > 0.6)
        tissue[between] = Tissue.VISCERAL_FAT

    def _cavity(self, points: np.ndarray, depth: np.ndarray, relief: np.ndarray) -> np.ndarray:
        """Paint lungs, mediastinum, diaphragm and what lies below."""
        x, y, _ = points.T
        tissue = np.full(len(points), Tissue.LUNG, dtype=np.uint8)
        tissue[self.lung_vessels(points)] = Tissue.LUNG_VESSEL
        aside = np.abs(x - 0.6 * self.midline + 6.0 * relief)
        centre = aside < self.mediastinum_half_mm * (1.0 + 0.2 * relief)
        tissue[(aside < self.mediastinum_half_mm + 28.0) & self.hilar_vessels(points)] = Tissue.LUNG_VESSEL
        tissue[centre] = Tissue.VISCERAL_FAT
        vessel = np.hypot(x - self.cava_at[0], y - self.cava_at[1]) / self.cava_radius
        tissue[vessel < 1.15] = Tissue.VESSEL_WALL
        tissue[vessel < 1.0] = Tissue.RIGHT_ATRIUM
        below = points @ self.down.astype(np.float32) - self.diaphragm + 5.0 * relief
        below += np.clip(x, 0.0, None) / 80.0 * self.right_dome_mm
        below -= self.dome * np.clip(55.0 - depth, 0.0, None) ** 2
        tissue[below > -3.0] = Tissue.MUSCLE
        under = np.flatnonzero(below > 0)
        tissue[under] = self._abdomen(points[under], below[under], relief[under])
        return tissue

    def _abdomen(self, points: np.ndarray, below: np.ndarray, relief: np.ndarray) -> np.ndarray:
        """Paint liver, stomach, spleen and bowel in fat; ``below`` is the depth under the diaphragm, mm."""
        x, y, _ = points.T
        tissue = np.full(len(points), Tissue.VISCERAL_FAT, dtype=np.uint8)
        tissue[self.loops(points)] = Tissue.BOWEL
        liver = x - self.liver_edge + self.liver_slope * (y - self.middle) - 0.35 * below > 8.0 * relief
        tissue[liver] = np.where(self.liver_vessels(points[liver]), Tissue.LIVER_VESSEL, Tissue.LIVER)
        spleen = (x + 85) ** 2 / 32**2 + (y - self.middle + 45) ** 2 / 42**2 + (below - self.spleen_below) ** 2 / 45**2
        tissue[spleen < 1.0 + 0.2 * relief] = Tissue.SPLEEN
        offset = np.stack([x, y - 0.5 * self.middle, below], axis=1)
        offset -= np.array([self.stomach[0], self.stomach[1], self.stomach_below], dtype=np.float32)
        level = np.sqrt(((offset / self.stomach_radii.astype(np.float32)) ** 2).sum(axis=1))
        level *= 1.0 + self.stomach_folds * 0.3 * self.fine_relief(points)
        wall = 1.0 + self.stomach_wall_mm / float(self.stomach_radii.min())
        tissue[level < wall] = Tissue.STOMACH_WALL
        content = Tissue.AIR if self.stomach_gas else Tissue.STOMACH_CONTENT
        fluid = offset[:, 1] < -0.3 * self.stomach_radii[1]  # fluid gathers at the back of a patient lying down
        tissue[level < 1.0] = np.where(fluid[level < 1.0], Tissue.STOMACH_CONTENT, content)
        return tissue

    def _spine(self, tissue: np.ndarray, points: np.ndarray) -> None:
        """Paint vertebrae with discs, canal, back muscles and the descending aorta."""
        x, y, z = points.T
        x = x - self.midline
        y = y - (self.middle - self.spine_depth * self.half_depth)
        near = (np.abs(x) < 70) & (np.abs(y) < 60)
        back = (y < -8) & near & (tissue != Tissue.AIR) & (tissue != Tissue.SUBCUTANEOUS_FAT) & (tissue != Tissue.SKIN)
        tissue[back] = Tissue.MUSCLE
        aorta = np.hypot(x + self.aorta_at, y - 26.0) / self.aorta_radius
        tissue[aorta < 1.15] = Tissue.VESSEL_WALL
        tissue[aorta < 1.0] = Tissue.DESCENDING_AORTA
        body = (x / 19.0) ** 2 + (y / 15.0) ** 2
        tissue[body < 1.0] = np.where(np.mod(z[body < 1.0], 27.0) < 6.0, Tissue.CARTILAGE, Tissue.BONE)
        posterior = (np.abs(x) < 5) & (y < -15) & (y > -48)
        tissue[posterior] = Tissue.BONE
        tissue[(x / 9.0) ** 2 + ((y + 21.0) / 7.5) ** 2 < 1.0] = Tissue.SPINAL_CANAL
