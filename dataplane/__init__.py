"""Wires and nouns. Nothing here learns.

`contract` holds the nouns that everything else speaks; `mesh` the operator's static rules; `als`, `lrs` and `xds` the
protocols, sans-I/O; `server` the gRPC shell around them, `credentials` and `identity` its TLS; `envoy` the processes;
`simulated` a mesh in virtual time.
"""
