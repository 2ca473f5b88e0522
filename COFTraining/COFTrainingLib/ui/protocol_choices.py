"""The protocols that an evaluation can be asked for, in words."""

from slicer.i18n import tr as _


def protocol_choices() -> list[tuple[str, str]]:
    """Return (name for ``--protocol``, words): the quick ones together, all, and each by itself."""
    from COFTrainingLib.evaluation.protocols.registry import PROTOCOLS

    several = [("cheap", _("the quick ones")), ("all", _("all (slow)"))]
    return [*several, *((name, protocol.title) for name, protocol in PROTOCOLS.items())]
