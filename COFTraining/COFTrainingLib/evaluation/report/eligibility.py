"""Which external methods of the papers could be run here, and why not."""

from COFTrainingLib.evaluation.report.section import Table

_ROUTE = "write its cines as ID.nii.gz or ID/cine.seq.nrrd and give --predictions NAME=DIR"
METHODS = (
    ("X-Dyna", "single picture → video, human bodies", "needs its own weights and a GPU; no cardiac weights published"),
    ("MoFA-Video", "picture → video by motion fields", "needs Stable Video Diffusion weights and a GPU"),
    ("EchoDiffusion", "echo frame + EF → echo video", "trained on EchoNet-Dynamic; 2-D ultrasound, other view"),
    ("ECHOPulse", "ECG → echo video", "2-D ultrasound; must be trained again on CMR"),
    ("ConsistI2V", "picture + text → video", "needs its own weights and a GPU"),
    ("LFDM", "picture + class → video by latent flow", "must be trained again on CMR"),
    ("EchoNet-Synthetic", "echo latent diffusion", "2-D ultrasound; weights under a data-use agreement"),
    ("VideoGPT, ModelScopeT2V, CardioNets", "baselines of ECGFlowCMR, one long-axis plane", "no short-axis stack"),
    ("ECGFlowCMR", "ECG → four-chamber cine", "one long-axis plane: no short-axis volume to measure"),
    ("nnU-Net labels", "assessor of others", "give labels as ID_labels.nii.gz beside the cines"),
)


def eligibility(given: tuple[str, ...]) -> Table:
    """Return the table; methods whose predictions were given are marked as run."""

    def bare(name: str) -> str:
        return name.lower().replace("-", "").replace(" ", "")

    named = {bare(name) for name in given}
    rows = []
    for name, what, why in METHODS:
        run = any(bare(part) in named for part in name.split(","))
        rows.append((name, what, "run, see tables" if run else f"not run: {why}"))
    return Table(
        "eligibility", "External methods: who was run, and why not", ("Method", "What it is", "Here"), rows,
        f"To enter one: {_ROUTE}. It then goes through exactly the same pipeline.",
    )  # fmt: skip
