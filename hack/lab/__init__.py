"""The embedded data centre: what a laptop cannot have, speaking the real wire formats. See README.md beside this file."""
