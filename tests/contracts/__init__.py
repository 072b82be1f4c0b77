"""One suite per port, run on the double and on the real thing."""
