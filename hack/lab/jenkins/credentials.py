"""The system store of credentials, domain `_`: secret text and username with password (recordings/jenkins/04)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass
from urllib.parse import quote
from xml.sax.saxutils import escape

from aiohttp import web

from lab.jenkins import pages
from lab.jenkins.tree import Bean, TreeSyntaxError, api_json

STORE = "/credentials/store/system/domain/_"
SECRET_TEXT = "org.jenkinsci.plugins.plaincredentials.impl.StringCredentialsImpl"
USER_PASSWORD = "com.cloudbees.plugins.credentials.impl.UsernamePasswordCredentialsImpl"
_WRAPPER = "com.cloudbees.plugins.credentials.CredentialsStoreAction$"
_TYPES = {
    SECRET_TEXT: ("Secret text", "plain-credentials@183.va_de8f1dd5a_2b_", "secret", ("scope", "id", "description")),
    USER_PASSWORD: (
        "Username with password",
        "credentials@1405.vb_cda_74a_f8974",
        "password",
        ("scope", "id", "description", "username"),
    ),
}


@dataclass(frozen=True)
class Credential:
    """One stored credential; `secret` is the text or the password."""

    kind: str
    scope: str
    id: str
    description: str
    secret: str
    username: str = ""

    @property
    def type_name(self) -> str:
        """How the store's page calls the kind."""
        return _TYPES[self.kind][0]

    def redacted(self) -> str:
        """config.xml as a GET shows it. Posting it back stores an empty secret (recordings README)."""
        _, plugin, secret, shown = _TYPES[self.kind]
        fields = "".join(f"  <{name}>{escape(str(getattr(self, name)))}</{name}>\n" for name in shown)
        hidden = f"  <{secret}>\n    <secret-redacted/>\n  </{secret}>\n"
        return f'<{self.kind} plugin="{plugin}">\n{fields}{hidden}</{self.kind}>'

    def bean(self, cls: str | None) -> Bean:
        """What the API shows of it."""
        full_name = f"system/_/{quote(self.id, safe='')}"
        bean = Bean(cls).many(description=self.description, displayName=self.description or self.id, fingerprint=None, fullName=full_name)
        return bean.many(id=self.id, typeName=self.type_name)


def parse_credential(text: str) -> Credential:
    """From posted XML. Raises ValueError: not XML, or a class that is not here."""
    try:
        root = ET.fromstring(text)
    except ET.ParseError as error:
        raise ValueError(str(error)) from error
    if root.tag not in _TYPES:
        raise ValueError(root.tag)
    value = root.find(_TYPES[root.tag][2])
    # <secret><secret-redacted/></secret> holds no text: the secret becomes empty, as measured.
    secret = "" if value is None or len(value) else value.text or ""
    fields = {name: root.findtext(name) or "" for name in ("scope", "id", "description", "username")}
    return Credential(kind=root.tag, secret=secret, **fields)


class Credentials:
    """The store and its routes."""

    def __init__(self) -> None:
        self._by_id: dict[str, Credential] = {}

    def get(self, credential_id: str) -> Credential | None:
        """The credential with this id."""
        return self._by_id.get(credential_id)

    def routes(self) -> list[web.RouteDef]:
        """Create, read, update, delete, list."""
        one = STORE + "/credential/{id}"
        return [
            web.get(f"{STORE}/api/json", self._list),
            web.post(f"{STORE}/createCredentials", self._create),
            web.get(f"{one}/config.xml", self._read),
            web.post(f"{one}/config.xml", self._update),
            web.delete(f"{one}/config.xml", self._delete),
            web.post(f"{one}/doDelete", self._do_delete),
            web.get(f"{one}/api/json", self._info),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        store = Bean(f"{_WRAPPER}DomainWrapper")
        store.add("credentials", lambda: [c.bean(None) for c in self._by_id.values()], 1)
        store.add(
            "description",
            "Credentials that should be available irrespective of domain specification to requirements matching.",
        )
        store.many(displayName="Global credentials (unrestricted)")
        store.many(fullDisplayName="System » Global credentials (unrestricted)", fullName="system/_")
        store.many(**{"global": True}).many(urlName="_")
        try:
            return pages.api(api_json(store, dict(request.query)))
        except TreeSyntaxError:
            return pages.oops()

    async def _create(self, request: web.Request) -> web.Response:
        try:
            credential = parse_credential(await request.text())
        except ValueError:
            return pages.oops()
        if credential.id in self._by_id:
            return pages.reply(409)
        self._by_id[credential.id] = credential
        return pages.reply(200)

    def _find(self, request: web.Request) -> Credential:
        credential = self.get(request.match_info["id"])
        if credential is None:
            raise web.HTTPNotFound
        return credential

    async def _read(self, request: web.Request) -> web.Response:
        return pages.reply(200, self._find(request).redacted(), "application/xml")

    async def _update(self, request: web.Request) -> web.Response:
        old = self._find(request)
        try:
            new = parse_credential(await request.text())
        except ValueError:
            return pages.oops()
        if new.id != old.id:
            return pages.oops()
        self._by_id[old.id] = new
        return pages.reply(200)

    async def _delete(self, request: web.Request) -> web.Response:
        found = self._by_id.pop(request.match_info["id"], None)
        return pages.reply(200 if found else 404)

    async def _do_delete(self, request: web.Request) -> web.Response:
        del self._by_id[self._find(request).id]
        return pages.redirect(f"{STORE}/")

    async def _info(self, request: web.Request) -> web.Response:
        try:
            return pages.api(api_json(self._find(request).bean(f"{_WRAPPER}CredentialsWrapper"), dict(request.query)))
        except TreeSyntaxError:
            return pages.oops()
