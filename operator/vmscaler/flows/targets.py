"""The file_sd file of a policy: every instance in service, under the service's own job label.

Called by the policy's reconcile, by `finish` and by the clean-up of an instance; it lives as long as there are instances, also
when the policy is gone, and passes to a policy that is made anew under the name: a name is what the file is called by.
"""

from __future__ import annotations

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import PolicyRef
from vmscaler.api.vminstance import InstancePhase, VmInstance
from vmscaler.decide import names
from vmscaler.decide.targets import target_groups
from vmscaler.flows.context import Context
from vmscaler.ports.errors import NotFound, Rejected
from vmscaler.ports.monitoring import TargetFile
from vmscaler.ports.systems import Systems


async def sync_targets(ctx: Context, systems: Systems, policy: PolicyRef) -> int:
    """Write the target file of what is in service; with no instance left and no policy (or one that goes), remove it. Returns how many
    are scraped.

    Raises what MonitoringHosts raises.
    """
    file_name = names.targets_file(policy.namespace, policy.name)
    async with ctx.fences.hold("targets", file_name):
        found = [vmi for vmi in await ctx.kube.list_objects(VmInstance, policy.namespace) if vmi.spec.policy_ref.name == policy.name]
        # One whose deletion the brake holds still serves: its phase changes when the drain begins.
        serving = [vmi for vmi in found if vmi.status.phase == InstancePhase.IN_SERVICE and vmi.status.address]
        if serving or await _wanted(ctx, policy):
            try:
                groups = target_groups(serving)
            except ValueError as error:
                raise Rejected("vmscaler", "TargetsNotRenderable", str(error)) from error
            await systems.hosts.put_targets(TargetFile(file_name=file_name, groups=groups))
        else:
            await systems.hosts.remove_targets(file_name)
        return len(serving)


async def _wanted(ctx: Context, policy: PolicyRef) -> bool:
    """Whether there is a policy of this name that stays: an empty file is a scrape job's normal beginning."""
    try:
        return not (await ctx.kube.get(AutoscalingPolicy, policy.name, policy.namespace)).deleting
    except NotFound:
        return False
