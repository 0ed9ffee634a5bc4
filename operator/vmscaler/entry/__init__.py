"""kopf handlers, the gateway, health and the command line: thin."""
