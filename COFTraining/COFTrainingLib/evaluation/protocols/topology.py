"""Topology audit: folded voxels, and structures whose number of connected parts is kept (COF Supplement 5)."""

import numpy as np

from COFTrainingLib.evaluation.plan import Plan
from COFTrainingLib.evaluation.protocols.anatomy_table import means
from COFTrainingLib.evaluation.report.section import Section, Table
from COFTrainingLib.evaluation.run import CINE
from COFTrainingLib.evaluation.store import Numbers, Store

COLUMNS = (
    ("folded_percent", "folded voxels %", 4), ("jacobian_min", "smallest Jacobian (mean)", 3),
    ("parts_kept_percent", "parts kept %", 1), ("wall_volume_change_percent", "largest wall volume change %", 2),
)  # fmt: skip


def summarise(plan: Plan, store: Store) -> Section:
    """Return the section."""
    section = Section("topology", "Topology audit")
    numbers = Numbers(store, CINE, [name for name, *_ in COLUMNS])
    rows = means(numbers, COLUMNS)
    if not rows:
        section.not_run = "No method has motion or labels."
        return section
    worst = {m: float(np.nanmax(numbers(m, "folded_percent"))) for m in numbers.methods
             if numbers.known(m, "folded_percent")}  # fmt: skip
    rows = [(*row, f"{worst[row[0]]:.4f}" if row[0] in worst else "–") for row in rows]
    section.text.append(
        "Folded: det(I + ∇u) ≤ 0 of the displacement on the stack’s own grid, within the anchor’s labels, over frames. "
        "Parts kept: structures × frames whose number of connected parts is the anchor’s, in hard labels; a cavity "
        "that a thick slice shows as a few voxels can part without any fold."
    )
    section.tables.append(Table("topology", "Topology", ("Method", *(label for _, label, _ in COLUMNS),
                                "worst subject, folded %"), rows))  # fmt: skip
    return section
