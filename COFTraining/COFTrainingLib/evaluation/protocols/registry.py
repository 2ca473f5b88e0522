"""All protocols by name, in the order of the report."""

from importlib import import_module

from COFGeneratorLib.errors import CohortError

from COFTrainingLib.evaluation.protocols.protocol import Protocol

FILES = (
    "image_table", "function_table", "anatomy_table", "slices", "resolution", "subgroups", "cases", "failures",
    "topology", "ablations", "counterfactuals", "calibration", "variance", "assessor_table", "anchor_phase", "serial",
)  # fmt: skip


def protocols() -> dict[str, Protocol]:
    """Return every protocol by its name."""
    found = (import_module(f"COFTrainingLib.evaluation.protocols.{name}").PROTOCOL for name in FILES)
    return {protocol.name: protocol for protocol in found}


def chosen(names: list[str]) -> list[Protocol]:
    """Return the protocols that are asked for: by name, ``cheap`` or ``all``.

    Raises:
        CohortError: If there is none of a name.
    """
    known = protocols()
    wanted: dict[str, Protocol] = {}
    for name in names or ["cheap"]:
        if name in ("cheap", "all"):
            wanted |= {key: protocol for key, protocol in known.items() if name == "all" or protocol.cheap}
        elif name in known:
            wanted[name] = known[name]
        else:
            raise CohortError(
                f"A protocol is one of {', '.join(known)}, cheap or all; found {name!r}. Choose one of these."
            )
    return [protocol for key, protocol in known.items() if key in wanted]
