"""A mesh in virtual time, behind the same contract as the live one."""
