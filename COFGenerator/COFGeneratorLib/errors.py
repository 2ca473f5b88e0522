"""The error families of ChainOfFlow, by what they are about.

Messages follow one form: what was expected – what was found – what to do. The command line prints them without a
traceback and exits with code 2; everything else is an internal failure (exit code 1).
"""


class ChainOfFlowError(ValueError):
    """Base of every error that a user can cause and mend."""


class EcgError(ChainOfFlowError):
    """An electrocardiogram cannot be read or is not usable."""


class AnatomyError(ChainOfFlowError):
    """An image, its geometry or its labels cannot be used."""


class MotionError(ChainOfFlowError):
    """A velocity or displacement field is malformed."""


class BundleError(ChainOfFlowError):
    """A model bundle is incomplete, altered, or made for something else."""


class FunctionError(ChainOfFlowError):
    """Cardiac function cannot be measured from what was given."""


class SceneError(ChainOfFlowError):
    """MRML nodes or files cannot be made or read."""


class MachineError(ChainOfFlowError):
    """This machine lacks what was asked for."""


class JobError(ChainOfFlowError):
    """A background job cannot be started, found or read."""


class CohortError(ChainOfFlowError):
    """A cohort or its manifest is inconsistent."""


class TrainingError(ChainOfFlowError):
    """A training run cannot start or go on."""
