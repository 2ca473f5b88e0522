"""Tries a packaged extension: opens both panels from its flat folder and generates the sample patient's cine.

    python Testing/slicer_host/try_package.py UNPACKED/lib/Slicer-X.Y/qt-scripted-modules

Nothing of the source tree's libraries is used, so a file that was not listed in CMake is noticed.
"""

import os
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run; a non-zero exit code says that the package does not work."""
    modules = Path(sys.argv[1]).resolve()
    sys.path[:0] = [str(HERE), str(modules)]
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    import host

    stand_in = host.start({"COFGenerator": modules, "COFTraining": modules})
    for name in ("COFGenerator", "COFTraining"):
        stand_in.load(name)
        panel = stand_in.open(name)
        icon = stand_in.load(name).parent.icon
        assert not icon.isNull(), f"{name} has no icon"
        if name == "COFGenerator":
            generator = panel
    import COFGeneratorLib

    assert Path(COFGeneratorLib.__file__).is_relative_to(modules), COFGeneratorLib.__file__
    generator.view.load_sample()
    assert generator.ui.generateButton.enabled, generator.ui.generateButton.toolTip
    begin = time.monotonic()
    generator.ui.generateButton.click()
    stand_in.wait_for(lambda: generator.view.state.name != "RUNNING", 1800)
    words = generator.ui.statusLabel.text
    assert generator.view.state.name == "DONE", words
    function = generator.view.result.nodes.function
    sys.stdout.write(f"{words}\nclick to beating heart: {time.monotonic() - begin:.1f} s\n")
    for row in range(function.GetNumberOfRows()):
        sys.stdout.write("  ".join(function.GetCellText(row, column) for column in range(3)) + "\n")
    cine = generator.view.result.nodes.cine
    for key in ("motion_grid_stride", "motion_grid_error_mm", "model", "weights_sha256", "device"):
        sys.stdout.write(f"COF.{key} = {cine.GetAttribute('COF.' + key)}\n")
    stand_in.close("COFTraining")
    stand_in.close("COFGenerator")
    assert "torch" not in sys.modules
    return 0


if __name__ == "__main__":
    sys.exit(main())
