"""Routes of Jenkins itself: the dashboard, its API, the queue, quiet down, nodes (recordings/jenkins/03 and 06)."""

from __future__ import annotations

from aiohttp import web

from lab.jenkins import pages
from lab.jenkins.builds import RUN, Build, now_ms
from lab.jenkins.config import Config
from lab.jenkins.jobs import Jobs
from lab.jenkins.runner import Runner
from lab.jenkins.tree import Bean, TreeSyntaxError, api_json

_NODE = "the Jenkins controller's built-in node"
_PLACEHOLDER = "org.jenkinsci.plugins.workflow.support.steps.ExecutorStepExecution$PlaceholderTask$PlaceholderExecutable"
_MONITOR = "hudson.node_monitors."
_GIB = 1 << 30


class Root:
    """The URLs that belong to no job."""

    def __init__(self, config: Config, jobs: Jobs, runner: Runner) -> None:
        self._config = config
        self._jobs = jobs
        self._queue = runner.queue
        self._started = now_ms()

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get("/", self._dashboard),
            web.get("/api/json", self._info),
            web.get("/queue/api/json", self._queue_list),
            web.get("/queue/item/{id}/api/json", self._queue_item),
            web.post("/queue/cancelItem", self._cancel),
            web.post("/quietDown", self._quiet_down),
            web.post("/cancelQuietDown", self._cancel_quiet_down),
            web.get("/computer/api/json", self._computers),
            web.get("/computer/{node}/api/json", self._computer),
        ]

    @staticmethod
    def _answer(bean: Bean, request: web.Request) -> web.Response:
        try:
            return pages.api(api_json(bean, dict(request.query)))
        except TreeSyntaxError:
            return pages.oops()

    async def _dashboard(self, _request: web.Request) -> web.Response:
        return pages.page(200, "Dashboard [Jenkins]", "Skip to content Jenkins admin log out Dashboard")

    async def _info(self, request: web.Request) -> web.Response:
        url, quieting = self._jobs.root_url, self._queue.quieting
        view = Bean("hudson.model.AllView").many(2, name="all", url=url)
        bean = Bean("hudson.model.Hudson").add("assignedLabels", lambda: self._labels())
        bean.many(mode="NORMAL", nodeDescription=_NODE, nodeName="", numExecutors=self._config.executors, description=None)
        bean.add("jobs", lambda: [self._jobs.bean(job) for job in self._jobs.all()]).add("overallLoad", {})
        bean.add("primaryView", view).many(quietDownReason=quieting or None, quietingDown=quieting is not None)
        bean.many(slaveAgentPort=0, unlabeledLoad=Bean("jenkins.model.UnlabeledLoadStatistics"), url=url)
        return self._answer(bean.many(useCrumbs=True, useSecurity=True).add("views", [view]), request)

    def _labels(self) -> list[Bean]:
        return [Bean(None).add("name", name, 3) for name in self._config.labels]

    async def _queue_list(self, request: web.Request) -> web.Response:
        items = list(self._queue.items.values())
        bean = Bean("hudson.model.Queue").add("discoverableItems", list)
        # Items are exported inline: the listing shows as much of them as their own page.
        return self._answer(bean.add("items", [item.bean() for item in items], 99), request)

    async def _queue_item(self, request: web.Request) -> web.Response:
        number = request.match_info["id"]
        item = None
        if number.isdecimal():
            item = self._queue.items.get(int(number)) or self._queue.left.get(int(number))
        if item is None:
            raise web.HTTPNotFound
        return self._answer(item.bean(gone=item.job not in self._jobs.all()), request)

    async def _cancel(self, request: web.Request) -> web.Response:
        number = request.query.get("id", "")
        if not number.isdecimal() or int(number) in self._queue.left:
            return pages.oops()
        item = self._queue.items.get(int(number))
        if item is None:
            return pages.oops(404)
        self._queue.cancel(item)
        return pages.reply(204)

    async def _quiet_down(self, request: web.Request) -> web.Response:
        self._queue.quieting = request.query.get("message", "")
        return pages.redirect("/")

    async def _cancel_quiet_down(self, _request: web.Request) -> web.Response:
        self._queue.quieting = None
        self._queue.scan()
        return pages.redirect("/")

    async def _computers(self, request: web.Request) -> web.Response:
        busy = len(self._queue.busy)
        bean = Bean("hudson.model.ComputerSet").many(busyExecutors=busy).add("computer", lambda: [self._node()])
        return self._answer(bean.many(displayName="Nodes", totalExecutors=self._config.executors), request)

    async def _computer(self, request: web.Request) -> web.Response:
        if request.match_info["node"] not in ("(built-in)", "(master)"):
            raise web.HTTPNotFound
        return self._answer(self._node(), request)

    def _node(self) -> Bean:
        idle = not self._queue.busy
        bean = Bean("hudson.model.Hudson$MasterComputer")
        bean.add("actions", list, 2).add("assignedLabels", self._labels, 2).add("description", _NODE, 2)
        bean.many(2, displayName="Built-In Node").add("executors", lambda: [self._executor(n) for n in range(self._config.executors)], 2)
        bean.many(2, icon="symbol-computer", iconClassName="symbol-computer", idle=idle, jnlpAgent=False, launchSupported=True)
        bean.many(2, loadStatistics=Bean("hudson.model.Label$1"), manualLaunchAllowed=True, monitorData=self._monitors)
        bean.many(2, numExecutors=self._config.executors, offline=False, offlineCause=None, offlineCauseReason="")
        return bean.add("oneOffExecutors", self._one_off, 2).many(2, temporarilyOffline=False)

    def _running(self) -> list[Build]:
        return [build for job in self._jobs.all() for build in job.running]

    def _executor(self, number: int) -> Bean:
        context = self._queue.busy.get(number)
        executable = None
        if context is not None:
            build = context.build
            executable = Bean(_PLACEHOLDER).many(number=build.number, url=getattr(build, "url", ""))
        bean = Bean(None).many(currentExecutable=executable, idle=context is None, likelyStuck=False)
        return bean.many(number=number, progress=-1)

    def _one_off(self) -> list[Bean]:
        def one(build: Build) -> Bean:
            return Bean(None).add("currentExecutable", Bean(RUN).many(number=build.number, url=build.url))

        return [one(build) for build in self._running()]

    def _monitors(self) -> dict[str, object]:
        """Sample figures; their shape is the recorded one."""
        disk = {"size": 100 * _GIB, "threshold": _GIB, "totalSize": 100 * _GIB, "warningThreshold": 2 * _GIB}
        home = str(self._config.home)
        space = {"_class": f"{_MONITOR}DiskSpaceMonitorDescriptor$DiskSpace", "timestamp": self._started}
        memory = dict.fromkeys(("availablePhysicalMemory", "availableSwapSpace", "totalPhysicalMemory", "totalSwapSpace"), 4 * _GIB)
        response = {"_class": f"{_MONITOR}ResponseTimeMonitor$Data", "timestamp": self._started, "average": 0}
        return {
            f"{_MONITOR}SwapSpaceMonitor": {"_class": f"{_MONITOR}SwapSpaceMonitor$MemoryUsage2"} | memory,
            f"{_MONITOR}TemporarySpaceMonitor": space | {"path": f"{home}/tmp"} | disk,
            f"{_MONITOR}DiskSpaceMonitor": space | {"path": home} | disk,
            f"{_MONITOR}ArchitectureMonitor": "Linux (amd64)",
            f"{_MONITOR}ResponseTimeMonitor": response,
            f"{_MONITOR}ClockMonitor": {"_class": "hudson.util.ClockDifference", "diff": 0},
        }
