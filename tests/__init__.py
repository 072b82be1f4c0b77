"""Tests. README.md here says which test goes where."""
