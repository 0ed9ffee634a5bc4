"""Jenkins through python-jenkins, and through the same session for what python-jenkins has no call for (facts/jenkins.md)."""

from vmscaler.adapters.jenkins.client import JenkinsClient
from vmscaler.adapters.jenkins.templates import default_folder, load_templates

__all__ = ["JenkinsClient", "default_folder", "load_templates"]
