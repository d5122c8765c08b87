"""xDS v3, state of the world, over one ADS stream: resources, snapshot and stream, all sans-I/O."""
