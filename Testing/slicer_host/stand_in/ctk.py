"""The CTK widgets that stand in."""

from widgets import (  # noqa: F401
    ctkCheckablePushButton,
    ctkCheckBox,
    ctkCollapsibleButton,
    ctkColorPickerButton,
    ctkComboBox,
    ctkDirectoryButton,
    ctkDoubleRangeSlider,
    ctkDoubleSlider,
    ctkDoubleSpinBox,
    ctkPathLineEdit,
    ctkRangeWidget,
    ctkSliderWidget,
)
