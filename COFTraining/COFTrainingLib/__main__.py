"""``python -m COFTrainingLib …`` runs the training side's commands, for interpreters without installed scripts."""

import sys

from COFTrainingLib.cli import main

sys.exit(main())
