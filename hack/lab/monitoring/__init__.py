"""The monitoring host of the lab: a real sshd, Prometheus and Alertmanager, and the files that people wrote for them."""
