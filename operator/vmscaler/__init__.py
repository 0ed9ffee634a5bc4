"""Vmscaler: auto-scaling for services that run on vSphere VMs behind a BIG-IP. docs/architecture.md says how the parts fit."""

__version__ = "0.1.0"
