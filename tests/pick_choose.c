/* The pick alone, for tests/test_pick_equal.py to call. */
#include "../dataplane/pick/choose.h"

uint32_t pick_of(crew *c, const bars *not, const eyes *see) { return choose(c, not, see); }
