"""The sub-commands of ``cof``: one file each, with ``add`` (its arguments) and ``run`` (its work)."""
