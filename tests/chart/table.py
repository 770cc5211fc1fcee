"""The table in ``docs/chart.md``: values and defaults from values.yaml, words from the schema.

``python -m tests.chart.table`` writes it anew.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from tests.chart.helm import CHART

PAGE: Final = Path(__file__).parents[2] / "docs" / "chart.md"
BEGIN: Final = "<!-- values: begin -->\n"
END: Final = "<!-- values: end -->\n"

_HEAD: Final = "| value | default | what it says |\n|---|---|---|\n"


def table() -> str:
    """The table as Markdown, a row for every value that can be set."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())
    rows = (f"| `{name}` | {_shown(default)} | {title} |\n" for name, default, title in
            _leaves(values, schema, ""))  # fmt: skip
    return _HEAD + "".join(rows)


def _leaves(
    values: Mapping[str, Any], schema: Mapping[str, Any], prefix: str
) -> Iterator[tuple[str, Any, str]]:
    """Name, default and title of each value; an object that is free in its fields is one value."""
    for name, default in values.items():
        known = schema["properties"][name]
        if "properties" in known and name != "resources":
            yield from _leaves(default, known, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", default, known["title"]


def _shown(default: Any) -> str:
    if default == "":
        return ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def main() -> None:
    """Write the table into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{table()}{END}{after}")


if __name__ == "__main__":
    main()
