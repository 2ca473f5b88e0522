"""``python -m COFGeneratorLib …`` is ``cof …``, for interpreters without installed scripts (PythonSlicer)."""

import sys

from COFGeneratorLib.cli import main

sys.exit(main())
