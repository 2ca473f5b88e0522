"""Labels as DICOM SEG, one object a phase, by highdicom."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from COFGeneratorLib import __version__
from COFGeneratorLib.cine import SYNTHETIC_MARK
from COFGeneratorLib.errors import MachineError
from COFGeneratorLib.export.heart import Heart

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

MANUFACTURER, MODEL = "ChainOfFlow", "ChainOfFlow (synthetic images, research only)"
LABELS_SERIES = 2
SEGMENTS = (
    (1, "LV cavity", "Left ventricle", "87878005"),
    (2, "LV myocardium", "Left Ventricle Myocardium", "49848007"),
    (3, "RV cavity", "Right ventricle", "53085002"),
)
"""Label, its words, and meaning and code in SNOMED CT."""
ANATOMICAL_STRUCTURE = ("91723000", "SCT", "Anatomical Structure")


def segmentations(heart: Heart, images: Sequence[Sequence["Dataset"]]) -> Iterator["Dataset"]:
    """Yield the labels of each phase, which refer to its images; nothing where there are none.

    Raises:
        MachineError: If the package highdicom is missing.
    """
    if heart.labels is None:
        return
    try:
        from highdicom.seg import Segmentation
    except ImportError as error:
        raise MachineError(
            "Labels as DICOM SEG need the package highdicom; it is not installed. Install it "
            "(pip install 'chainofflow[dicom]')."
        ) from error
    from pydicom.uid import generate_uid

    present = [segment for segment in SEGMENTS if (heart.labels == segment[0]).any()]
    if not present:
        return
    series = generate_uid(prefix=None)
    for phase, (labels, slices) in enumerate(zip(heart.labels, images, strict=True)):
        result = Segmentation(
            source_images=slices,
            pixel_array=np.stack([labels == segment[0] for segment in present], axis=-1).astype(np.uint8),
            segmentation_type="BINARY",
            segment_descriptions=[_described(place, *segment[1:]) for place, segment in enumerate(present, start=1)],
            series_instance_uid=series,
            series_number=LABELS_SERIES,
            sop_instance_uid=generate_uid(prefix=None),
            instance_number=phase + 1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MODEL,
            software_versions=__version__,
            device_serial_number="0",
            content_label="SYNTHETIC",
            content_description=f"{SYNTHETIC_MARK}: labels",
            series_description=f"{SYNTHETIC_MARK}: labels",
            omit_empty_frames=True,
        )
        result.ContentQualification = "RESEARCH"
        result.DerivationDescription = f"{SYNTHETIC_MARK}. Labels moved with a generated motion."
        yield result


def _described(number: int, words: str, meaning: str, code: str) -> Any:
    from highdicom.content import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    return SegmentDescription(
        segment_number=number,
        segment_label=words,
        segmented_property_category=Code(*ANATOMICAL_STRUCTURE),
        segmented_property_type=Code(code, "SCT", meaning),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=MANUFACTURER, version=__version__, family=codes.cid7162.ArtificialIntelligence
        ),
    )
