"""The gRPC shell: ADS, ALS and LRS on one port, around the sans-I/O protocols."""
