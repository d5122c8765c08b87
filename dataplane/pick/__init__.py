"""The pick inside Envoy: learned capacity times fresh queue, as a load-balancing policy in a dynamic module."""
