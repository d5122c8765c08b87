/* The pick itself, with no word of Envoy in it: which member of a crew gets the next request.
 *
 * A member has a capacity, learned and leased; `open` asks what it has open from this proxy, fresh at every pick. Where
 * that says something (TELLING open requests a member in the mean), all members are compared by
 *
 *     max(open + min(lanes, 1), lanes) / capacity
 *
 * the time to this request's answer, were the queue ours alone: a member works on `lanes` of our requests at once, and up
 * to so many nobody waits and only its speed counts. Of those that come out equal the one with less open is taken, which
 * the small second part of `cost` is for; of equals in all each is as likely. In a large crew only the DRAWN next in turn
 * are compared. Who was cut would then never be asked again, and nobody would see it recover: so a member that has gone
 * without for very long is taken. `HEARD` is the part of an even share that everybody gets in any case.
 *
 * Among many proxies less than a lane is ours. Each request of ours there stands for as many of every other, so a member
 * with one waits a whole request longer than one with none, and that is as busy as its lanes are, no more. By 1 instead of
 * `lanes` a strong one with a few of everybody's seems quicker than a weak one with nobody's, and the weak starve. And one
 * or none open now says little of a queue: `lanes` is the part by which it counts, and the rest is what was open of late,
 * the mean over as many picks as are made while LATE requests are answered one after the other.
 *
 * Where a proxy has hardly anything open anywhere, its own zeros would send every request of every proxy to the strongest.
 * There turns are dealt out by capacity: each is due 1 / capacity after the last. New capacities stretch what is left to
 * each turn and begin nothing anew; who is new, or enters when turns begin, gets a random part of its first wait, so that
 * proxies are not in step. One passed over stays next in line and saves up nothing.
 *
 * Endpoints may say in their answers what they have in progress (`report.h`). Less what is open from here, that is what
 * others have there, and with what is open from here at the pick it is their whole queue, as of `heard_ms`. Whoever said
 * so within `believed_ms` can be taken in place of who was picked without, if by this it will answer sooner. It pays with
 * its next turn, and is no candidate while it is AHEAD turns early: so in the long run nobody gets much more than its
 * capacity has it, which is learned from latencies: one that says that nobody is there cannot draw everybody in.
 *
 * Nothing here allocates, and nothing is undefined for a crew of one, for capacities of 1 to 2^32 - 1, or for bars that
 * leave nobody: then who is barred is picked after all. dataplane/simulated/leased_pick.py is the same in Python.
 */
#pragma once

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SCANNED = 64, DRAWN = 8, BARS = 8 };
#define TELLING 0.1
#define SMOOTHING (1.0 / 64)
#define LATE 3.0
#define HEARD 0.01
#define AHEAD 40.0
#define USUAL (1.0 / 8)

typedef struct {
  uint64_t id;     /* of its address: who it was before a rebuild */
  double capacity; /* at least 1 */
  double lanes;    /* requests of ours that it works on at once; below 1 among many proxies */
  double mean;     /* open from here, smoothed over picks */
  double slow;     /* 1 / its capacity, to weigh what it says by: `capacity` may be a turn's, of a split */
  double workers;  /* requests that it works on at once, of all proxies; at least 1 */
  double queue;    /* requests that it has at least, as the control plane knows */
  double others;   /* requests of others there, when it last said */
  double usual;    /* requests there, smoothed over what it said */
  uint64_t heard_ms, believed_ms; /* when it last said, 0: never; for how long that is believed, 0: not at all */
  double due;      /* of its next turn */
  uint64_t last;   /* pick that it got */
  uint32_t at;     /* among all hosts of the priority */
  uint32_t ahead;  /* picks that Envoy has not sent there yet, and the rest of what `open` needs to know of them */
  uint64_t sent;
  uint64_t ahead_ms;
} member;

typedef struct {
  member *members;
  uint32_t count;
  bool turns;   /* dealt out at the last pick */
  bool reports; /* somebody has said what it has in progress */
  uint64_t picks;
  double capacity; /* of all */
  double clock; /* of the turn taken last */
  double open;  /* requests from this proxy a member, smoothed over picks */
  double until; /* of all requests the part that goes to this priority or one before */
} crew;

typedef struct {
  uint64_t (*open)(void *of, member *m);
  double (*draw)(void *of); /* uniform on [0, 1) */
  void *of;
  uint64_t now_ms; /* at least 1 */
} eyes;

typedef struct { uint32_t member[BARS], count; } bars;

static inline double larger(double a, double b) { return a > b ? a : b; } /* fmax is a call, for the sake of NaN */

static inline bool is_barred(const bars *b, uint32_t i) {
  for (uint32_t k = 0; k < b->count; k++)
    if (b->member[k] == i) return true;
  return false;
}

/* A random part of the first wait. */
static inline void enters(crew *c, uint32_t i, const eyes *see) {
  c->members[i].due = c->clock + see->draw(see->of) / c->members[i].capacity;
}

/* Whether it has gone without for longer than it should. */
static inline bool overlooked(const crew *c, uint32_t i) {
  return (double)(c->picks - c->members[i].last) * HEARD > c->count;
}

static inline double cost(const member *m, double open) {
  return (larger(open + (m->lanes < 1.0 ? m->lanes : 1.0), m->lanes) + (open + 1.0) / 64) / m->capacity;
}

static inline void look(crew *c, double open) { c->open += (open - c->open) * SMOOTHING; }

/* Of the `most` next in turn the least busy. Those before it stay next, as of its own turn; it waits for the one after. */
static inline uint32_t by_turn(crew *c, uint32_t most, const bars *not, const eyes *see) {
  uint32_t next[DRAWN], n = 0;
  for (uint32_t i = 0; i < c->count; i++) {
    if (is_barred(not, i)) continue;
    double due = c->members[i].due;
    if (n == most && due >= c->members[next[n - 1]].due) continue;
    uint32_t k = n < most ? n++ : n - 1;
    for (; k > 0 && due < c->members[next[k - 1]].due; k--) next[k] = next[k - 1];
    next[k] = i;
  }
  if (n == 0) return 0;
  double least = INFINITY, all = 0.0;
  uint32_t best = 0;
  for (uint32_t k = 0; k < n; k++) {
    double open = (double)see->open(see->of, &c->members[next[k]]);
    double costs = overlooked(c, next[k]) ? -1.0 : cost(&c->members[next[k]], open);
    all += open;
    if (costs < least) least = costs, best = k;
  }
  if (c->count > SCANNED) look(c, all / n);
  member *taken = &c->members[next[best]];
  for (uint32_t k = 0; k < best; k++) c->members[next[k]].due = taken->due;
  c->clock = taken->due;
  taken->due += 1.0 / taken->capacity;
  return next[best];
}

/* Of all members the least busy. */
static inline uint32_t by_scan(const crew *c, const uint32_t *open, const bars *not, const eyes *see) {
  double least = INFINITY;
  uint32_t best = 0, ties = 0;
  for (uint32_t i = 0; i < c->count; i++) {
    if (is_barred(not, i)) continue;
    if (overlooked(c, i)) return i;
    const member *m = &c->members[i];
    double costs = cost(m, m->lanes < 1.0 ? m->mean + m->lanes * (open[i] - m->mean) : open[i]);
    if (costs < least) least = costs, best = i, ties = 1;
    else if (costs == least && see->draw(see->of) * ++ties < 1.0) best = i;
  }
  return best;
}

/* Without a word of theirs. `open` has that of each of a crew that is scanned. */
static inline uint32_t least_busy(crew *c, const uint32_t *open, const bars *not, const eyes *see) {
  if (!open) {
    c->turns = true;
    return by_turn(c, c->open < TELLING ? 1 : DRAWN, not, see);
  }
  double all = 0.0;
  for (uint32_t i = 0; i < c->count; i++) all += open[i];
  look(c, all / c->count);
  double part = 1.0 / (1.0 + LATE * c->open * c->count);
  for (uint32_t i = 0; c->members->lanes < 1.0 && i < c->count; i++) /* all are told the same */
    c->members[i].mean += (open[i] - c->members[i].mean) * part;
  bool turns = c->open < TELLING;
  if (turns && !c->turns)
    for (uint32_t i = 0; i < c->count; i++) enters(c, i, see);
  c->turns = turns;
  return turns ? by_turn(c, 1, not, see) : by_scan(c, open, not, see);
}

static inline bool believed(const member *m, uint64_t now_ms) {
  return m->heard_ms && now_ms - m->heard_ms < m->believed_ms;
}

/* It said how many it has in progress while so many were open there from here. */
static inline void hear(crew *c, member *m, double in_flight, double open, uint64_t now_ms) {
  m->others = larger(in_flight - open, 0.0);
  m->usual += (in_flight - m->usual) * (m->heard_ms ? USUAL : 1.0);
  m->heard_ms = now_ms;
  c->reports = true;
}

static inline double answers(const member *m, double there) {
  there = larger(there, m->queue);
  return (larger(there + 1.0, m->workers) + (there + 1.0) / 64) * m->slow;
}

/* In place of `mine` one that by what it said will answer sooner. `mine`, without a word, is as busy as usual. Of a large
 * crew SCANNED are asked, from a random one on. */
static inline uint32_t by_report(crew *c, uint32_t mine, const uint32_t *open, const bars *not, const eyes *see) {
  member *m = &c->members[mine];
  if (overlooked(c, mine)) return mine;
  double ours = open ? open[mine] : (double)see->open(see->of, m);
  double least = answers(m, believed(m, see->now_ms) ? m->others + ours : m->usual), second = INFINITY;
  uint32_t best = mine, ties = 1, i = open ? 0 : (uint32_t)(see->draw(see->of) * c->count);
  for (uint32_t k = 0; k < c->count && k < SCANNED; k++, i = i + 1 < c->count ? i + 1 : 0) {
    member *o = &c->members[i];
    if (i == mine || is_barred(not, i)) continue;
    second = o->due < second ? o->due : second;
    if (!believed(o, see->now_ms) || (c->turns && (o->due - c->clock) * o->capacity > AHEAD)) continue;
    double costs = answers(o, o->others + (open ? open[i] : (double)see->open(see->of, o)));
    if (costs < least) least = costs, best = i, ties = 1;
    else if (costs == least && best != mine && see->draw(see->of) * ++ties < 1.0) best = i;
  }
  if (best != mine && c->turns) { /* it stays next in line */
    m->due = larger(m->due - 1.0 / m->capacity, second);
    c->members[best].due += 1.0 / c->members[best].capacity;
  }
  return best;
}

/* Who gets the next request; `c->count` is at least 1. */
static inline uint32_t choose(crew *c, const bars *not, const eyes *see) {
  static const bars nobody = {{0}, 0};
  uint32_t seen[SCANNED], *open = c->count > SCANNED ? NULL : seen;
  for (uint32_t i = 0; open && i < c->count; i++) {
    uint64_t n = see->open(see->of, &c->members[i]);
    open[i] = n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
  }
  if (not->count >= c->count) not = &nobody;
  uint32_t i = least_busy(c, open, not, see);
  if (c->reports) i = by_report(c, i, open, not, see);
  c->members[i].last = ++c->picks;
  return i;
}
