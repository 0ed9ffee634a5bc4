"""vCenter through pyvmomi: the only place for its SDK. Facts of vSphere, "So" 1-9."""

from vmscaler.adapters.vsphere.client import VSphereClient

__all__ = ["VSphereClient"]
