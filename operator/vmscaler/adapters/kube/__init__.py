"""Kubernetes through the official client's asynchronous half (`kubernetes.aio`)."""

from vmscaler.adapters.kube.client import KubeClient
from vmscaler.adapters.kube.connect import from_kubeconfig, in_cluster
from vmscaler.adapters.kube.lease import LeaseLock, heartbeat

__all__ = ["KubeClient", "LeaseLock", "from_kubeconfig", "heartbeat", "in_cluster"]
