"""What a model is called in tables and plots: the ``title`` in its YAML file."""

from __future__ import annotations

from functools import cache

from inferno_cli.choices import conf_folders
from inferno_cli.config.load import config_folder
from inferno_cli.files import read_yaml
from inferno_cli.names import printable


@cache
def model_title(name: str) -> str:
    """Return the title of the model of that name in conf/model, ours or an installed package's; else the name.

    For records that do not say it: published numbers, and runs of before models had titles.
    """
    for folder in (config_folder(), *conf_folders()):
        # Compared with the names that there are: a record from elsewhere may hold any text.
        for path in (folder / "model").glob("*.yaml"):
            if path.stem == name:
                return printable(str(read_yaml(path).get("title") or name))
    return name
