"""All protocols by name, in the order of the report; what each does is imported when it is run."""

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

from COFGeneratorLib.errors import CohortError


@dataclass(frozen=True)
class Protocol:
    """A named protocol.

    Args:
        name: As on the command line.
        title: As in the report.
        what: One sentence for the help.
        file: Module of this package with ``summarise(plan, store) -> Section``, and with ``own_work(plan) -> OwnWork |
            None`` where it does more than read the cines of all methods.
        cheap: Whether it is part of ``--protocol cheap``, the default.
    """

    name: str
    title: str
    what: str
    file: str
    cheap: bool = True

    def module(self) -> ModuleType:
        """Return the module with its functions."""
        return import_module(f"COFTrainingLib.evaluation.protocols.{self.file}")


_LISTED = (
    Protocol("image", "Image table", "likeness of images, distances of distributions, radar (COF Table 2, Figure 4a)",
             "image_table"),
    Protocol("function", "Function table",
             "EDV, ESV, SV, EF, CO, curve and ES of every method, paired tests (COF Table 3)", "function_table"),
    Protocol("floors", "What can be known", "EF by diagnosis, size, intervals and by all that the ECG shows (ours)",
             "floors"),
    Protocol("anatomy", "Anatomy, regions and motion", "Dice, IoU, HD95, AHA-17, endpoint error of motion",
             "anatomy_table"),
    Protocol("slices", "Slice by slice", "heat-maps of Dice, IoU and HD95 by slice rank (COF Figure 5)", "slices"),
    Protocol("resolution", "Acquired resolution", "3-D agreement against pixel size (COF Figure 6)", "resolution"),
    Protocol("subgroups", "Subgroups", "nine ECG groups, HR tertiles, sex, age, ECG status (COF Figure 9)",
             "subgroups"),
    Protocol("cases", "Representative cases", "contours at ED and ES, volume curves (COF Figures 3, 10)", "cases"),
    Protocol("failures", "Failure boundary", "worst deciles, dominant modes, Fisher test, gallery (COF §4.7)",
             "failures"),
    Protocol("topology", "Topology audit", "folding, Jacobian, connected parts (COF Supplement 5)", "topology"),
    Protocol("ablations", "Ablations", "variants of the main bundle, and further bundles (COF Table 7)", "ablations",
             cheap=False),
    Protocol("counterfactuals", "ECG counterfactuals", "own, no, swapped ECG; heart rate; infarct territory (ours)",
             "counterfactuals", cheap=False),
    Protocol("calibration", "Calibration of uncertainty", "coverage, width and CRPS of random draws (ours)",
             "calibration", cheap=False),
    Protocol("variance", "Draws, subjects, trainings", "SD between draws, between subjects and between trainings",
             "variance"),
    Protocol("assessor", "By the independent assessor",
             "recorded and generated images labelled by one independent network", "assessor_table", cheap=False),
    Protocol("anchor-phase", "Phase of the anchor", "every canonical frame as the anchor (COF Table 4)",
             "anchor_phase", cheap=False),
    Protocol("serial", "Cross-visit serial use", "earlier MRI, today’s ECG; ROI and non-ROI (COF Tables 5, 6)",
             "serial", cheap=False),
)  # fmt: skip
PROTOCOLS = {protocol.name: protocol for protocol in _LISTED}


def chosen(names: list[str]) -> list[Protocol]:
    """Return the protocols that are asked for: by name, ``cheap`` or ``all``.

    Raises:
        CohortError: If there is none of a name.
    """
    wanted: set[str] = set()
    for name in names or ["cheap"]:
        if name in ("cheap", "all"):
            wanted |= {key for key, protocol in PROTOCOLS.items() if name == "all" or protocol.cheap}
        elif name in PROTOCOLS:
            wanted.add(name)
        else:
            raise CohortError(
                f"A protocol is one of {', '.join(PROTOCOLS)}, cheap or all; found {name!r}. Choose one of these."
            )
    return [protocol for key, protocol in PROTOCOLS.items() if key in wanted]
