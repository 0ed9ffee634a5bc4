"""What runs in the VMs: a web service and a node exporter for each powered-on VM; see `lab.guests.__main__`."""
