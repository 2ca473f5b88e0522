"""The protocols of the papers and ours, one file each: what to collect, and the tables and figures made of it."""
