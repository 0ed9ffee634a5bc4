"""BIG-IP through a thin aiohttp client of iControl REST (facts/bigip.md "The product's client should").

client.BigIpClient    the port's methods; writes one at a time, then saved and synchronised
  units.Units         which unit of a pair is active
    unit.Unit         a call with a token in force, its refusals classified
      login.Login     one token: early renewal, one new one after a 401, given back at the end
      wire.Wire       one HTTPS exchange, its failures classified
names, shapes, answers   paths and URLs; JSON as the port's value types; what a status stands for
"""

from vmscaler.adapters.bigip.client import BigIpClient

__all__ = ["BigIpClient"]
