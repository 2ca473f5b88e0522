"""Networks, and the form in which motion goes through them."""
