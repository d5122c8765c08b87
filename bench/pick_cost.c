/* The time of a pick, with hosts as Envoy has them: behind functions of another file, found through a vector of pointers,
 * with atomic counters. Prints nanoseconds a pick, the least of several runs.
 *
 *     pick_cost HOSTS OPEN         OPEN: requests open at each, so that 0 deals out turns and more scans
 *     pick_cost HOSTS OPEN says    endpoints say in their answers what they have in progress; then also of one such answer
 */
#include "../dataplane/pick/module.c"

#include <stdatomic.h>
#include <stdio.h>

enum { RUNS = 15, PICKS = 20000 };

typedef struct {
  char address[32];
  uint32_t weight;
  _Atomic uint64_t active, total;
} host;

typedef struct {
  host **hosts;
  size_t count;
} host_set;

static bool says;
static host_set sets[1];
static host_set *const priorities[1] = {&sets[0]};

#define FAR __attribute__((noinline))
FAR static const host *at(uint32_t p, size_t i) { return p < 1 && i < priorities[p]->count ? priorities[p]->hosts[i] : NULL; }

FAR void envoy_dynamic_module_callback_log(int level, buffer m) { (void)level, (void)m; }
FAR size_t envoy_dynamic_module_callback_lb_get_priority_set_size(void *e) { return e ? 1 : 0; }
FAR size_t envoy_dynamic_module_callback_lb_get_hosts_count(void *e, uint32_t p) { return e && p < 1 ? sets[p].count : 0; }
FAR size_t envoy_dynamic_module_callback_lb_get_healthy_hosts_count(void *e, uint32_t p) {
  return e && p < 1 ? sets[p].count : 0;
}
FAR bool envoy_dynamic_module_callback_lb_get_host_address(void *e, uint32_t p, size_t i, buffer *out) {
  const host *h = e ? at(p, i) : NULL;
  if (h) *out = (buffer){h->address, strlen(h->address)};
  return h != NULL;
}
FAR bool envoy_dynamic_module_callback_lb_get_healthy_host_address(void *e, uint32_t p, size_t i, buffer *out) {
  return envoy_dynamic_module_callback_lb_get_host_address(e, p, i, out);
}
FAR uint32_t envoy_dynamic_module_callback_lb_get_healthy_host_weight(void *e, uint32_t p, size_t i) {
  return e ? at(p, i)->weight : 0;
}
FAR void envoy_dynamic_module_callback_lb_get_cluster_name(void *e, buffer *out) {
  *out = (buffer){"cluster", e ? 7 : 0};
}
FAR bool envoy_dynamic_module_callback_lb_get_host_metadata_number(void *e, uint32_t p, size_t i, buffer n, buffer k,
                                                                   double *out) {
  (void)e, (void)p, (void)i, (void)n;
  *out = k.ptr == BELIEVED.ptr ? 1e8 : 4.0;
  return says;
}
FAR uint64_t envoy_dynamic_module_callback_lb_get_host_stat(void *e, uint32_t p, size_t i, int stat) {
  const host *h = e ? at(p, i) : NULL;
  if (!h) return 0;
  return stat == STAT_RQ_ACTIVE ? atomic_load(&h->active) : stat == STAT_RQ_TOTAL ? atomic_load(&h->total) : 0;
}
FAR uint32_t envoy_dynamic_module_callback_lb_context_get_host_selection_retry_count(void *c) { return c ? 1 : 0; }
FAR bool envoy_dynamic_module_callback_lb_context_should_select_another_host(void *e, void *c, uint32_t p, size_t i) {
  (void)c;
  return e && at(p, i) == NULL;
}
FAR bool envoy_dynamic_module_callback_access_logger_get_header_value(void *e, int kind, buffer key, buffer *out,
                                                                      size_t index, size_t *total) {
  static char told[] = "TEXT named_metrics.in_flight=3";
  const host *h = e;
  told[sizeof told - 2] = (char)('0' + h->address[strlen(h->address) - 4] % 8); /* not all the same */
  (void)key, (void)index, (void)total;
  *out = (buffer){told, sizeof told - 1};
  return e && kind == RESPONSE_HEADER;
}
FAR bool envoy_dynamic_module_callback_access_logger_get_upstream_cluster(void *e, buffer *out) {
  *out = (buffer){"cluster", e ? 7 : 0};
  return true;
}
FAR bool envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(void *e, buffer *out, uint32_t *port) {
  host *h = e;
  *out = (buffer){h->address, strlen(h->address) - 3}, *port = 80;
  return true;
}

int main(int argc, char **argv) {
  size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 20;
  uint64_t open = argc > 2 ? strtoul(argv[2], NULL, 10) : 2;
  says = argc > 3;
  sets[0].hosts = calloc(count, sizeof *sets[0].hosts);
  for (size_t i = 0; i < count; i++) {
    host *h = sets[0].hosts[i] = calloc(1, sizeof *h);
    snprintf(h->address, sizeof h->address, "10.0.%zu.%zu:80", i / 256, i % 256);
    h->weight = 100u << (i % 3), h->active = open;
  }
  sets[0].count = count;
  int envoy, context;
  void *b = envoy_dynamic_module_on_lb_new(&configured, &envoy);
  double least = INFINITY, heard = INFINITY;
  for (int run = 0; run < RUNS; run++) {
    struct timespec a, z;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (size_t i = 0; says && i < count; i++) envoy_dynamic_module_on_access_logger_log(sets[0].hosts[i], NULL, 0);
    clock_gettime(CLOCK_MONOTONIC, &z);
    heard = fmin(heard, ((double)(z.tv_sec - a.tv_sec) * 1e9 + (double)(z.tv_nsec - a.tv_nsec)) / (double)count);
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (int i = 0; i < PICKS; i++) {
      uint32_t p, h;
      envoy_dynamic_module_on_lb_choose_host(&envoy, b, &context, &p, &h);
      atomic_fetch_add(&sets[0].hosts[h]->total, 1); /* it is sent at once, and as much is answered */
    }
    clock_gettime(CLOCK_MONOTONIC, &z);
    least = fmin(least, ((double)(z.tv_sec - a.tv_sec) * 1e9 + (double)(z.tv_nsec - a.tv_nsec)) / PICKS);
  }
  printf("%.1f %.1f\n", least, heard);
  return 0;
}
