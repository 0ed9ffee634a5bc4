"""Looking at pools and members: what is there under which name. Called by `client`."""

from __future__ import annotations

from vmscaler.adapters.bigip import names, shapes
from vmscaler.adapters.bigip.unit import Unit
from vmscaler.ports.bigip import SYSTEM, Member, Pool
from vmscaler.ports.errors import NotFound, Rejected


def members_url(path: str, name: str = "") -> str:
    """The path of a pool's members, or of one. Raises Rejected(NotAName)."""
    below = f"/{names.segment(names.below(path, name))}" if name else ""
    return f"/mgmt/tm/ltm/pool/{names.segment(path)}/members{below}"


async def pool_at(unit: Unit, path: str) -> Pool:
    """The pool of this full path with its members. Raises NotFound, Retryable, Untrusted, Rejected."""
    what = f"pool {path}"
    return shapes.read(shapes.pool, await unit.get(f"/mgmt/tm/ltm/pool/{names.segment(path)}?expandSubcollections=true", what), what)


async def find(unit: Unit, path: str, name: str) -> Member | None:
    """The member of this very name, else the only one that is called so but for its route domain."""
    what = f"member {name} of {path}"
    try:
        return shapes.read(shapes.member, await unit.get(members_url(path, name), what), what)
    except NotFound:
        pass
    if "%" in name:
        return None
    try:
        return named((await pool_at(unit, path)).members, path, name)
    except NotFound:
        return None


async def existing(unit: Unit, path: str, name: str) -> Member:
    """As `find`. Raises NotFound."""
    member = await find(unit, path, name)
    if member is None:
        raise NotFound(SYSTEM, "NotFound", f"{path} has no member {name}")
    return member


def named(members: tuple[Member, ...], path: str, name: str) -> Member | None:
    """The member of `path` called so, exactly or but for its route domain. Raises Rejected(MemberAmbiguous)."""
    exact = [member for member in members if member.name == name]
    called = exact or [member for member in members if names.bare(member.name) == name]
    if len(called) > 1:
        raise Rejected(
            SYSTEM, "MemberAmbiguous", f"{path} has {' and '.join(m.name for m in called)}: it is not clear which of them is {name}"
        )
    return called[0] if called else None
