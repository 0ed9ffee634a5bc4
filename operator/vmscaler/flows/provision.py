"""What a policy needs outside, in the order of creation: job, route, rules, targets. Called by flows/policy.py.

All names are written to status.provisioned before the first effect. Each part finds before it creates, and an already right state is
only read.
"""

from __future__ import annotations

from datetime import timedelta

from vmscaler.api import conditions as c
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, Mode, Provisioned
from vmscaler.api.meta import ConditionStatus, PolicyRef
from vmscaler.api.site import Site
from vmscaler.decide import job, names, routes, rules
from vmscaler.decide.words import plain
from vmscaler.flows.context import Context
from vmscaler.flows.look import Looks, Seen
from vmscaler.flows.status import write_status
from vmscaler.flows.targets import sync_targets
from vmscaler.flows.tokens import Tokens, ensure_tokens
from vmscaler.ports.errors import Conflict, NotFound, Rejected, Retryable
from vmscaler.ports.jenkins import JobState
from vmscaler.ports.monitoring import Route, RuleFile
from vmscaler.ports.systems import Systems

HOOK_PATH = "/generic-webhook-trigger/invoke"
COPIED_ANEW_EACH = timedelta(minutes=10)


def policy_ref(policy: AutoscalingPolicy) -> PolicyRef:
    """The reference to it."""
    return PolicyRef(namespace=policy.customer, name=policy.metadata.name, uid=policy.uid)


async def provision(
    ctx: Context, looks: Looks, policy: AutoscalingPolicy, site: Site, systems: Systems, job_prefix: str
) -> AutoscalingPolicy:
    """Bring job, route, rules and targets to what is wanted, one condition each; the later ones wait for the earlier."""
    off = policy.spec.mode == Mode.OFF
    wanted_job = names.job_name(policy.customer, policy.service_name, job_prefix, policy.spec.jenkins.job_name)
    if off:
        await unwire(looks, policy, systems)
    made = await looks.look(c.JOB_READY, _job(ctx, policy, site, systems, wanted_job))
    tokens = None
    if made is not None:
        policy, tokens = made
    if not off:
        routed = tokens is not None and await looks.look(c.ROUTE_READY, _route(policy, site, systems, tokens)) is not None
        if tokens is None:
            looks.put(c.ROUTE_READY, ConditionStatus.UNKNOWN, "JobNotReady", "comes after the job")
        if routed:
            await looks.look(c.RULES_READY, _rules(policy, site, systems))
        else:
            looks.put(c.RULES_READY, ConditionStatus.UNKNOWN, "RouteNotReady", "come after the route")
    if policy.status.provisioned is not None:
        await looks.look(c.TARGETS_READY, _targets(ctx, policy, systems))
    else:
        looks.put(c.TARGETS_READY, ConditionStatus.UNKNOWN, "JobNotReady", "come after the job")
    return policy


async def unwire(looks: Looks, policy: AutoscalingPolicy, systems: Systems) -> None:
    """No rules, no route: in this order, so that nothing fires at a route that is gone."""
    await looks.look(c.RULES_READY, _no_rules(policy, systems))
    await looks.look(c.ROUTE_READY, _no_route(policy, systems))


async def _job(ctx: Context, policy: AutoscalingPolicy, site: Site, systems: Systems, name: str) -> Seen[tuple[AutoscalingPolicy, Tokens]]:
    jenkins = systems.jenkins
    recorded = policy.status.provisioned or Provisioned()
    state = await jenkins.job(name)
    _refuse_foreign(policy, name, state, made_before=recorded.job == name)
    tokens = await ensure_tokens(ctx, policy_ref(policy))
    if recorded.job is not None and recorded.job != name:
        await _unclaimed(ctx, policy, recorded.job)
        await remove_job(systems, policy, recorded.job)
        recorded = recorded.model_copy(update={"job": None, "job_generation": None})
    generation = recorded.job_generation
    # What was refused under this generation has no builds: it is tried again, and nothing else is written for it.
    fresh = generation is None or (state is None and ctx.refused.get(policy.uid) != generation)
    if generation is None or fresh:
        # A job that is made anew counts its builds from 1 again; the generation keeps them apart. Written before the job is made.
        generation = ctx.new_token()[:10].strip("-_") or "g"
    off = policy.spec.mode == Mode.OFF
    wanted = _config(ctx, policy, site, generation, disabled=off)
    policy = await _intend(ctx, policy, name, generation)
    await _credentials(ctx, policy, systems, tokens, anew=state is None and fresh)
    if state is None:
        try:
            await jenkins.create_job(name, wanted)
        except (Conflict, Rejected):
            ctx.refused[policy.uid] = generation
            raise
    elif job.differs(wanted, state.config_xml):
        await jenkins.update_job(name, wanted)
    ctx.refused.pop(policy.uid, None)
    if off:
        return Seen((policy, tokens), "Disabled", f"mode is Off: job {name} is disabled")
    state = await jenkins.job(name)
    if state is None:
        raise Retryable("jenkins", "JobVanished", f"job {name} is gone again: making it anew", after=1.0)
    if not state.buildable:
        await jenkins.enable_job(name, True)
    others = await _confirm(ctx, policy, systems, name, tokens, wanted)
    also = f", and so do {plain(', '.join(others), 200)}: delete them, each alert starts a build there that is refused" if others else ""
    return Seen((policy, tokens), "Confirmed", f"job {name} answers its hook{also}")


async def _unclaimed(ctx: Context, policy: AutoscalingPolicy, name: str) -> None:
    """Raises Retryable(JobInUse): a build ends with its job (recordings, doDelete), and with it the rollback of its event. Looks anew: a claim
    may have been won since this reconcile began."""
    now = await ctx.kube.get(AutoscalingPolicy, policy.metadata.name, policy.metadata.namespace)
    active = now.status.claim.active if now.status.claim else None
    if active is not None and active.build.job == name:
        said = f"job {name} runs {active.event} (build {active.build.number}) and is replaced once that is over"
        raise Retryable("jenkins", "JobInUse", said, after=ctx.poll)


async def _intend(ctx: Context, policy: AutoscalingPolicy, name: str, generation: str) -> AutoscalingPolicy:
    namespace, own = policy.customer, policy.metadata.name
    provisioned = Provisioned(
        job=name,
        job_generation=generation,
        receiver=names.receiver(namespace, own),
        rule_file=names.rule_file(namespace, own),
        targets_file=names.targets_file(namespace, own),
        token_file=names.token_file(namespace, own),
    )
    wanted = policy.model_copy(update={"status": policy.status.model_copy(update={"provisioned": provisioned})})
    return await write_status(ctx, wanted, base=policy, fields=frozenset({"provisioned"}))


def _refuse_foreign(policy: AutoscalingPolicy, name: str, state: JobState | None, *, made_before: bool) -> None:
    if state is None:
        return
    owner = job.owner(state.description)
    if owner is None:
        said = f"Jenkins has a job {name} that vmscaler did not make: rename it, or set spec.jenkins.jobName"
        if made_before:
            said = f"the description of job {name} was changed and names no policy any more: delete the job, and it is made anew"
        raise Rejected("jenkins", "JobNameTaken", said)
    if (owner.namespace, owner.policy) != (policy.customer, policy.metadata.name):
        raise Rejected(
            "jenkins",
            "JobNameTaken",
            f"job {name} belongs to policy {owner.namespace}/{owner.policy}: set spec.jenkins.jobName to another name",
        )


async def _credentials(ctx: Context, policy: AutoscalingPolicy, systems: Systems, tokens: Tokens, *, anew: bool) -> None:
    said = f"vmscaler: policy {policy.key}"
    for credential, token in ((names.hook_credential(policy.uid), tokens.hook), (names.step_credential(policy.uid), tokens.step)):
        if anew or not await systems.jenkins.has_credential(credential):
            await systems.jenkins.put_secret_text(credential, token, said)


def _config(ctx: Context, policy: AutoscalingPolicy, site: Site, generation: str, *, disabled: bool) -> str:
    values = job.PipelineValues(
        step_command=site.spec.jenkins.step_command,
        gateway_url=ctx.gateway.url,
        gateway_ca_pem=ctx.gateway.ca,
        job_generation=generation,
        step_credential=names.step_credential(policy.uid),
        agent_label=site.spec.jenkins.agent_label,
        limits=job.stage_limits(policy.spec.timeouts),
    )
    inputs = job.JobInputs(
        namespace=policy.customer,
        policy=policy.metadata.name,
        policy_uid=policy.uid,
        display_name=policy.spec.service.display_name if policy.spec.service else "",
        hook_credential=names.hook_credential(policy.uid),
        values=values,
        job_template=ctx.templates.config,
        pipeline_template=ctx.templates.pipeline,
        disabled=disabled,
    )
    try:
        return job.job_config(inputs)
    except ValueError as error:
        raise Rejected("vmscaler", "JobNotRenderable", str(error)) from error


async def _confirm(ctx: Context, policy: AutoscalingPolicy, systems: Systems, name: str, tokens: Tokens, wanted: str) -> list[str]:
    """A 200 is not enough: the dry run must name this job. Where it does not, the credentials are copied anew, since their values cannot be
    read, and the job is posted anew, since its text says nothing of what Jenkins has loaded: a trigger whose plugin came later is not.
    Seldom, as it may be for another reason, and each is a write. Returns the other jobs that answer to the token."""
    answered = await systems.jenkins.dry_run_hook(tokens.hook)
    now, last = ctx.clock.now(), ctx.copied_at.get(policy.uid)
    if name not in answered and (last is None or now - last >= COPIED_ANEW_EACH):
        ctx.copied_at[policy.uid] = now
        await _credentials(ctx, policy, systems, tokens, anew=True)
        await systems.jenkins.update_job(name, wanted)
        answered = await systems.jenkins.dry_run_hook(tokens.hook)
    if name not in answered:
        raise Retryable(
            "jenkins",
            "HookNotConfirmed",
            f"a dry run of the hook does not name job {name}: is the Generic Webhook Trigger installed?",
            after=5.0,
        )
    return [other for other in answered if other != name]


async def remove_job(systems: Systems, policy: AutoscalingPolicy, name: str) -> None:
    """Delete the policy's job; one that is not its own stays."""
    state = await systems.jenkins.job(name)
    if state is None:
        return
    owner = job.owner(state.description)
    if owner is not None and (owner.namespace, owner.policy) == (policy.customer, policy.metadata.name):
        await systems.jenkins.delete_job(name)


async def _route(policy: AutoscalingPolicy, site: Site, systems: Systems, tokens: Tokens) -> Seen[bool]:
    namespace, own, timing = policy.customer, policy.metadata.name, site.spec.alertmanager
    token_file = names.token_file(namespace, own)
    await systems.hosts.put_token(token_file, tokens.hook)
    jenkins = site.spec.jenkins
    route = Route(
        name=names.receiver(namespace, own),
        matchers=routes.policy_matchers(namespace, own, site.metadata.name),
        url=(jenkins.hook_url or jenkins.url).rstrip("/") + HOOK_PATH,
        token_file=systems.hosts.token_path(token_file),
        ca_file=jenkins.hook_ca_file,
        group_wait=timing.group_wait,
        group_interval=timing.group_interval,
        repeat_interval=timing.repeat_interval,
    )
    await systems.hosts.put_route(route)
    return Seen(True, "Loaded", f"Alertmanager has loaded receiver and route {route.name}")


async def _rules(policy: AutoscalingPolicy, site: Site, systems: Systems) -> Seen[bool]:
    if policy.spec.monitoring.triggers:
        raise Rejected(
            "vmscaler", "TriggersNotSupported", "spec.monitoring.triggers is not supported yet: remove it and use the thresholds"
        )
    file_name = names.rule_file(policy.customer, policy.metadata.name)
    try:
        document = rules.rule_document(policy, site_name=site.metadata.name, evaluation_interval=site.spec.prometheus.evaluation_interval)
    except ValueError as error:
        raise Rejected("vmscaler", "RulesNotRenderable", str(error)) from error
    await systems.hosts.put_rules(RuleFile(file_name=file_name, document=document))
    await _figures_seen(policy, systems, file_name)
    return Seen(True, "Loaded", f"Prometheus has loaded {file_name}")


async def _figures_seen(policy: AutoscalingPolicy, systems: Systems, file_name: str) -> None:
    """Rules that find no series never fire, and nothing else would tell of it. Raises Retryable(NoFigures)."""
    for expression in rules.figures(policy):
        if await systems.prometheus.finds(expression):
            return
    monitoring = policy.spec.monitoring
    said = (
        f"Prometheus has loaded {file_name} but has no figures for it, so that nothing can fire: is job {monitoring.prometheus_job!r} the job"
        " label of the service's series, do matchLabels and exporter fit them, are they scraped, at least twice within"
        f" spec.monitoring.window ({monitoring.window})?"
    )
    raise Retryable("prometheus", "NoFigures", said, after=10.0)


async def _targets(ctx: Context, policy: AutoscalingPolicy, systems: Systems) -> Seen[int]:
    count = await sync_targets(ctx, systems, policy_ref(policy))
    return Seen(
        count,
        "Written",
        f"{count} instance{'' if count == 1 else 's'} of ours scraped through {names.targets_file(policy.customer, policy.metadata.name)}",
    )


async def _no_rules(policy: AutoscalingPolicy, systems: Systems) -> Seen[bool]:
    await systems.hosts.remove_rules(names.rule_file(policy.customer, policy.metadata.name))
    return Seen(True, "Off", "mode is Off: there are no rules")


async def _no_route(policy: AutoscalingPolicy, systems: Systems) -> Seen[bool]:
    await systems.hosts.remove_route(names.receiver(policy.customer, policy.metadata.name))
    return Seen(True, "Off", "mode is Off: there is no route")


async def unprovision(ctx: Context, policy: AutoscalingPolicy, systems: Systems) -> None:
    """Rules, route, receiver, token file, job, credentials: nothing ever fires at a thing that is gone. Every part may be gone already."""
    ctx.copied_at.pop(policy.uid, None)
    ctx.refused.pop(policy.uid, None)
    namespace, own = policy.customer, policy.metadata.name
    await systems.hosts.remove_rules(names.rule_file(namespace, own))
    await systems.hosts.remove_route(names.receiver(namespace, own))
    await systems.hosts.remove_token(names.token_file(namespace, own))
    recorded = policy.status.provisioned
    if recorded is not None and recorded.job is not None:
        await remove_job(systems, policy, recorded.job)
    for credential in (names.hook_credential(policy.uid), names.step_credential(policy.uid)):
        try:
            await systems.jenkins.delete_credential(credential)
        except NotFound:
            continue
