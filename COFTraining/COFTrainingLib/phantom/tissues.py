"""The tissues that a short-axis view of the thorax shows, their labels and their relaxation times."""

from enum import IntEnum

import numpy as np


class Tissue(IntEnum):
    """Tissue codes of the label maps from which images are synthesised."""

    AIR = 0
    LUNG = 1
    LV_BLOOD = 2
    MYOCARDIUM = 3
    RV_BLOOD = 4
    RV_WALL = 5
    LV_PAPILLARY = 6
    LV_TRABECULA = 7
    RV_TRABECULA = 8
    EPICARDIAL_FAT = 9
    PERICARDIUM = 10
    LEFT_ATRIUM = 11
    RIGHT_ATRIUM = 12
    AORTIC_ROOT = 13
    PULMONARY_TRUNK = 14
    VESSEL_WALL = 15
    CORONARY = 16
    LIVER = 17
    LIVER_VESSEL = 18
    STOMACH_WALL = 19
    STOMACH_CONTENT = 20
    SPLEEN = 21
    SUBCUTANEOUS_FAT = 22
    MUSCLE = 23
    BONE = 24
    CARTILAGE = 25
    SPINAL_CANAL = 26
    DESCENDING_AORTA = 27
    LUNG_VESSEL = 28
    VISCERAL_FAT = 29
    BOWEL = 30
    SKIN = 31
    LV_ORIFICE = 32
    RV_ORIFICE = 33
    RV_RIM = 34


TISSUE_COUNT = len(Tissue)

LABEL_OF_TISSUE = np.zeros(256, dtype=np.uint8)
"""(256,) label of each tissue code: 0 background, 1 LV cavity, 2 myocardium, 3 RV cavity.

Papillary muscles and trabeculae belong to their cavities, as in clinical contours (Schulz-Menger et al., JCMR 2020);
those along the right ventricle's wall in systole, ``RV_RIM``, do not.
"""
LABEL_OF_TISSUE[[Tissue.LV_BLOOD, Tissue.LV_PAPILLARY, Tissue.LV_TRABECULA]] = 1
LABEL_OF_TISSUE[Tissue.MYOCARDIUM] = 2
LABEL_OF_TISSUE[[Tissue.RV_BLOOD, Tissue.RV_TRABECULA]] = 3

BLOOD = (
    Tissue.LV_BLOOD,
    Tissue.RV_BLOOD,
    Tissue.LV_ORIFICE,
    Tissue.RV_ORIFICE,
    Tissue.LEFT_ATRIUM,
    Tissue.RIGHT_ATRIUM,
    Tissue.AORTIC_ROOT,
    Tissue.PULMONARY_TRUNK,
    Tissue.CORONARY,
    Tissue.DESCENDING_AORTA,
    Tissue.LUNG_VESSEL,
)
"""Tissues through which blood flows: they share one intensity, up to oxygenation and inflow."""

FAT = (Tissue.EPICARDIAL_FAT, Tissue.VISCERAL_FAT, Tissue.SUBCUTANEOUS_FAT)
"""Tissues whose protons are those of fat: in opposed phase they cancel the water that shares their voxel."""

_BLOOD, _HEART_MUSCLE, _FAT = (1.0, 1500.0, 230.0), (0.85, 1030.0, 46.0), (1.0, 300.0, 75.0)
_PROTON_T1_T2_MS = {
    **dict.fromkeys((Tissue.MYOCARDIUM, Tissue.LV_PAPILLARY, Tissue.RV_WALL), _HEART_MUSCLE),
    **dict.fromkeys((Tissue.EPICARDIAL_FAT, Tissue.SUBCUTANEOUS_FAT, Tissue.VISCERAL_FAT), _FAT),
    Tissue.AIR: (0.004, 1000.0, 50.0),
    Tissue.LUNG: (0.08, 1200.0, 30.0),
    Tissue.LV_TRABECULA: (0.85, 1030.0, 55.0),
    **dict.fromkeys((Tissue.RV_TRABECULA, Tissue.RV_RIM), (0.85, 1030.0, 60.0)),
    Tissue.PERICARDIUM: (0.3, 900.0, 25.0),
    Tissue.VESSEL_WALL: (0.6, 1000.0, 40.0),
    Tissue.LIVER: (0.85, 580.0, 46.0),
    Tissue.LIVER_VESSEL: (0.95, 1500.0, 180.0),
    Tissue.STOMACH_WALL: (0.85, 900.0, 50.0),
    Tissue.STOMACH_CONTENT: (0.95, 2000.0, 300.0),
    Tissue.SPLEEN: (0.9, 1050.0, 75.0),
    Tissue.MUSCLE: (0.85, 1000.0, 38.0),
    Tissue.BONE: (0.6, 500.0, 55.0),
    Tissue.CARTILAGE: (0.6, 1000.0, 35.0),
    Tissue.SPINAL_CANAL: (1.0, 3000.0, 900.0),
    Tissue.BOWEL: (0.9, 1000.0, 80.0),
    Tissue.SKIN: (0.7, 800.0, 35.0),
}

RELAXATION = np.array([_PROTON_T1_T2_MS.get(tissue, _BLOOD) for tissue in Tissue])
"""(n, 3) proton density, T1 and T2 in ms at 1.5 T (values as collected in Stanisz et al., MRM 2005, and literature)."""
