"""The demo: real backends, real Envoys, a real load, and a story that checks what it claims."""
