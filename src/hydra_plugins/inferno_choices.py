"""The YAML files of packages that add choices, beside ours in Hydra's search path."""

from __future__ import annotations

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class ChoicesSearchPath(SearchPathPlugin):
    """Appends the ``conf`` folder of every package in the entry-point group ``inferno_cli.choices``."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folders; ours come first, and Hydra takes the first file of a name."""
        from inferno_cli.choices import conf_folders

        for folder in conf_folders():
            search_path.append("inferno_cli.choices", f"file://{folder}")
