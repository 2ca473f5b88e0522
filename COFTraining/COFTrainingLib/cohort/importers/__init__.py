"""Importers of public and private data sets into cohorts."""
