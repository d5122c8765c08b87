"""`weirflow check`: what would keep a mesh from running well, looked at in groups, each finding with its mend.

`found` has the nouns; `machine`, `ports`, `certificates` and `brain` look, and `run` puts it together. What could not
be looked at is told as such: unknown is neither well nor bad.
"""
