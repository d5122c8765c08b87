/* A made-up Envoy around the pick module: hosts that come, go, fall sick and change weight between picks, in any order
 * that a seed draws. Run under the address and undefined-behaviour sanitizers by tests/test_pick_sanitized.py; it ends
 * with a message at the first answer that Envoy could not use. Hosts are on the heap, and freed when they leave, so that
 * a module which kept a pointer to one is caught.
 *
 *     pick_world SEED STEPS
 */
#include "../dataplane/pick/module.c"

#include <stdio.h>

enum { PRIORITIES = 3, MOST = 130 };

typedef struct {
  char *address;
  uint32_t weight;
  uint64_t open, sent;
  bool healthy;
} host;

static host *hosts[PRIORITIES][MOST];
static uint32_t counts[PRIORITIES], priorities = 1, number = 1;
static uint64_t luck;
static size_t logged;
static uint32_t retries, refuses;
static bool untold; /* of the latest change: then the module may take one healthy host for another */

static uint32_t below(uint32_t n) {
  luck ^= luck >> 12, luck ^= luck << 25, luck ^= luck >> 27;
  return (uint32_t)((luck * 0x2545F4914F6CDD1DULL) >> 33) % n;
}

static host *healthy_host(uint32_t p, size_t h) {
  for (uint32_t i = 0; i < counts[p]; i++)
    if (hosts[p][i]->healthy && h-- == 0) return hosts[p][i];
  return NULL;
}

static bool tell(const host *h, buffer *out) {
  *out = h ? (buffer){h->address, strlen(h->address)} : (buffer){NULL, 0};
  return h != NULL;
}

void envoy_dynamic_module_callback_log(int level, buffer message) {
  (void)level, logged += message.length;
}
size_t envoy_dynamic_module_callback_lb_get_priority_set_size(void *envoy) {
  (void)envoy;
  return priorities;
}
size_t envoy_dynamic_module_callback_lb_get_hosts_count(void *envoy, uint32_t p) {
  (void)envoy;
  return p < priorities ? counts[p] : 0;
}
size_t envoy_dynamic_module_callback_lb_get_healthy_hosts_count(void *envoy, uint32_t p) {
  size_t n = 0;
  (void)envoy;
  for (uint32_t i = 0; p < priorities && i < counts[p]; i++) n += hosts[p][i]->healthy;
  return n;
}
bool envoy_dynamic_module_callback_lb_get_host_address(void *envoy, uint32_t p, size_t at, buffer *out) {
  (void)envoy;
  return tell(at < counts[p] ? hosts[p][at] : NULL, out);
}
bool envoy_dynamic_module_callback_lb_get_healthy_host_address(void *envoy, uint32_t p, size_t h, buffer *out) {
  (void)envoy;
  return tell(healthy_host(p, h), out);
}
bool envoy_dynamic_module_callback_lb_get_host_metadata_number(void *envoy, uint32_t p, size_t at, buffer name_space,
                                                               buffer key, double *out) {
  static const double told[] = {1.0, 4.0, 2.5, 0.0, -3.0, 1e300, (double)INFINITY, (double)NAN, 9e8};
  (void)envoy, (void)name_space, (void)key;
  *out = told[below(9)];
  return at < counts[p] && below(2);
}
uint32_t envoy_dynamic_module_callback_lb_get_healthy_host_weight(void *envoy, uint32_t p, size_t h) {
  (void)envoy;
  return healthy_host(p, h)->weight;
}
uint64_t envoy_dynamic_module_callback_lb_get_host_stat(void *envoy, uint32_t p, size_t at, int stat) {
  (void)envoy;
  if (at >= counts[p]) return 0;
  return stat == STAT_RQ_ACTIVE ? hosts[p][at]->open : stat == STAT_RQ_TOTAL ? hosts[p][at]->sent : 0;
}
uint32_t envoy_dynamic_module_callback_lb_context_get_host_selection_retry_count(void *context) {
  (void)context;
  return retries;
}
bool envoy_dynamic_module_callback_lb_context_should_select_another_host(void *envoy, void *context, uint32_t p,
                                                                         size_t at) {
  (void)envoy, (void)context;
  if (!untold && (at >= counts[p] || !hosts[p][at]->healthy)) {
    fprintf(stderr, "asked about host %zu of priority %u, which is not a healthy one\n", at, p);
    exit(1);
  }
  return below(3) < refuses;
}

void envoy_dynamic_module_callback_lb_get_cluster_name(void *envoy, buffer *out) {
  (void)envoy;
  *out = (buffer){"cluster", 7};
}

/* An answer that is logged: of whom, and what it says. */
static char answer[64], ip[32];
static uint32_t port;
static bool has[4];

bool envoy_dynamic_module_callback_access_logger_get_header_value(void *envoy, int kind, buffer key, buffer *out,
                                                                  size_t index, size_t *count) {
  (void)envoy, (void)index, (void)count;
  *out = (buffer){answer, strlen(answer)};
  return has[(kind == RESPONSE_TRAILER) * 2 + (key.length == REPORT_MESSAGE.length)];
}
bool envoy_dynamic_module_callback_access_logger_get_upstream_cluster(void *envoy, buffer *out) {
  (void)envoy;
  *out = (buffer){"cluster", below(9) ? 7 : 3};
  return below(20);
}
bool envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(void *envoy, buffer *out, uint32_t *port_out) {
  (void)envoy;
  *out = (buffer){ip, strlen(ip)}, *port_out = port;
  return below(20);
}

/* Somebody answers: one that is there, has gone, or never was; and its words are a report, or any bytes. */
static void log_an_answer(const void *logger) {
  static const char *said[] = {"TEXT named_metrics.in_flight=3", "JSON {\"named_metrics\":{\"in_flight\": 12}}", "TEXT",
                               "CglpbmZsaWdodBEAAAAAAAAIQA==", "", "BIN QhQKCWluX2ZsaWdodBEAAAAAAAAcQA=="};
  snprintf(answer, sizeof answer, "%s", said[below(6)]);
  if (below(4) == 0) answer[below(sizeof answer - 1)] = (char)(1 + below(255));
  for (int i = 0; i < 4; i++) has[i] = below(4) == 0;
  snprintf(ip, sizeof ip, below(9) ? "10.0.%u.%u" : "fe80::%u:%u", below(2), below(256));
  port = below(9) ? 80 : below(70000);
  envoy_dynamic_module_on_access_logger_log(hosts, logger, 0);
}

static void come(uint32_t p) {
  if (counts[p] == MOST) return;
  host *h = calloc(1, sizeof *h);
  h->address = malloc(32);
  snprintf(h->address, 32, "10.0.%u.%u:80", number / 256, number % 256);
  number++;
  h->weight = below(10) ? 1 + below(1000) : below(2) ? UINT32_MAX : 0;
  h->healthy = below(8) > 0;
  uint32_t at = below(counts[p] + 1);
  memmove(&hosts[p][at + 1], &hosts[p][at], (counts[p] - at) * sizeof hosts[p][0]);
  hosts[p][at] = h, counts[p]++;
}

static void go(uint32_t p) {
  if (!counts[p]) return;
  uint32_t at = below(counts[p]);
  free(hosts[p][at]->address);
  free(hosts[p][at]);
  counts[p]--;
  memmove(&hosts[p][at], &hosts[p][at + 1], (counts[p] - at) * sizeof hosts[p][0]);
}

static void change(void) {
  uint32_t p = below(priorities);
  switch (below(8)) {
    case 0:
      if (priorities < PRIORITIES && below(20) == 0) priorities++;
      break;
    case 1:
    case 2: come(p); break;
    case 3: go(p); break;
    case 4:
      for (uint32_t i = 0; i < counts[p]; i++) hosts[p][i]->healthy = below(8) > 0;
      break;
    case 5:
      for (uint32_t i = 0; i < counts[p]; i++) hosts[p][i]->healthy = below(50) == 0; /* nearly all are sick */
      break;
    default:
      if (counts[p]) hosts[p][below(counts[p])]->weight = 1 + below(100);
  }
}

static void pick(void *picker) {
  uint32_t p = 99, h = 99;
  int context;
  retries = below(12), refuses = below(4);
  bool found = envoy_dynamic_module_on_lb_choose_host(hosts, picker, below(2) ? &context : NULL, &p, &h);
  if (untold) return; /* found or not, and whoever it is: Envoy checks the index */
  size_t able = 0;
  for (uint32_t i = 0; i < priorities; i++)
    able += envoy_dynamic_module_callback_lb_get_healthy_hosts_count(hosts, i);
  if (found != (able > 0)) {
    fprintf(stderr, "%zu hosts are healthy, and a pick was%s made\n", able, found ? "" : " not");
    exit(1);
  }
  if (!found) return;
  host *got = p < priorities ? healthy_host(p, h) : NULL;
  if (!got) {
    fprintf(stderr, "picked %u of priority %u, where nobody healthy is\n", h, p);
    exit(1);
  }
  if (below(3)) got->open++, got->sent += below(4); /* of other workers as well; and some are never sent */
}

/* Whatever is configured, only this one text is taken. */
static void configure(void) {
  char text[8] = ENVOY_VERSION;
  for (int i = 0; i < 2000; i++) {
    size_t length = below(8);
    if (below(4)) text[below(8)] = (char)below(256);
    bool right = length == strlen(ENVOY_VERSION) && memcmp(text, ENVOY_VERSION, length) == 0;
    if (right != (envoy_dynamic_module_on_lb_config_new(NULL, (buffer){NULL, 0}, (buffer){text, length}) != NULL)) {
      fprintf(stderr, "a configuration was %s\n", right ? "refused" : "taken");
      exit(1);
    }
  }
}

int main(int argc, char **argv) {
  luck = argc > 1 ? strtoull(argv[1], NULL, 10) * 2 + 1 : 1;
  long steps = argc > 2 ? strtol(argv[2], NULL, 10) : 1000;
  const void *config = envoy_dynamic_module_on_lb_config_new(NULL, (buffer){"w", 1}, (buffer){ENVOY_VERSION, 4});
  if (!config) return 1;
  for (uint32_t i = below(80); i > 0; i--) come(0);
  configure();
  void *pickers[2] = {envoy_dynamic_module_on_lb_new(config, hosts), envoy_dynamic_module_on_lb_new(config, hosts)};
  const void *loggers = envoy_dynamic_module_on_access_logger_config_new(NULL, (buffer){"w", 1}, (buffer){ENVOY_VERSION, 4});
  const void *logger = envoy_dynamic_module_on_access_logger_new(loggers, hosts);
  while (steps-- > 0) {
    if (below(6) == 0) {
      change();
      /* Envoy tells of every change; one in ten is kept from the module here, which must bear that as well. */
      untold = below(10) == 0;
      for (int i = 0; i < 2 && !untold; i++)
        envoy_dynamic_module_on_lb_on_host_membership_update(hosts, pickers[i], 0, 0);
    }
    uint32_t p = below(priorities);
    if (counts[p]) hosts[p][below(counts[p])]->open /= 2;
    pick(pickers[below(2)]);
    log_an_answer(logger);
  }
  for (int i = 0; i < 2; i++) {
    envoy_dynamic_module_on_lb_destroy(pickers[i]);
    log_an_answer(logger); /* of a cluster that has gone from this worker, in whole or in part */
  }
  envoy_dynamic_module_on_access_logger_destroy(logger);
  envoy_dynamic_module_on_access_logger_config_destroy(loggers);
  envoy_dynamic_module_on_lb_config_destroy(config);
  for (uint32_t p = 0; p < PRIORITIES; p++)
    while (counts[p]) go(p);
  return 0;
}
