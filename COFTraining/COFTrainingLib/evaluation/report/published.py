"""What the papers report, quoted with its protocol; never mixed with what is measured here."""

from COFTrainingLib.evaluation.report.section import Table

COF = "Chain of Flow v2, arXiv 2602.22919v2"
UKB = f"{COF}, UK Biobank same-visit benchmark, N = 426. Other data, other assessor: not comparable number by number."

IMAGE = Table(
    "published_image",
    "Published: image-level comparison (COF v2, Table 2)",
    ("Method", "FVD ↓", "FID ↓", "PSNR dB ↑", "SSIM ↑"),
    (
        ("COF", "12.92 ± 0.5", "4.54 ± 0.1", "28.74 ± 0.85", "0.985 ± 0.004"),
        ("COF-w/ Diffusion", "31.60 ± 0.7", "8.82 ± 0.2", "26.86 ± 0.77", "0.978 ± 0.005"),
        ("X-Dyna", "19.38 ± 0.6", "7.28 ± 0.1", "27.12 ± 0.84", "0.984 ± 0.004"),
        ("MoFA-Video", "47.24 ± 1.5", "19.48 ± 0.4", "27.01 ± 0.80", "0.982 ± 0.004"),
        ("EchoDiffusion", "98.00 ± 1.8", "66.48 ± 0.9", "28.53 ± 0.73", "0.986 ± 0.004"),
        ("ECHOPulse", "608.24 ± 7.7", "437.35 ± 3.0", "11.87 ± 0.63", "0.361 ± 0.066"),
        ("ConsistI2V", "229.62 ± 4.8", "294.57 ± 1.7", "13.09 ± 0.61", "0.541 ± 0.054"),
        ("LFDM", "536.76 ± 6.1", "457.68 ± 4.1", "11.41 ± 0.26", "0.146 ± 0.033"),
        ("EchoNet-Synthetic", "509.92 ± 4.0", "471.97 ± 2.8", "15.97 ± 0.61", "0.732 ± 0.036"),
    ),
    f"{UKB} FVD and FID are Fréchet distances of DINOv2 features, ± spread of 50 resamples; PSNR and SSIM mean ± SD "
    "over subjects.",
    published=True,
)
IMAGE_V1 = Table(
    "published_image_v1",
    "Published: the earlier version's image table (COF v1, Table 1), which has a random sample",
    ("Method", "SSIM ↑", "PSNR dB ↑", "FID ↓", "FVD ↓", "M-Corr ↑", "M-SSIM ↑"),
    (
        ("COF", 0.984, 28.46, 6.39, 17.60, 0.474, 0.894),
        ("COF-w/ Diffusion", 0.976, 27.45, 8.74, 31.45, 0.297, 0.878),
        ("ECHOPulse", 0.381, 12.16, 433.18, 598.44, 0.281, 0.852),
        ("LFDM", 0.203, 11.83, 446.93, 670.45, 0.050, 0.650),
        ("EchoDiffusion", 0.985, 28.63, 76.26, 146.13, 0.161, 0.345),
        ("Random sample", 0.361, 11.72, 33.25, 81.08, 0.025, 0.144),
    ),
    "Chain of Flow v1, about 10,000 UK Biobank subjects.",
    published=True,
)
FUNCTION = Table(
    "published_function",
    "Published: function under the independent assessor (COF v2, Table 3)",
    ("Method", "ESV MAE mL", "EF MAE points", "SV MAE mL", "Curve RMSE mL", "ES phase error, frames"),
    (
        ("COF", 16.77, 12.3, 17.36, 14.40, 2.31),
        ("COF-w/ Diffusion", 62.07, 47.6, 64.97, 34.92, 6.95),
        ("X-Dyna", 35.57, 23.6, 37.04, 22.47, 2.05),
        ("MoFA-Video", 32.18, 21.7, 33.32, 19.67, 2.07),
        ("EchoDiffusion", 33.17, 53.1, 76.42, 33.38, 14.70),
        ("ECHOPulse", 46.39, 99.7, 56.58, 76.66, 9.24),
        ("ConsistI2V", 50.54, 560.6, 73.11, 86.40, 11.91),
        ("LFDM", 35.27, 208.7, 73.46, 65.77, 13.72),
        ("EchoNet-Synthetic", 44.03, 2032.0, 88.44, 70.37, 13.55),
    ),
    f"{UKB} EF stands there as a fraction and is given here in points. In UK Biobank a constant EF errs by about 4–5 "
    "points and a regression from real images by 3.3–3.7 (ECGFlowCMR, Table 3).",
    published=True,
)
ANCHOR_PHASE = Table(
    "published_anchor_phase",
    "Published: phase of the anchor (COF v2, Table 4)",
    ("Frame", "FVD", "M-Corr", "M-SSIM", "Macro Dice", "LV Dice", "EF MAE points"),
    tuple(
        (frame, *values)
        for frame, values in enumerate((
            (15.10, 0.52, 0.91, 0.77, 0.84, 31), (13.40, 0.49, 0.91, 0.75, 0.83, 48),
            (13.29, 0.45, 0.91, 0.75, 0.82, 54), (13.99, 0.47, 0.91, 0.77, 0.84, 34),
            (13.92, 0.47, 0.91, 0.77, 0.84, 34), (14.24, 0.43, 0.91, 0.75, 0.82, 60),
            (12.86, 0.44, 0.91, 0.75, 0.82, 115), (12.40, 0.48, 0.91, 0.76, 0.83, 60),
            (11.30, 0.48, 0.91, 0.78, 0.84, 77), (12.33, 0.48, 0.91, 0.78, 0.85, 35),
            (14.98, 0.50, 0.91, 0.77, 0.84, 30),
        ))
    ),
    f"{UKB} Image and ECG are shifted together.",
    published=True,
)  # fmt: skip
SERIAL = Table(
    "published_serial",
    "Published: cross-visit serial support (COF v2, Table 5)",
    ("Arm", "LV Dice", "Myo Dice", "Macro Dice", "Prior curve r", "EF drift points", "SV drift mL"),
    (
        ("Prior", 0.583, 0.552, 0.464, 1.000, 0.0, 0.0),
        ("Prior + ECG", 0.571, 0.545, 0.452, 0.854, 8.0, 10.592),
        ("Registered prior + ECG", 0.731, 0.640, 0.607, 0.908, 8.3, 11.234),
        ("Current + ECG", 0.894, 0.858, 0.832, 0.950, 6.7, 10.346),
    ),
    f"{COF}, UK Biobank subjects with two visits, N = 62.",
    published=True,
)
ROI = Table(
    "published_roi",
    "Published: where registration helps (COF v2, Table 6)",
    ("Metric", "ROI", "Non-ROI"),
    (
        ("MAE raw", 0.1955, 0.2823), ("MAE registered", 0.1293, 0.2574), ("MAE drop", 0.0662, 0.0249),
        ("SSIM raw", 0.6197, 0.7345), ("SSIM registered", 0.7668, 0.7572), ("SSIM gain", 0.1472, 0.0227),
        ("Share of what is left", 0.0635, 0.9365),
    ),
    f"{COF}, N = 62.",
    published=True,
)  # fmt: skip
ABLATION = Table(
    "published_ablation",
    "Published: ablations (COF v2, Table 7)",
    ("Setting", "SSIM", "PSNR", "FID", "FVD", "M-Corr", "M-SSIM", "LV Dice / IoU", "RV", "Myo"),
    (
        ("COF module setting", 0.986, 29.21, 7.98, 18.58, 0.548, 0.905, None, None, None),
        ("w/o REA", 0.979, 26.79, 7.53, 18.91, 0.226, 0.865, None, None, None),
        ("w/o temporal ECG", 0.978, 26.76, 14.50, 25.24, 0.512, 0.896, None, None, None),
        ("w/o TOPPR", 0.715, 15.26, 503.87, 637.26, 0.072, 0.285, None, None, None),
        ("no max field", 0.970, 25.16, 11.78, 26.40, 0.456, 0.895, "0.87 / 0.78", "0.67 / 0.51", "0.81 / 0.68"),
        ("λ_seg = 0.5", 0.982, 27.94, 7.34, 17.74, 0.533, 0.901, "0.88 / 0.80", "0.71 / 0.58", "0.84 / 0.74"),
        ("λ_seg = 1.0", 0.984, 28.46, 6.39, 17.60, 0.474, 0.894, "0.89 / 0.80", "0.74 / 0.61", "0.85 / 0.74"),
        ("λ_seg = 3.0", 0.975, 26.04, 12.28, 28.43, 0.498, 0.901, "0.85 / 0.76", "0.64 / 0.50", "0.83 / 0.71"),
    ),
    f"{COF}; the two blocks are separate sweeps.",
    published=True,
)
COHORT = Table(
    "published_cohort",
    "Published: cohorts (COF v2, Table 1)",
    ("Stage", "Definition", "N"),
    (
        ("Generation entrance", "paired UK Biobank ECG and CMR", 10000), ("Shared benchmark", "same visit", 426),
        ("Assessor source", "annotated 4D", 600), ("Overlap removed", "", 9), ("Assessor training", "", 591),
        ("Cross-visit", "two visits", 62),
    ),
    COF,
    published=True,
)  # fmt: skip
FAILURES = Table(
    "published_failures",
    "Published: hard cases (COF v2, §4.7)",
    ("Dominant mode", "Cases of 69", "Percent"),
    (("Anatomy collapse", 43, 62.3), ("Under-contraction", 22, 31.9), ("Anchor mismatch", 3, 4.3), ("Other", 1, 1.4)),
    f"{COF}. Its Fisher p = 0.201 compares the hard cases with the whole cohort, which holds them; with disjoint "
    "groups the same counts give 0.150.",
    published=True,
)
