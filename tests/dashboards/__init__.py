"""Boards and alert rules."""
