"""The lab: every policy that ships, side by side with Weirflow, on real Envoy and against the physical bounds."""
