"""Cohorts: one manifest for all, splits by person, checks, labelling."""
