"""Remembers what it was asked to install."""

asked = []


def pip_ensure(requirements, constraints=None, prompt_install=True, requester=None, **_options):
    """Note the request; a test must not change the environment."""
    text = "" if constraints is None else open(constraints).read()  # noqa: SIM115 - a test reads a few lines
    asked.append({"requirements": list(requirements), "constraints": text, "requester": requester})
