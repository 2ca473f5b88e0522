"""Contact sheets of one heart: the recorded frames above what arms make of them, with borders."""

from pathlib import Path

import numpy as np
from COFGeneratorLib.figures.sheet import Sheet

from COFTrainingLib.studies.real_motion.hearts import RealHeart
from COFTrainingLib.studies.real_motion.moved import Moved

CELL_PX, LABEL_PX, HEAD_PX, DPI = 150, 110, 26, 100
COLOURS = {1: "#e8684a", 2: "#5ad8a6", 3: "#f6bd16"}
PHASES = (0.1, 0.2, 0.6, 0.9)


class Sheets:
    """Collects what a sheet shows while arms come one at a time: a base, middle and apical slice, some frames."""

    def __init__(self, heart: RealHeart) -> None:
        self.heart = heart
        count, es = len(heart.frames), heart.es_frame
        frames = {0, 1, es, *(round(phase * count) % count for phase in PHASES)}
        self.frames = sorted(frames)
        used = np.flatnonzero((heart.labels[0] == 2).any(axis=(1, 2)))
        area = (heart.labels[0] == 1).sum(axis=(1, 2))[used]
        order = used if area[: len(used) // 2].sum() >= area[-(len(used) // 2) :].sum() else used[::-1]
        self.slices = [int(order[round(place * (len(order) - 1))]) for place in (0.1, 0.5, 0.85)]
        self.kept: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, name: str, moved: Moved) -> None:
        """Keep what the sheet shows of an arm."""
        rows, columns = (np.arange(part.start, part.stop) for part in self.heart.box[1:])
        pick = np.ix_(np.array(self.frames), np.array(self.slices), rows, columns)
        self.kept[name] = self.heart.scale(moved.frames[pick]), moved.labels[pick]

    def write(self, path: Path, names: tuple[str, ...]) -> None:
        """Write the arms of these names that there are, one above the other slice by slice."""
        shown = [name for name in names if name in self.kept]
        rows = [(slice_, name) for slice_ in range(len(self.slices)) for name in shown]
        sheet = Sheet(LABEL_PX + CELL_PX * len(self.frames), 2 * HEAD_PX + CELL_PX * len(rows), DPI)
        heart, count = self.heart, len(self.heart.frames)
        sheet.write(8, HEAD_PX / 2, f"{heart.case.name}  {heart.case.group}  EF {heart.ef_percent:.0f} %  "
                    f"RVEF {heart.rvef_percent:.0f} %  EDV {heart.edv_ml:.0f} mL  labels: {heart.labels_from}",
                    fontsize=9)  # fmt: skip
        for column, frame in enumerate(self.frames):
            title = "ED" if frame == 0 else "ES" if frame == heart.es_frame else f"{frame / count:.2f}"
            sheet.write(LABEL_PX + CELL_PX * (column + 0.45), 1.5 * HEAD_PX, title, fontsize=9)
        for row, (slice_, name) in enumerate(rows):
            top = 2 * HEAD_PX + CELL_PX * row
            place = ("base", "middle", "apex")[slice_]
            sheet.write(8, top + CELL_PX * 0.4, name, fontsize=8)
            sheet.write(8, top + CELL_PX * 0.6, place, fontsize=8)
            images, labels = self.kept[name]
            for column in range(len(self.frames)):
                axes = sheet.axes(LABEL_PX + CELL_PX * column + 1, top + 1, CELL_PX - 2, CELL_PX - 2)
                axes.imshow(images[column, slice_], cmap="gray", vmin=0.0, vmax=1.0, interpolation="bicubic")
                for code, colour in COLOURS.items():
                    mask = labels[column, slice_] == code
                    if mask.any() and not mask.all():
                        axes.contour(mask, [0.5], colors=colour, linewidths=0.7)
                axes.axis("off")
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path, f"Recorded and generated motion of {heart.case.name}")
