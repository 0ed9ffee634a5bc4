"""Routes of builds: info, console, stop, description, delete (recordings/jenkins/03)."""

from __future__ import annotations

from urllib.parse import quote

from aiohttp import web

from lab.jenkins import console, pages
from lab.jenkins.auth import USER
from lab.jenkins.builds import Build
from lab.jenkins.jobs import Jobs
from lab.jenkins.runner import Runner
from lab.jenkins.tree import TreeSyntaxError, api_json

_BUILD = "/job/{job}/{build}"
_TEXT = "text/plain;charset=utf-8"


class Runs:
    """What can be asked of a build, by its number or `lastBuild` and so on."""

    def __init__(self, jobs: Jobs, runner: Runner) -> None:
        self._jobs = jobs
        self._runner = runner

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get(f"{_BUILD}/", self._page),
            web.get(f"{_BUILD}/api/json", self._info),
            web.get(f"{_BUILD}/consoleText", self._console),
            web.get(f"{_BUILD}/logText/progressiveText", self._progressive),
            web.post(f"{_BUILD}/logText/progressiveText", self._progressive),
            web.post(f"{_BUILD}/stop", self._stop),
            web.post(f"{_BUILD}/term", self._term),
            web.post(f"{_BUILD}/kill", self._kill),
            web.post(f"{_BUILD}/submitDescription", self._describe),
            web.post(f"{_BUILD}/doDelete", self._delete),
        ]

    def _find(self, request: web.Request) -> Build:
        build = self._jobs.find(request).alias(request.match_info["build"])
        if build is None:
            raise web.HTTPNotFound
        return build

    @staticmethod
    def _back(build: Build) -> web.Response:
        return pages.redirect(f"/job/{quote(build.job.name)}/{build.number}/")

    async def _page(self, request: web.Request) -> web.Response:
        """Where stop's redirect leads; clients such as python-jenkins follow it."""
        build = self._find(request)
        return pages.page(200, f"{build.job.name} {build.display_name} [Jenkins]", f"Build {build.display_name}")

    async def _info(self, request: web.Request) -> web.Response:
        build = self._find(request)
        try:
            return pages.api(api_json(build.bean(), dict(request.query)))
        except TreeSyntaxError:
            return pages.oops()

    async def _console(self, request: web.Request) -> web.Response:
        text = console.read_all(self._find(request).log)
        return pages.reply(200, text.decode(errors="replace"), _TEXT)

    async def _progressive(self, request: web.Request) -> web.Response:
        build = self._find(request)
        form = await request.post() if request.method == "POST" else {}
        start = str(form.get("start") or request.query.get("start", "0"))
        more = build.building
        text, size = console.read_from(build.log, int(start) if start.isdecimal() else 0)
        # Unlike consoleText it sends CR LF (recordings/jenkins/03).
        shown = text.decode(errors="replace").replace("\n", "\r\n")
        answer = pages.reply(200, shown, _TEXT, X_Text_Size=str(size))
        if more:
            answer.headers["X-More-Data"] = "true"
        return answer

    async def _stop(self, request: web.Request) -> web.Response:
        build = self._find(request)
        self._runner.stop(build, request[USER])
        return self._back(build)

    async def _term(self, request: web.Request) -> web.Response:
        build = self._find(request)
        self._runner.term(build)
        return self._back(build)

    async def _kill(self, request: web.Request) -> web.Response:
        build = self._find(request)
        self._runner.kill(build)
        return self._back(build)

    async def _describe(self, request: web.Request) -> web.Response:
        build, form = self._find(request), await request.post()
        build.description = str(form.get("description", "")) or None
        return self._back(build)

    async def _delete(self, request: web.Request) -> web.Response:
        build = self._find(request)
        build.job.forget(build)
        return pages.redirect(f"/job/{quote(build.job.name)}/")
