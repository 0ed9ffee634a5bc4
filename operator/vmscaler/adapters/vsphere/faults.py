"""From pyvmomi's faults and socket errors to the taxonomy of ports/errors.py: the one place for it. Called by session.py and client.py.

pyvmomi 9.1 raises ssl and http.client errors as they are, and the server's faults as exceptions of their own types.
"""

from __future__ import annotations

import ssl
from typing import Any

from pyVmomi import vim, vmodl

from vmscaler.adapters.vsphere.stub import GivenUp
from vmscaler.decide.words import plain
from vmscaler.ports.errors import Conflict, NotFound, OutsideError, Rejected, Retryable, Untrusted
from vmscaler.ports.vsphere import SYSTEM

# What passes by itself: somebody else's operation, a host that is away, a state that is another one by now, a server in trouble.
PASSING: tuple[type[Exception], ...] = (
    vim.fault.TaskInProgress,
    vim.fault.InvalidState,  # InvalidPowerState among them
    vim.fault.ConcurrentAccess,
    vim.fault.ResourceInUse,
    vim.fault.FileLocked,
    vim.fault.Timedout,
    vim.fault.HostConnectFault,
    vmodl.fault.HostCommunication,
    vmodl.fault.SystemError,
)


def name_of(fault: Any) -> str:
    """A fault's type without its package: DuplicateName."""
    return type(fault).__name__.rpartition(".")[2]


def message_of(fault: Any) -> str:
    """A fault's own words, bounded and on one line."""
    text = getattr(fault, "msg", None) or getattr(fault, "localizedMessage", None) or name_of(fault)
    return plain(str(text), 300)


def of_fault(what: str, fault: Any) -> OutsideError:
    """What the server said, of a call or as the end of a task."""
    if isinstance(fault, vmodl.fault.ManagedObjectNotFound):
        return NotFound(SYSTEM, "ObjectNotFound", f"{what}: vCenter has no such object any more")
    if isinstance(fault, vim.fault.NotAuthenticated):
        return Retryable(SYSTEM, "NotAuthenticated", f"{what}: the session has ended", after=1.0)
    if isinstance(fault, vim.fault.NoPermission):
        privilege = f"it lacks the privilege {fault.privilegeId}" if fault.privilegeId else message_of(fault)
        return Rejected(SYSTEM, "NotPermitted", f"{what}: the vCenter user may not do that: {privilege}")
    if isinstance(fault, vmodl.fault.SecurityError):
        return Rejected(SYSTEM, "NotPermitted", f"{what}: the vCenter user may not do that: {message_of(fault)}")
    if isinstance(fault, vim.fault.DuplicateName):
        return Conflict(SYSTEM, "DuplicateName", f"{what}: the name is taken")
    if isinstance(fault, PASSING):
        return Retryable(SYSTEM, name_of(fault), f"{what}: {message_of(fault)}", after=2.0)
    return Rejected(SYSTEM, name_of(fault), f"{what}: {message_of(fault)}")


def of_error(what: str, url: str, error: Exception) -> OutsideError:
    """Whatever a call of the SDK raised."""
    if isinstance(error, vmodl.MethodFault):
        return of_fault(what, error)
    where = f"{what}: {url}"
    if isinstance(error, ssl.SSLCertVerificationError):
        said = f"{where}: {error.verify_message}: put the CA of its certificate into spec.vcenter.caBundle"
        return Untrusted(SYSTEM, "CertificateNotTrusted", said, after=15.0)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Untrusted(
            SYSTEM, "TlsFailed", f"{where} does not speak TLS as we need it: {getattr(error, 'reason', None) or error}", after=15.0
        )
    if isinstance(error, TimeoutError | GivenUp):
        return Retryable(SYSTEM, "Timeout", f"{where} did not answer in time", after=5.0)
    if isinstance(error, OSError):
        return Retryable(SYSTEM, "Unreachable", f"{where} cannot be reached: {error or type(error).__name__}", after=5.0)
    # http.client's errors (503 and the like, a connection that ends amid an answer), an answer that is no SOAP
    return Retryable(SYSTEM, "UnexpectedAnswer", f"{where}: {type(error).__name__}: {plain(str(error), 200)}", after=5.0)
