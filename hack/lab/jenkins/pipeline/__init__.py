"""Pipelines: syntax (parser), what may stand where (model), what they do (interpreter, steps)."""
