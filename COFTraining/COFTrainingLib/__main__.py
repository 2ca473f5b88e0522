"""``python -m COFTrainingLib …`` is ``cof …``, for interpreters without installed scripts (PythonSlicer)."""

import sys

from COFTrainingLib.cli import main

sys.exit(main())
