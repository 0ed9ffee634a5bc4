"""PURE decisions: desired state, diffs, the claim's chain of checks, addresses, status. No asyncio, SDK, clock or randomness."""
