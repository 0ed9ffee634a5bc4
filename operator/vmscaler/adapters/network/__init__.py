"""Probes of addresses and of a VM's health."""
