"""Async orchestration over the ports. No SDK here: adapters have them."""
