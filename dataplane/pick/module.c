/* The pick as Envoy 1.40 loads it. One balancer a worker and cluster; no thread but the worker's ever touches it. And an
 * access logger that gives the worker's balancers what endpoints say in their answers of their own queues.
 *
 * A balancer keeps a crew for each priority: its healthy hosts with their EDS weights. Envoy tells of every change of
 * hosts, weights or health on the worker itself, between picks; then the crews are made anew, and only then is memory
 * asked for. A pick reads counters and writes a few doubles.
 *
 * An index that Envoy gets back is checked by it against its healthy hosts, and ours is checked against the same count
 * before: should a change ever not have been told, the crew is made anew first.
 *
 * Only healthy hosts can be picked through this interface. So there is no panic and nobody degraded is used: the
 * assignment of the cluster must see to it that somebody is healthy (`dataplane.xds.resources`). Hosts that a request
 * must have (override hosts) Envoy picks itself, before it asks us.
 */
#include "abi.h"
#include "choose.h"
#include "report.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct balancer {
  crew *crews;
  uint32_t count;
  uint64_t random;
  void *envoy;
  uint32_t reading; /* the priority whose hosts are read */
  uint64_t cluster; /* the id of its name */
  struct balancer *next;
} balancer;

static __thread balancer *balancers; /* of this worker */

enum { WAITS_MS = 1000 };
static const int configured = 1;
static const buffer NAMESPACE = {"weirflow", 8}, LANES = {"lanes", 5}, WORKERS = {"workers", 7};
static const buffer CAPACITY = {"capacity", 8}, QUEUE = {"queue", 5}, BELIEVED = {"believed_ms", 11};
static const buffer REPORT = {"endpoint-load-metrics", 21}, REPORT_MESSAGE = {"endpoint-load-metrics-bin", 25};

static void complain(const char *text) {
  if (envoy_dynamic_module_callback_log) envoy_dynamic_module_callback_log(LOG_ERROR, (buffer){text, strlen(text)});
}

const char *envoy_dynamic_module_on_program_init(void) { return ABI_VERSION; }

#define HAS(name) (envoy_dynamic_module_callback_##name != NULL)

/* `config` is the minor version of the Envoy that this is meant for, as its control plane heard it say. */
static const void *usable(buffer config) {
  if (config.length != strlen(ENVOY_VERSION) || memcmp(config.ptr, ENVOY_VERSION, config.length) != 0) {
    complain("weirflow: this module was built for Envoy " ENVOY_VERSION ", and its configuration names another");
    return NULL;
  }
  if (!(HAS(lb_get_priority_set_size) && HAS(lb_get_hosts_count) && HAS(lb_get_healthy_hosts_count) &&
        HAS(lb_get_host_address) && HAS(lb_get_healthy_host_address) && HAS(lb_get_host_metadata_number) &&
        HAS(lb_get_healthy_host_weight) && HAS(lb_get_host_stat) && HAS(lb_get_cluster_name) &&
        HAS(lb_context_get_host_selection_retry_count) && HAS(lb_context_should_select_another_host) &&
        HAS(access_logger_get_header_value) && HAS(access_logger_get_upstream_cluster) &&
        HAS(access_logger_get_upstream_remote_address))) {
    complain("weirflow: this Envoy lacks a function that the module needs; it was built for " ENVOY_VERSION);
    return NULL;
  }
  return &configured;
}

const void *envoy_dynamic_module_on_lb_config_new(void *envoy_config, buffer name, buffer config) {
  (void)envoy_config, (void)name;
  return usable(config);
}

void envoy_dynamic_module_on_lb_config_destroy(const void *config) { (void)config; }

/* xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016). */
static double draw(void *of) {
  uint64_t *x = &((balancer *)of)->random;
  *x ^= *x >> 12, *x ^= *x << 25, *x ^= *x >> 27;
  return (double)((*x * 0x2545F4914F6CDD1DULL) >> 11) * 0x1p-53;
}

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* What is sent there and not answered, and what was picked and waits for its connection: Envoy counts a request from when
 * it is sent, and a host that is slow to connect would look idle and be given all the more. A pick that never was sent
 * (a limit said no) is believed for no longer than WAITS_MS after the last one. */
static uint64_t open_at(void *of, member *m) {
  const balancer *b = of;
  uint64_t active = envoy_dynamic_module_callback_lb_get_host_stat(b->envoy, b->reading, m->at, STAT_RQ_ACTIVE);
  if (!m->ahead) return active;
  uint64_t sent = envoy_dynamic_module_callback_lb_get_host_stat(b->envoy, b->reading, m->at, STAT_RQ_TOTAL);
  m->ahead -= (uint32_t)(sent - m->sent < m->ahead ? sent - m->sent : m->ahead);
  m->sent = sent;
  if (m->ahead && now_ms() - m->ahead_ms > WAITS_MS) m->ahead = 0;
  return active + m->ahead;
}

/* Note that it was picked: from here on until it is seen to have been sent. */
static void expect(balancer *b, member *m) {
  if (!m->ahead)
    m->sent = envoy_dynamic_module_callback_lb_get_host_stat(b->envoy, b->reading, m->at, STAT_RQ_TOTAL);
  m->ahead++;
  m->ahead_ms = now_ms();
}

/* FNV-1a, of one text or of several after each other. */
static const uint64_t NOTHING = 0xCBF29CE484222325ULL;

static uint64_t id_with(uint64_t id, const char *text, size_t length) {
  for (size_t i = 0; i < length; i++) id = (id ^ (unsigned char)text[i]) * 0x100000001B3ULL;
  return id;
}

static uint64_t id_of(buffer text) { return id_with(NOTHING, text.ptr, text.length); }

/* A number that the control plane tells of a host; `least` where it tells none, or one that is none. */
static double told(const balancer *b, uint32_t priority, size_t at, buffer key, double least) {
  double n = least;
  envoy_dynamic_module_callback_lb_get_host_metadata_number(b->envoy, priority, at, NAMESPACE, key, &n);
  return n > least && n < 1e9 ? n : least;
}

/* Where in the old crew the one of this id was: looked for onwards from where the last was found, not for ever. */
static const member *known(const crew *old, uint64_t id, uint32_t *from) {
  for (uint32_t k = 0; k < SCANNED && k < old->count; k++) {
    uint32_t i = (*from + k) % old->count;
    if (old->members[i].id == id) {
      *from = i + 1;
      return &old->members[i];
    }
  }
  return NULL;
}

/* The healthy hosts of a priority, in Envoy's order; what is left to a turn is kept, stretched to the new capacity. */
static void line_up(balancer *b, uint32_t priority) {
  crew *c = &b->crews[priority];
  crew old = *c;
  eyes see = {open_at, draw, b, 1};
  size_t all = envoy_dynamic_module_callback_lb_get_hosts_count(b->envoy, priority);
  size_t healthy = envoy_dynamic_module_callback_lb_get_healthy_hosts_count(b->envoy, priority);
  c->count = 0;
  c->clock = c->capacity = 0.0;
  c->members = healthy && healthy <= UINT32_MAX ? calloc(healthy, sizeof *c->members) : NULL;
  uint32_t from = 0;
  size_t at = 0;
  for (size_t h = 0; c->members && h < healthy; h++) {
    buffer want = {NULL, 0}, found = {NULL, 0};
    if (!envoy_dynamic_module_callback_lb_get_healthy_host_address(b->envoy, priority, h, &want)) break;
    for (size_t looked = 0; looked < all; looked++, at = at + 1 < all ? at + 1 : 0) { /* in one order: mostly the next */
      envoy_dynamic_module_callback_lb_get_host_address(b->envoy, priority, at, &found);
      if (found.ptr == want.ptr) break; /* one host's address is one piece of memory */
    }
    member *m = &c->members[c->count];
    *m = (member){.id = id_of(want),
                  .capacity = larger(envoy_dynamic_module_callback_lb_get_healthy_host_weight(b->envoy, priority, h), 1.0),
                  .lanes = told(b, priority, at, LANES, 0.0),
                  .workers = told(b, priority, at, WORKERS, 1.0),
                  .believed_ms = (uint64_t)told(b, priority, at, BELIEVED, 0.0),
                  .last = c->picks,
                  .at = (uint32_t)at};
    if (m->lanes <= 0.0) m->lanes = 1.0; /* nobody knows yet: as if we were alone, and it worked on one */
    m->queue = told(b, priority, at, QUEUE, 0.0);
    double able = told(b, priority, at, CAPACITY, 0.0);
    m->slow = 1.0 / (able >= 1.0 ? able : m->capacity);
    const member *was = known(&old, m->id, &from);
    if (was) {
      m->due = (was->due - old.clock) * was->capacity / m->capacity;
      m->last = was->last, m->ahead = was->ahead, m->sent = was->sent, m->ahead_ms = was->ahead_ms;
      m->mean = was->mean, m->others = was->others, m->usual = was->usual, m->heard_ms = was->heard_ms;
    } else {
      enters(c, c->count, &see);
    }
    c->capacity += m->capacity;
    c->count++;
  }
  free(old.members);
}

/* Of which priority a request is: by health, as Envoy has it (`arch_overview/upstream/load_balancing/priority`), with
 * its overprovisioning of 1.4; all of it to the first while that has five healthy of seven. */
static void share_out(balancer *b) {
  double able = 0.0, until = 0.0;
  for (int pass = 0; pass < 2; pass++)
    for (uint32_t p = 0; p < b->count; p++) {
      size_t all = envoy_dynamic_module_callback_lb_get_hosts_count(b->envoy, p);
      double health = all ? fmin(1.0, 1.4 * b->crews[p].count / (double)all) : 0.0;
      if (pass == 0)
        able += health;
      else
        b->crews[p].until = until = able > 0.0 ? fmin(1.0, until + health / fmin(able, 1.0)) : 0.0;
    }
}

/* Drawn anew for each request; of those that have somebody. */
static uint32_t priority_of(balancer *b) {
  if (b->count == 1) return 0;
  double u = draw(b);
  uint32_t last = 0;
  for (uint32_t p = 0; p < b->count; p++) {
    if (!b->crews[p].count) continue;
    last = p;
    if (u < b->crews[p].until) break;
  }
  return last;
}

static void remake(balancer *b) {
  size_t count = envoy_dynamic_module_callback_lb_get_priority_set_size(b->envoy);
  if (count > b->count && count <= UINT32_MAX) { /* priorities are never taken away */
    crew *more = realloc(b->crews, count * sizeof *more);
    if (more) {
      memset(more + b->count, 0, (count - b->count) * sizeof *more);
      b->crews = more, b->count = (uint32_t)count;
    }
  }
  for (uint32_t p = 0; p < b->count; p++) line_up(b, p);
  share_out(b);
}

void *envoy_dynamic_module_on_lb_new(const void *config, void *envoy) {
  (void)config;
  balancer *b = calloc(1, sizeof *b);
  if (!b) return NULL;
  b->envoy = envoy;
  b->random = ((uint64_t)(uintptr_t)b ^ ((uint64_t)(uintptr_t)envoy << 17)) | 1; /* address randomisation will do */
  buffer name = {NULL, 0};
  envoy_dynamic_module_callback_lb_get_cluster_name(envoy, &name);
  b->cluster = id_of(name);
  b->next = balancers, balancers = b;
  remake(b);
  return b;
}

void envoy_dynamic_module_on_lb_on_host_membership_update(void *envoy, void *balancer_, size_t added, size_t removed) {
  (void)added, (void)removed;
  ((balancer *)balancer_)->envoy = envoy;
  remake(balancer_);
}

bool envoy_dynamic_module_on_lb_choose_host(void *envoy, void *balancer_, void *context, uint32_t *priority,
                                            uint32_t *healthy) {
  balancer *b = balancer_;
  b->envoy = envoy;
  uint32_t p = priority_of(b);
  if (p >= b->count || envoy_dynamic_module_callback_lb_get_healthy_hosts_count(envoy, p) != b->crews[p].count) {
    remake(b);
    p = priority_of(b);
  }
  if (p >= b->count || !b->crews[p].count) return false;
  eyes see = {open_at, draw, b, b->crews[p].reports ? now_ms() : 1};
  b->reading = p;
  bars not = {{0}, 0};
  uint32_t more = context ? envoy_dynamic_module_callback_lb_context_get_host_selection_retry_count(context) : 0;
  for (;;) { /* a retry that wants another host asks as often as its route allows, and then takes what it gets */
    uint32_t i = choose(&b->crews[p], &not, &see);
    if (more-- == 0 || not.count == BARS ||
        !envoy_dynamic_module_callback_lb_context_should_select_another_host(envoy, context, p,
                                                                             b->crews[p].members[i].at)) {
      expect(b, &b->crews[p].members[i]);
      *priority = p, *healthy = i;
      return true;
    }
    not.member[not.count++] = i;
  }
}

void envoy_dynamic_module_on_lb_destroy(void *balancer_) {
  balancer *b = balancer_;
  balancer **at = &balancers;
  while (*at && *at != b) at = &(*at)->next;
  if (*at) *at = b->next;
  for (uint32_t p = 0; p < b->count; p++) free(b->crews[p].members);
  free(b->crews);
  free(b);
}

const void *envoy_dynamic_module_on_access_logger_config_new(void *envoy_config, buffer name, buffer config) {
  (void)envoy_config, (void)name;
  return usable(config);
}

void envoy_dynamic_module_on_access_logger_config_destroy(const void *config) { (void)config; }

const void *envoy_dynamic_module_on_access_logger_new(const void *config, void *envoy) {
  (void)envoy;
  return config;
}

void envoy_dynamic_module_on_access_logger_destroy(const void *logger) { (void)logger; }

/* Of an answer the requests that are in progress where it came from; -1: it does not say. gRPC says it in trailers. */
static double in_flight_said(void *envoy) {
  for (int kind = RESPONSE_HEADER; kind <= RESPONSE_TRAILER; kind++)
    for (int message = 0; message < 2; message++) {
      buffer found = {NULL, 0};
      if (envoy_dynamic_module_callback_access_logger_get_header_value(envoy, kind, message ? REPORT_MESSAGE : REPORT,
                                                                       &found, 0, NULL))
        return in_flight_of(found.ptr, found.length, message);
    }
  return -1.0;
}

/* The id of who answered: of its address as the balancer's hosts have it, `10.0.0.1:80` or `[::1]:80`. */
static uint64_t who_answered(void *envoy) {
  buffer ip = {NULL, 0};
  uint32_t port = 0;
  if (!envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(envoy, &ip, &port)) return 0;
  bool six = memchr(ip.ptr, ':', ip.length) != NULL; /* then it is written in brackets */
  uint64_t id = id_with(id_with(NOTHING, "[", six), ip.ptr, ip.length);
  char tail[8], *at = tail + sizeof tail;
  do *--at = (char)('0' + port % 10);
  while ((port /= 10) && at > tail + 2);
  *--at = ':';
  if (six) *--at = ']';
  return id_with(id, at, (size_t)(tail + sizeof tail - at));
}

void envoy_dynamic_module_on_access_logger_log(void *envoy, const void *logger, int kind) {
  (void)logger, (void)kind;
  double in_flight = in_flight_said(envoy);
  buffer name = {NULL, 0};
  if (in_flight < 0.0 || !envoy_dynamic_module_callback_access_logger_get_upstream_cluster(envoy, &name)) return;
  uint64_t cluster = id_of(name), who = who_answered(envoy);
  for (balancer *b = balancers; b; b = b->next) {
    if (b->cluster != cluster) continue; /* two may have the name, while one of them is replaced */
    for (uint32_t p = 0; p < b->count; p++)
      for (uint32_t i = 0; i < b->crews[p].count; i++) {
        member *m = &b->crews[p].members[i];
        if (m->id != who) continue;
        b->reading = p;
        uint64_t open = open_at(b, m); /* with the one that is answered: Envoy takes it off after it is logged */
        hear(&b->crews[p], m, in_flight, open ? (double)(open - 1) : 0.0, now_ms());
      }
  }
}
