"""What a bench says that did not work."""


class BenchFailed(Exception):
    """The bench itself did not work, or what it ran; no figure is better than a wrong one."""
