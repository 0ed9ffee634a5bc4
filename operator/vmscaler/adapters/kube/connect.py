"""An API client from a kubeconfig or from inside a pod. Everything is an argument: nothing ambient is read.

Called by bootstrap; the caller closes the client (`await client.close()`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config.incluster_config import (
    SERVICE_CERT_FILENAME,
    SERVICE_HOST_ENV_NAME,
    SERVICE_PORT_ENV_NAME,
    SERVICE_TOKEN_FILENAME,
    InClusterConfigLoader,
)

from vmscaler.ports.errors import Rejected

SYSTEM = "kubernetes"
# The library says that it is typed, but these are not.
_config: Any = config
_InCluster: Any = InClusterConfigLoader


async def from_kubeconfig(path: Path, context: str | None = None) -> ApiClient:
    """A client for a context (default: the file's current one). Raises Rejected(KubeconfigInvalid)."""
    if not _any_is_there(path):
        # The library logs a warning and then misses a key in nothing.
        raise Rejected(SYSTEM, "KubeconfigInvalid", f"there is no kubeconfig file {path}")
    configuration = _configuration()
    try:
        await _config.load_kube_config(config_file=str(path), context=context, client_configuration=configuration, persist_config=False)
    except (OSError, config.ConfigException) as error:
        raise Rejected(SYSTEM, "KubeconfigInvalid", f"{path}: {error}") from error
    except Exception as error:
        # A file that is no kubeconfig ends in whatever the library's code does with it: YAML's errors, TypeError, AttributeError.
        first = str(error).partition("\n")[0]
        raise Rejected(SYSTEM, "KubeconfigInvalid", f"{path} is no kubeconfig that can be read: {type(error).__name__}: {first}") from error
    return _client(configuration)


def in_cluster(host: str, port: int, *, token_file: str = SERVICE_TOKEN_FILENAME, ca_file: str = SERVICE_CERT_FILENAME) -> ApiClient:
    """A client for the cluster this pod runs in; the token is read again every minute, because the kubelet rotates it.

    `host` and `port` are what the kubelet puts into KUBERNETES_SERVICE_HOST and _PORT. Raises Rejected(InClusterConfigInvalid).
    """
    configuration = _configuration()
    environment = {SERVICE_HOST_ENV_NAME: host, SERVICE_PORT_ENV_NAME: str(port)}
    try:
        _InCluster(token_file, ca_file, environ=environment).load_and_set(configuration)
    except (OSError, config.ConfigException) as error:
        said = f"this is no pod with a mounted ServiceAccount ({str(error).rstrip('.')}): outside of one, name a kubeconfig (VMSCALER_KUBECONFIG)"
        raise Rejected(SYSTEM, "InClusterConfigInvalid", said) from error
    return _client(configuration)


def _any_is_there(path: Path) -> bool:
    """Of one file, or of several as kubectl has them in KUBECONFIG: joined by the system's separator of paths."""
    return any(Path(one).is_file() for one in str(path).split(os.pathsep))


def _configuration() -> Any:
    # Not Configuration(): its metaclass may hand out a copy of a process-wide default.
    return type.__call__(Configuration)


def _client(configuration: Any) -> ApiClient:
    configuration.client_session_kwargs = {"trust_env": False}  # no proxy and no .netrc from the environment
    client = ApiClient(configuration=configuration)
    client.user_agent = "vmscaler"
    return client
