"""Boards and alert rules as files: `python -m dashboards.generate` writes dashboards/generated, a test compares it."""

from __future__ import annotations

from pathlib import Path

from dashboards import alerts, board, pipeline

FOLDER = Path(__file__).parent / "generated"


def generated() -> dict[str, str]:
    """The text of every generated file, by its name."""
    return {
        "pipeline.json": board.render(pipeline.TITLE, pipeline.UID, pipeline.ROWS, pipeline.ANNOTATIONS),
        "alerts.yml": alerts.render(),
    }


def write(folder: Path = FOLDER) -> None:
    """Write them."""
    folder.mkdir(exist_ok=True)
    for name, text in generated().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    write()
