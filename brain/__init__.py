"""The decisions. Told things with a time, ticked with a time; does no I/O, starts no task and reads no clock."""
