"""The lab's BIG-IP: iControl REST over HTTPS, real HTTP monitors, virtual servers that really balance.

Wire facts: facts/bigip.md ("A lab BIG-IP must"); where that is silent the device's documented behaviour, marked INF here:
409/400 texts of nodes, monitors and virtual servers, unknown properties (400), transactions that do not exist (404).

Config (JSON)::

    {"address": "127.0.0.1", "port": 0, "controlPort": 0,
     "certificate": PEM chain, "key": PEM,
     "users": [{"name": "admin", "password": "..."}],
     "hostname": "bigip.lab.example", "version": "16.1.4", "tokenTimeout": 1200 (s), "partitions": ["Common"],
     "deviceGroup": null (name of the sync group), "peer": null (host name of the other unit),
     "monitorTrailingSpace": false (as old versions answer),
     "monitors": [{"name": "http_web", "path": "/healthz", "interval": 5, "timeout": 16 (s, fractions are taken)}
                  or with "send" and "recv" (a regular expression) as the API has them],
     "pools": [{"name": "pool-web", "monitor": "/Common/http_web", "serviceDownAction": "reset",
                "members": ["127.1.2.20:8080", {"name": "127.1.2.21:8080", "session": "user-disabled"}]}],
     "virtualServers": [{"name": "vs-web", "destination": "127.1.2.10:8080", "pool": "pool-web"}]}

Virtual servers listen where the destination is loopback (port 0: any free port); others are configuration only.

Ready record: `url` (https), `control` (http), `virtualServers` {full path: {"address", "port"}}.

Control port: `GET /status` (pools, members, nodes, virtual servers, tokens per user, counters, `audit`: the writes below
/mgmt/tm as {n, method, path, user, status, body, transaction}), `GET|PUT /faults` (`lab.bigip.faults.KNOWN`).
"""
