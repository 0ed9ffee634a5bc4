"""The kinds of vmscaler.io/v1alpha1 as pydantic models. crds/ is generated from them (vmscaler.api.crd)."""
