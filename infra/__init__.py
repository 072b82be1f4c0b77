"""The stack of real parts on one machine, and members that behave like members. Not shipped."""
