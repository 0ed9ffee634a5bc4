"""The file_sd file of a policy: every instance in service, under the service's own job label.

Called by the policy's reconcile, by `finish` and by the clean-up of an instance; it lives as long as there are instances, also
when the policy is gone.
"""

from __future__ import annotations

from vmscaler.api.meta import PolicyRef
from vmscaler.api.vminstance import InstancePhase, VmInstance
from vmscaler.decide import names
from vmscaler.decide.instance import POLICY_UID
from vmscaler.decide.targets import target_groups
from vmscaler.flows.context import Context
from vmscaler.ports.monitoring import TargetFile
from vmscaler.ports.systems import Systems


async def sync_targets(ctx: Context, systems: Systems, policy: PolicyRef, *, keep_empty: bool) -> int:
    """Write the target file of what is in service; without any, remove it unless `keep_empty`. Returns how many there are.

    Raises what MonitoringHosts raises.
    """
    found = await ctx.kube.list_objects(VmInstance, policy.namespace, labels={POLICY_UID: policy.uid})
    serving = [vmi for vmi in found if vmi.status.phase == InstancePhase.IN_SERVICE and not vmi.deleting and vmi.status.address]
    file_name = names.targets_file(policy.namespace, policy.name)
    if not serving and not keep_empty:
        await systems.hosts.remove_targets(file_name)
        return 0
    await systems.hosts.put_targets(TargetFile(file_name=file_name, groups=target_groups(serving)))
    return len(serving)
