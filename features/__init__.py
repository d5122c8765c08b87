"""From batches of telemetry to features per endpoint, service, arm and node, as NumPy columns. Time is an argument."""
