"""What must come out, computed another way: oracles share no code with what they judge."""
