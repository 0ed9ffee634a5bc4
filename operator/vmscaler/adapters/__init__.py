"""One folder per outside system: the only place for its SDK. Adapters raise the errors of vmscaler.ports.errors."""
