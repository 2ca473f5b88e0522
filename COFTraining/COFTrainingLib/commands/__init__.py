"""The training side's sub-commands of ``cof``: one file each, with ``add`` and ``run``."""
