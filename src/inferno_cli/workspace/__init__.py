"""Workspaces: templates to a cabinetry configuration and a pyhf workspace, and both in the files of other tools."""

from inferno_cli.workspace.build import Workspace, build, morph_name
from inferno_cli.workspace.export import export

__all__ = ["Workspace", "build", "export", "morph_name"]
