"""The commands of `weirflow`, by what they work on: a mesh file, a mesh that runs, a recording.

Everything heavy (gRPC, Arrow, NumPy, aiohttp) is imported inside the command that needs it: `weirflow --help` and
`weirflow validate` have to answer at once.
"""
