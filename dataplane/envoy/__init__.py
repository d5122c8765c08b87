"""Real Envoy: the bootstrap it is started with, and the process."""
