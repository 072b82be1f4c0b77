"""`make bench`: what the pipeline does on this machine, measured end to end on real parts. Not a test."""
