"""Cohorts of phantoms, written as files."""
