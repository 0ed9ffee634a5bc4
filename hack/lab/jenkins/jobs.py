"""Routes of jobs: createItem, config.xml, delete, rename, copy, enable, disable, build (recordings/jenkins/02 and 06)."""

from __future__ import annotations

import re
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

from aiohttp import web

from lab.jenkins import pages
from lab.jenkins.auth import USER
from lab.jenkins.builds import Cause, ParameterValue
from lab.jenkins.items import JOB, Job
from lab.jenkins.runner import Runner
from lab.jenkins.tree import Bean, TreeSyntaxError, api_json
from lab.jenkins.xmlstore import ConfigError

_UNSAFE = re.compile(r"[?*/\\%!@#$^&|<>\[\]:;]")
_JOB = "/job/{job}"


def name_problem(name: str) -> str | None:
    """Why Jenkins takes no such name."""
    if not name.strip():
        return "No name is specified"
    if name in (".", ".."):
        return f"“{name}” is not an allowed name"
    if found := _UNSAFE.search(name):
        return f"‘{found[0]}’ is an unsafe character"
    if any(ord(c) < 32 for c in name):
        return f"No control code is allowed: {name!r}"
    return "A name cannot end with ‘.’" if name.endswith(".") else None


class Jobs:
    """The jobs by name; names are compared without case."""

    def __init__(self, runner: Runner, home: Path, root_url: str) -> None:
        self._runner = runner
        self._home = home
        self.root_url = root_url
        self._by_name: dict[str, Job] = {}

    def all(self) -> list[Job]:
        """Sorted by name, as Jenkins lists them."""
        return [self._by_name[key] for key in sorted(self._by_name)]

    def find(self, request: web.Request) -> Job:
        """The job that the URL names. Raises HTTPNotFound."""
        job = self._by_name.get(request.match_info["job"].lower())
        if job is None:
            raise web.HTTPNotFound
        return job

    def bean(self, job: Job, cls: str | None = JOB) -> Bean:
        """What the API shows, with its queue item."""
        item = self._runner.queue.of_job(job)
        return job.bean(item.bean() if item else None, cls)

    def routes(self) -> list[web.RouteDef]:
        """All of them; `_form` also for a browser's POST without a body."""
        posts: dict[str, Callable[[web.Request], Awaitable[web.Response]]] = {
            "config.xml": self._reconfigure,
            "description": self._describe,
            "doDelete": self._delete,
            "doRename": self._rename,
            "confirmRename": self._rename,
            "enable": self._enable,
            "disable": self._disable,
            "build": self._build,
            "buildWithParameters": self._build_with_parameters,
        }
        return [
            web.post("/createItem", self._create),
            web.get("/checkJobName", self._check_name),
            web.get(f"{_JOB}/api/json", self._info),
            web.get(f"{_JOB}/config.xml", self._config),
            web.get(f"{_JOB}/description", self._description),
            web.get(_JOB, self._to_page),
            web.get(f"{_JOB}/", self._page),
            web.get(f"{_JOB}/configure", self._page),
            web.delete(f"{_JOB}/", self._http_delete),
            *(web.post(f"{_JOB}/{name}", handler) for name, handler in posts.items()),
        ]

    async def _to_page(self, request: web.Request) -> web.Response:
        return pages.redirect(f"/job/{quote(self.find(request).name)}/")

    async def _page(self, request: web.Request) -> web.Response:
        """Where redirects lead; clients such as python-jenkins follow them."""
        return pages.page(200, f"{self.find(request).name} [Jenkins]", f"Status {self.find(request).name}")

    async def _create(self, request: web.Request) -> web.Response:
        name = request.query.get("name", "")
        if problem := name_problem(name):
            return pages.refused(problem)
        if name.lower() in self._by_name:
            return pages.refused(f"A job already exists with the name ‘{name}’")
        if request.query.get("mode") == "copy":
            return self._copy(name, request.query.get("from", ""))
        if not request.headers.get("Content-Type"):
            return pages.refused("No Content-Type header set")
        try:
            self._by_name[name.lower()] = Job(name, await request.text(), self._home, self.root_url)
        except ConfigError:
            return pages.oops()
        return pages.reply(200)

    def _copy(self, name: str, source: str) -> web.Response:
        original = self._by_name.get(source.lower())
        if original is None:
            return pages.refused(f"No such job: {source}")
        job = self._by_name[name.lower()] = Job(name, original.text, self._home, self.root_url)
        job.held_back = True
        return pages.redirect(f"/job/{quote(name)}/configure")

    async def _check_name(self, request: web.Request) -> web.Response:
        answer = pages.page(200, None, name_problem(request.query.get("value", "")) or "")
        for header in ("Cache-Control", "X-Hudson", *pages.JENKINS):
            del answer.headers[header]
        return answer

    async def _info(self, request: web.Request) -> web.Response:
        try:
            return pages.api(api_json(self.bean(self.find(request)), dict(request.query)))
        except TreeSyntaxError:
            return pages.oops()

    async def _config(self, request: web.Request) -> web.Response:
        return pages.reply(200, self.find(request).text, "application/xml")

    async def _reconfigure(self, request: web.Request) -> web.Response:
        job = self.find(request)
        try:
            job.configure(await request.text())
        except ConfigError:
            return pages.oops()
        return pages.reply(200)

    async def _description(self, request: web.Request) -> web.Response:
        return pages.reply(200, self.find(request).description, "text/plain;charset=utf-8")

    async def _describe(self, request: web.Request) -> web.Response:
        job, form = self.find(request), await request.post()
        job.describe(str(form.get("description", "")))
        return pages.reply(204)

    async def _remove(self, request: web.Request) -> bool:
        job = self.find(request)
        for item in [i for i in self._runner.queue.items.values() if i.job is job]:
            item.last_color = "disabled"
        if not await self._runner.stop_all(job, request[USER]):
            return False
        self._by_name.pop(job.name.lower(), None)
        shutil.rmtree(job.folder, ignore_errors=True)
        return True

    async def _delete(self, request: web.Request) -> web.Response:
        if not await self._remove(request):
            return pages.refused(f"Failed to interrupt and stop the builds of {request.match_info['job']}")
        return pages.redirect("/")

    async def _http_delete(self, request: web.Request) -> web.Response:
        return pages.reply(204) if await self._remove(request) else pages.refused("Failed to interrupt and stop the builds")

    async def _rename(self, request: web.Request) -> web.Response:
        job = self.find(request)
        form = await request.post()
        new = str(form.get("newName") or request.query.get("newName", ""))
        if problem := name_problem(new):
            return pages.refused(problem)
        if new.lower() in self._by_name and self._by_name[new.lower()] is not job:
            return pages.refused(f"The name “{new}” is already in use.", f"{job.name} ")
        del self._by_name[job.name.lower()]
        old_folder, job.name = job.folder, new
        old_folder.rename(job.folder)
        for build in job.builds.values():
            build.log = job.folder / "builds" / str(build.number) / "log"
        self._by_name[new.lower()] = job
        return pages.redirect(f"/job/{quote(new)}")

    async def _enable(self, request: web.Request) -> web.Response:
        return self._switch(self.find(request), off=False)

    async def _disable(self, request: web.Request) -> web.Response:
        return self._switch(self.find(request), off=True)

    def _switch(self, job: Job, *, off: bool) -> web.Response:
        job.disable(off)
        if off:
            self._runner.queue.cancel_job(job)
        return pages.redirect(f"/job/{quote(job.name)}/")

    def _queued(self, request: web.Request, job: Job, parameters: list[ParameterValue] | None) -> web.Response:
        delay_text = request.query.get("delay", "")
        delay = float(delay_text.removesuffix("sec")) if re.fullmatch(r"\d+(sec)?", delay_text) else None
        item = self._runner.queue.schedule(job, Cause.by_user(request[USER]), parameters, delay=delay)
        return pages.reply(201, Location=f"{self.root_url}queue/item/{item.id}/")

    async def _build(self, request: web.Request) -> web.Response:
        job = self.find(request)
        if not job.buildable:
            return pages.oops(409)
        if job.parameters:
            return pages.container_error(400, "Nothing is submitted", request.path)
        return self._queued(request, job, None)

    async def _build_with_parameters(self, request: web.Request) -> web.Response:
        job = self.find(request)
        if not job.buildable:
            return pages.oops(409)
        if not job.parameters:
            return pages.oops()
        given = {name: str(value) for name, value in {**request.query, **await request.post()}.items()}
        values = [ParameterValue(p.kind, p.name, given.get(p.name, p.default)) for p in job.parameters]
        return self._queued(request, job, values)
