"""A request in, a result folder out: what command line, batch and modules stand on."""
