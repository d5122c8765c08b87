/* What an endpoint says of its own queue in an answer: requests in progress there beside the one answered.
 *
 * An ORCA load report (xds.data.orca.v3.OrcaLoadReport) with `in_flight` among its named metrics, as gRFC A51 and Envoy's
 * documentation have it: `endpoint-load-metrics: TEXT named_metrics.in_flight=3`, `JSON {"named_metrics":{"in_flight":3}}`,
 * or the message itself, base64 after `BIN ` or in `endpoint-load-metrics-bin`. Anybody may have written the bytes: what
 * is no such report, or no number of at least 0, is no report.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define METRIC "in_flight"
#define MOST_IN_FLIGHT 1e9
enum { METRIC_LENGTH = sizeof METRIC - 1, REPORT_BYTES = 512 };

/* The number that a text begins with; what is none, or too long for one, is found out by its range. */
static inline double number_of(const char *s, size_t length) {
  char digits[24] = "", *end;
  memcpy(digits, s, length < sizeof digits ? length : sizeof digits - 1);
  double n = strtod(digits, &end);
  return end > digits ? n : -1.0;
}

/* After the name, as `.in_flight=` or `"in_flight":`; -1 when it is not there. */
static inline double told_in_text(const char *s, size_t length) {
  const char *end = s + length;
  for (; (size_t)(end - s) > METRIC_LENGTH; s++) {
    if (memcmp(s + 1, METRIC, METRIC_LENGTH) != 0 || (*s != '.' && *s != '"')) continue;
    const char *at = s + 1 + METRIC_LENGTH;
    if (*s == '"' && (at == end || *at++ != '"')) continue;
    while (at < end && *at == ' ') at++;
    if (at < end && (*at == '=' || *at == ':')) return number_of(at + 1, (size_t)(end - at - 1));
  }
  return -1.0;
}

/* The entry of a map from string to double has its key as field 1 and its value as field 2, in this order in all that
 * writes protobuf; -1 when no such entry is in the message's first REPORT_BYTES. */
static inline double told_in_message(const char *s, size_t length) {
  static const char BASE64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  static const char entry[] = "\x0a\x09" METRIC "\x11"; /* a string of nine bytes, then a double */
  enum { ENTRY = sizeof entry - 1 };
  unsigned char bytes[REPORT_BYTES];
  size_t n = 0;
  uint32_t bits = 0;
  for (size_t i = 0, k = 0; i < length && n < REPORT_BYTES; i++) {
    const char *digit = memchr(BASE64, s[i], 64);
    if (!digit) break; /* padding, or no base64 */
    bits = bits << 6 | (uint32_t)(digit - BASE64);
    if (k++ % 4) bytes[n++] = (unsigned char)(bits >> (6 - 2 * ((k - 1) % 4)));
  }
  for (size_t i = 0; i + ENTRY + sizeof(double) <= n; i++) {
    if (memcmp(bytes + i, entry, ENTRY) != 0) continue;
    uint64_t raw = 0;
    for (size_t b = 0; b < sizeof raw; b++) raw |= (uint64_t)bytes[i + ENTRY + b] << (8 * b); /* least byte first */
    double told;
    memcpy(&told, &raw, sizeof told);
    return told;
  }
  return -1.0;
}

/* The requests in flight that a header's value tells of; -1 for none. */
static inline double in_flight_of(const char *value, size_t length, bool message) {
  bool binary = !message && length > 4 && memcmp(value, "BIN ", 4) == 0;
  if (binary) value += 4, length -= 4;
  double told = message || binary ? told_in_message(value, length) : told_in_text(value, length);
  return told >= 0.0 && told <= MOST_IN_FLIGHT ? told : -1.0;
}
