"""Parts of ``ef_statement.py``."""
