/* The pick and the reports alone, for tests/test_pick_equal.py and tests/test_pick_report.py to call. */
#include "../dataplane/pick/choose.h"
#include "../dataplane/pick/report.h"

uint32_t pick_of(crew *c, const bars *not, const eyes *see) { return choose(c, not, see); }

void heard(crew *c, uint32_t i, double in_flight, double open, uint64_t now_ms) {
  hear(c, &c->members[i], in_flight, open, now_ms);
}

double told_of(const char *value, size_t length, bool message) { return in_flight_of(value, length, message); }
