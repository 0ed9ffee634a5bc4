"""The pair of tokens of a policy: born in a Secret of the operator's namespace before any effect; all else are copies of it.

Called by the provisioning (which copies them) and by the gateway (which knows a policy by its step token).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog
from pydantic import ValidationError

from vmscaler.api.meta import PolicyRef
from vmscaler.flows.context import Context
from vmscaler.ports.errors import Conflict, NotFound, Rejected

LABELS = {"app.kubernetes.io/managed-by": "vmscaler", "vmscaler.io/secret": "policy-tokens"}
HOOK, STEP = "hookToken", "stepToken"
NAMESPACE, NAME, UID = "vmscaler.io/policy-namespace", "vmscaler.io/policy-name", "vmscaler.io/policy-uid"

log = structlog.get_logger()


@dataclass(frozen=True)
class Tokens:
    """Never shown: repr hides them."""

    hook: str = field(repr=False)
    step: str = field(repr=False)


def secret_name(uid: str) -> str:
    """The Secret's name, from the policy's UID."""
    return f"vmscaler-tokens-{uid}"


async def ensure_tokens(ctx: Context, ref: PolicyRef) -> Tokens:
    """The policy's tokens; made if there are none. Raises Rejected(SecretIncomplete)."""
    name = secret_name(ref.uid)
    try:
        data = await ctx.kube.get_secret(name)
    except NotFound:
        data = {HOOK: ctx.new_token(), STEP: ctx.new_token()}
        try:
            await ctx.kube.create_secret(name, data, LABELS, {NAMESPACE: ref.namespace, NAME: ref.name, UID: ref.uid})
        except Conflict:
            data = await ctx.kube.get_secret(name)
    if not data.get(HOOK) or not data.get(STEP):
        raise Rejected("kubernetes", "SecretIncomplete", f"Secret {name} lacks {HOOK} or {STEP}: delete it, and both are made anew")
    return Tokens(hook=data[HOOK], step=data[STEP])


async def policies_by_step_token(ctx: Context) -> dict[str, PolicyRef]:
    """step token -> policy, for the gateway. A Secret that somebody spoiled is left out: it is nobody's but its own policy's trouble."""
    found = {}
    for name, notes, data in await ctx.kube.list_secrets(LABELS):
        try:
            found[data[STEP]] = PolicyRef(namespace=notes[NAMESPACE], name=notes[NAME], uid=notes[UID])
        except (KeyError, ValidationError):
            log.warning("tokens left out: the Secret lacks its token or says not whose it is", secret=name)
    found.pop("", None)
    return found
