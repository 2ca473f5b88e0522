"""What is stated on real recordings, by their diagnoses, and on real anchors beside a normal ECG."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

GROUPS = {
    "infarct": {"164865005", "164867002", "57054005", "54329005"},
    "rbbb": {"59118001", "713427006"},
    "lbbb": {"164909002", "733534002"},
    "hypertrophy": {"164873001"},
    "t change": {"164934002", "59931005"},
    "st change": {"55930002", "164930006"},
    "premature": {"284470004", "427172004", "17338001", "63593006"},
    "tachycardia": {"427084000"},
    "bradycardia": {"426177001"},
    "normal": {"426783006"},
}
"""SNOMED CT codes of the files, the graver finding first; a record belongs to its first group."""
BENIGN = {"426783006", "426177001", "427084000"}
NORMAL_EF_PERCENT, LEAST_MEAN_PERCENT, LEAST_NORMAL_PERCENT = (58.0, 68.0), 55.0, 55.0
INFARCT_SHARE = 1 / 12
DILATED_ML, LOWER_PERCENT = 220.0, 10.0
NORMAL_ECG = "diagnoses/E07506.hea"


@dataclass(frozen=True)
class Asked:
    """A reading of one real record."""

    name: str
    codes: frozenset[str]
    ef_percent: float
    interval_percent: tuple[float, float]
    status: str
    infarct: str
    reasons: str

    @property
    def group(self) -> str:
        """The first of ``GROUPS`` that a code names; "" where none does."""
        return next((name for name, codes in GROUPS.items() if codes & self.codes), "")

    @property
    def isolated(self) -> bool:
        """Whether the codes name nothing beside its group and the rate."""
        return not self.codes - GROUPS.get(self.group, set()) - BENIGN


def real_records(folder: Path) -> Iterator[tuple[str, Any, frozenset[str]]]:
    """Yield name, record and diagnosis codes of every recording that reads."""
    from COFGeneratorLib.ecg import read_ecg
    from COFGeneratorLib.errors import EcgError

    for path in sorted([*folder.glob("*"), *(folder / "diagnoses").glob("*")]):
        if path.suffix not in (".hea", ".xml", ".dcm", ".scp", ".mat") or (
            path.suffix == ".mat" and path.with_suffix(".hea").exists()
        ):
            continue
        codes: frozenset[str] = frozenset()
        if path.suffix == ".hea":
            header = path.read_text(errors="replace")
            found = re.search(r"^#\s*Dx:?\s*([\d,\s]+)", header, re.MULTILINE)
            codes = frozenset(found.group(1).replace(" ", "").strip().split(",")) if found else frozenset()
            if "infarction" in header:  # PTB says it in words
                codes |= {"164865005"}
        try:
            yield path.stem, read_ecg(path), codes
        except EcgError as error:
            print(f"  {path.name} is left out: {error}")


def ask_real(encoder: Any, statement: Any, folder: Path) -> list[Asked]:
    """Ask the statement about every real recording."""
    from COFGeneratorLib.ecg.beats import analyse_ecg
    from COFGeneratorLib.errors import EcgError
    from COFGeneratorLib.generator.ef_statement import infarct_claim
    from COFGeneratorLib.generator.networks.ecg_encoder import encoder_inputs

    asked = []
    for name, record, codes in real_records(folder):
        try:
            cycle = analyse_ecg(record)
        except EcgError as error:
            print(f"  {name} is left out: {error}")
            continue
        stated = statement.state(encoder, cycle, None)
        claim = infarct_claim(encoder.latents(encoder(*encoder_inputs(cycle, "cpu"))[0]))
        infarct = f"{claim[0]} {100 * claim[1]:.0f} %" if claim and stated.status != "withheld" else ""
        why = stated.notes[0] if stated.status != "stated" else ""
        asked.append(
            Asked(name, codes, 100 * stated.mean, stated.interval_percent, stated.status, infarct, why)
        )  # fmt: skip
    return asked


def judge_real(asked: list[Asked]) -> dict[str, bool]:
    """Print the table of real recordings; return which bars hold."""
    print(f"\nReal recordings ({len(asked)}), no anatomy beside them; EF in %")
    for one in sorted(asked, key=lambda item: (item.group, item.name)):
        low, high = one.interval_percent
        print(
            f"  {one.group or '(no code)':12s} {one.name:26s} EF {one.ef_percent:4.1f} [{low:4.1f}, {high:4.1f}] "
            f"{one.status:9s} {one.infarct:16s} {one.reasons}"
        )
    print(f"\n  {'group':12s}   N  mean EF   SD   least  flagged")
    for group in (*GROUPS, ""):
        efs = np.array([one.ef_percent for one in asked if one.group == group])
        if len(efs):
            doubted = sum(one.status != "stated" for one in asked if one.group == group)
            figures = f"{len(efs):3d} {efs.mean():8.1f} {efs.std():5.1f} {efs.min():7.1f} {doubted:6d}"
            print(f"  {group or '(no code)':12s} {figures}")

    def efs(group: str) -> np.ndarray:
        return np.array([one.ef_percent for one in asked if one.group == group and one.isolated])

    healthy = [one for one in asked if one.codes and not one.codes & GROUPS["infarct"]]
    claimed = [one.name for one in healthy if one.infarct]
    print(f"  infarct claimed without a code: {len(claimed)} of {len(healthy)} {claimed}")
    bars = {}
    if healthy:
        bars["infarct claimed without a code in at most 1 of 12"] = len(claimed) <= INFARCT_SHARE * len(healthy)
    normal = efs("normal")
    if len(normal):
        bars["normal ECGs: mean EF 58–68"] = NORMAL_EF_PERCENT[0] <= normal.mean() <= NORMAL_EF_PERCENT[1]
        bars["normal ECGs: none below 55"] = normal.min() >= LEAST_NORMAL_PERCENT
    for group, words in (("rbbb", "isolated RBBB"), ("t change", "T changes")):
        if len(efs(group)):
            bars[f"{words}: mean EF not below 55"] = efs(group).mean() >= LEAST_MEAN_PERCENT
    return bars


def judge_real_anchors(encoder: Any, statement: Any, data: Path) -> dict[str, bool]:
    """Print what real hearts say beside a normal ECG of another person; return which bars hold."""
    from COFGeneratorLib.anatomy.readers import read_sax
    from COFGeneratorLib.ecg import read_ecg
    from COFGeneratorLib.ecg.beats import analyse_ecg
    from COFGeneratorLib.generator.heart_measures import heart_measures

    normal = data / "ecg" / NORMAL_ECG
    if not normal.is_file():
        print(f"\nNo {NORMAL_ECG} in {data / 'ecg'}: real anchors are left out.")
        return {}
    cycle = analyse_ecg(read_ecg(normal))
    files = [*sorted((data / "mri" / "autofd").glob("*_seg_*ED*")), *sorted((data / "mri").glob("acdc-cines/*_ed_gt*"))]
    print(f"\nReal anchors beside the normal ECG {NORMAL_ECG}; EF in %")
    efs: dict[bool, list[float]] = {False: [], True: []}
    for path in files:
        stack = read_sax(path)
        codes = np.rint(stack.voxels).astype(int)
        right, left = (4, 1) if "autofd" in str(path) else (1, 3)
        labels = np.select([codes == left, codes == 2, codes == right], [1, 2, 3])
        measures = heart_measures(labels, stack.ijk_to_ras)
        if measures is None:
            continue
        volume_ml, stated = float(np.exp(measures[0])), statement.state(encoder, cycle, measures)
        efs[volume_ml > DILATED_ML].append(100 * stated.mean)
        noted = "noted" if any("disagree" in note for note in stated.notes) else ""
        print(f"  {path.name:34s} LV {volume_ml:5.0f} mL  EF {100 * stated.mean:4.1f} ± {100 * stated.sd:4.1f} {noted}")
    if not efs[True] or not efs[False]:
        return {}
    return {"a dilated real anchor lowers EF by 10 points": np.mean(efs[False]) - np.mean(efs[True]) >= LOWER_PERCENT}
