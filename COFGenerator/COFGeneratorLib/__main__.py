"""``python -m COFGeneratorLib …``: the generator's commands of ``cof``, where no script is installed (PythonSlicer)."""

import sys

from COFGeneratorLib.cli import main

sys.exit(main())
