"""Many cases from one table: read, run over workers, resume, and account for every row."""
