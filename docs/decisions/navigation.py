"""Put every decision into the site's navigation (a hook of mkdocs.yml)."""

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def on_config(config: Any) -> Any:
    """Append the numbered pages beside this file to the section "Decisions"."""
    for section in config["nav"]:
        if isinstance(section, dict) and "Decisions" in section:
            pages = sorted(HERE.glob("[0-9]*.md"))
            section["Decisions"] = ["decisions/index.md", *(f"decisions/{p.name}" for p in pages)]
    return config
