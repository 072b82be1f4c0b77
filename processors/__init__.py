"""Pure rules: state and record in, decision out. No I/O, no clock, no randomness, no logging."""
