"""Which plan was in force at which node when: stamps attempts with plan, weight and probability."""
