"""Workspaces: templates to a cabinetry configuration and a pyhf workspace."""

from inferno_cli.workspace.build import Workspace, build, morph_name

__all__ = ["Workspace", "build", "morph_name"]
