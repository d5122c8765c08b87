/* What the module and Envoy 1.40 say to each other: the part of the dynamic-module interface that a load-balancing
 * policy and an access logger need, declared by us from the published one (envoy.extensions.dynamic_modules, ABI "v0.1.0").
 *
 * Hooks are ours, Envoy finds them by name. Callbacks are Envoy's. They are declared weak: a proxy that lacks one gives
 * us a null pointer, which `usable` in module.c sees and refuses, where a plain reference would end
 * the process at its first call.
 *
 * Indices: `healthy` counts among the healthy hosts of a priority, `at` among all of them. What a pick returns is a
 * healthy index; what tells of a host's open requests wants the other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ABI_VERSION "v0.1.0"
#define ENVOY_VERSION "1.40" /* the minor version whose behaviour this was written for and tested with */

typedef struct {
  const char *ptr;
  size_t length;
} buffer;

enum { LOG_ERROR = 4 };      /* envoy_dynamic_module_type_log_level */
/* envoy_dynamic_module_type_host_stat: requests sent to a host so far, and those of them that are not answered. */
enum { STAT_RQ_TOTAL = 5, STAT_RQ_ACTIVE = 7 };
enum { RESPONSE_HEADER = 2, RESPONSE_TRAILER = 3 }; /* envoy_dynamic_module_type_http_header_type */

#define HOOK __attribute__((visibility("default")))
#define CALLBACK extern __attribute__((weak))

HOOK const char *envoy_dynamic_module_on_program_init(void);
HOOK const void *envoy_dynamic_module_on_lb_config_new(void *envoy_config, buffer name, buffer config);
HOOK void envoy_dynamic_module_on_lb_config_destroy(const void *config);
HOOK void *envoy_dynamic_module_on_lb_new(const void *config, void *envoy);
HOOK bool envoy_dynamic_module_on_lb_choose_host(void *envoy, void *balancer, void *context, uint32_t *priority,
                                                 uint32_t *healthy);
HOOK void envoy_dynamic_module_on_lb_on_host_membership_update(void *envoy, void *balancer, size_t added,
                                                               size_t removed);
HOOK void envoy_dynamic_module_on_lb_destroy(void *balancer);
HOOK const void *envoy_dynamic_module_on_access_logger_config_new(void *envoy_config, buffer name, buffer config);
HOOK void envoy_dynamic_module_on_access_logger_config_destroy(const void *config);
HOOK const void *envoy_dynamic_module_on_access_logger_new(const void *config, void *envoy);
HOOK void envoy_dynamic_module_on_access_logger_log(void *envoy, const void *logger, int kind);
HOOK void envoy_dynamic_module_on_access_logger_destroy(const void *logger);

CALLBACK void envoy_dynamic_module_callback_log(int level, buffer message);
CALLBACK size_t envoy_dynamic_module_callback_lb_get_priority_set_size(void *envoy);
CALLBACK size_t envoy_dynamic_module_callback_lb_get_hosts_count(void *envoy, uint32_t priority);
CALLBACK size_t envoy_dynamic_module_callback_lb_get_healthy_hosts_count(void *envoy, uint32_t priority);
CALLBACK bool envoy_dynamic_module_callback_lb_get_host_address(void *envoy, uint32_t priority, size_t at, buffer *out);
CALLBACK bool envoy_dynamic_module_callback_lb_get_healthy_host_address(void *envoy, uint32_t priority, size_t healthy,
                                                                        buffer *out);
CALLBACK uint32_t envoy_dynamic_module_callback_lb_get_healthy_host_weight(void *envoy, uint32_t priority,
                                                                           size_t healthy);
CALLBACK bool envoy_dynamic_module_callback_lb_get_host_metadata_number(void *envoy, uint32_t priority, size_t at,
                                                                        buffer name_space, buffer key, double *out);
CALLBACK uint64_t envoy_dynamic_module_callback_lb_get_host_stat(void *envoy, uint32_t priority, size_t at, int stat);
CALLBACK uint32_t envoy_dynamic_module_callback_lb_context_get_host_selection_retry_count(void *context);
CALLBACK bool envoy_dynamic_module_callback_lb_context_should_select_another_host(void *envoy, void *context,
                                                                                  uint32_t priority, size_t at);
CALLBACK void envoy_dynamic_module_callback_lb_get_cluster_name(void *envoy, buffer *out);
CALLBACK bool envoy_dynamic_module_callback_access_logger_get_header_value(void *envoy, int kind, buffer key, buffer *out,
                                                                           size_t index, size_t *count);
CALLBACK bool envoy_dynamic_module_callback_access_logger_get_upstream_cluster(void *envoy, buffer *out);
CALLBACK bool envoy_dynamic_module_callback_access_logger_get_upstream_remote_address(void *envoy, buffer *out,
                                                                                      uint32_t *port);
