"""One frozen tree of settings, checked once as a whole; the only reader of files.

The tree is what stands under `applications[].args` of a Serve config file, so that stock
`serve deploy` and KubeRay's `serveConfigV2` take it unchanged.
"""

from coordsvc.settings.load import SettingsError, check, read_application, read_deployment
from coordsvc.settings.tree import AppSettings

__all__ = ["AppSettings", "SettingsError", "check", "read_application", "read_deployment"]
