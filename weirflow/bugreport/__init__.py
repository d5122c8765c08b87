"""`weirflow bug-report`: one file with what somebody needs who is to find out what went wrong, and none of the secrets.

`gather` collects, `redact` takes the secrets out, `archive` writes. Nothing is sent anywhere.
"""
