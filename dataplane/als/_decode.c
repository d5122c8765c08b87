/* The compiled reader of access log messages: protobuf's wire format straight into NumPy columns.
 *
 * It reads the dozen fields that we learn from and steps over the rest, so it allocates nothing per entry and touches
 * no Python object per entry. `reference.py` says the same through the generated protos; what that one accepts, this
 * one reads to the same numbers (tests/test_als_decode.py). It is laxer in one direction only: it does not look inside
 * fields that it steps over, nor at the UTF-8 of strings.
 *
 * Rules:
 * - Every read is checked against the end of the message that encloses it. Anything wrong ends the whole message: the
 *   rows it had written lie beyond the caller's count and are never seen.
 * - Names (cluster and address; route) become small codes in a table of fixed size. A name too many, or too long, is
 *   code -1: a hostile explosion of labels costs a bounded table and nothing else.
 *
 * Wire format: https://protobuf.dev/programming-guides/encoding/ ; fields: envoy/data/accesslog/v3/accesslog.proto.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "_names.h"

#define MALFORMED (-1)
#define ABSENT INT64_MIN
#define FAR_S 9223372033LL /* beyond this many seconds nanoseconds overflow: held at the end of time */
#define GROUP_DEPTH_MAX 100

/* The rows of the block, in the order of entries.COLUMNS. */
enum { ARRIVAL, START, DURATION, FIRST_RX, LAST_RX, FLAGS, STATUS, TARGET, ROUTE, REQUEST, REQUEST_BYTES,
       RESPONSE_BYTES, KIND, INTERMEDIATE, METHOD, COLUMNS };
static const char *const COLUMN_NAMES[COLUMNS] = {
    "arrival_ns", "start_ns", "duration_ns", "first_rx_ns", "last_rx_ns", "flags", "status", "target", "route",
    "request", "request_bytes", "response_bytes", "kind", "intermediate", "method"};

/* ---- the wire ---- */

typedef struct { const uint8_t *at, *end; } Bytes;
typedef struct { uint32_t tag; uint64_t value; Bytes body; } Field;
enum { W_VARINT = 0, W_I64 = 1, W_LEN = 2, W_GROUP = 3, W_GROUP_END = 4, W_I32 = 5 };
#define VARINT(number) ((number) << 3 | W_VARINT)
#define LEN(number) ((number) << 3 | W_LEN)

static int long_varint(Bytes *in, uint64_t *value)
{
    uint64_t out = 0;
    for (int shift = 0; shift < 70 && in->at < in->end; shift += 7) {
        uint8_t byte = *in->at++;
        out |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = out;
            return 1;
        }
    }
    return 0;
}

static inline int varint(Bytes *in, uint64_t *value)
{
    if (in->at == in->end || *in->at >= 0x80) return long_varint(in, value);
    *value = *in->at++; /* most of them */
    return 1;
}

static inline int skip(Bytes *in, uint64_t size)
{
    if (size > (uint64_t)(in->end - in->at)) return 0;
    in->at += size;
    return 1;
}

/* Read one field into `field`: 1, or 0 at the end of the message, or MALFORMED. Its tag says number and wire type
 * together, so a known number of an unexpected type matches no case and is stepped over, as protobuf does. */
static int next_at(Bytes *in, Field *field, int depth)
{
    uint64_t tag, size;
    if (in->at == in->end) return 0;
    if (!varint(in, &tag) || tag > UINT32_MAX || tag >> 3 == 0) return MALFORMED;
    field->tag = (uint32_t)tag;
    field->value = 0;
    switch (tag & 7) {
    case W_VARINT:
        return varint(in, &field->value) ? 1 : MALFORMED;
    case W_LEN:
        if (!varint(in, &size)) return MALFORMED;
        field->body.at = in->at;
        if (!skip(in, size)) return MALFORMED;
        field->body.end = in->at;
        return 1;
    case W_I64:
        return skip(in, 8) ? 1 : MALFORMED;
    case W_I32:
        return skip(in, 4) ? 1 : MALFORMED;
    case W_GROUP: { /* proto3 never writes one; step over it up to its own end */
        Field inner;
        if (depth == GROUP_DEPTH_MAX) return MALFORMED;
        while (next_at(in, &inner, depth + 1) == 1)
            if (inner.tag == (field->tag & ~7u) + W_GROUP_END) return 1;
        return MALFORMED;
    }
    case W_GROUP_END: /* only the loop above may meet one */
        return depth > 0 ? 1 : MALFORMED;
    default:
        return MALFORMED;
    }
}
#define next(in, field) next_at(in, field, 0)

/* ---- one entry ---- */

typedef struct { int64_t seconds; int32_t nanos; int present; } Span;
typedef struct {
    Span start, duration, first_rx, last_rx;
    Bytes cluster, route, request, address;
    uint32_t port, status;
    uint64_t flags, request_bytes, response_bytes;
    int32_t kind, method;
    int intermediate;
} Entry;

/* A reader of one message type: each known tag has a case, the rest is stepped over. Fields of a message that is
 * given twice are merged, as protobuf does, because they land in the same Entry. */
#define READ(name, type)                                \
    static int name##_field(const Field *f, type *out); \
    static int name(Bytes in, type *out)                \
    {                                                   \
        Field f;                                        \
        int more;                                       \
        while ((more = next(&in, &f)) == 1)             \
            if (!name##_field(&f, out)) return 0;       \
        return more == 0;                               \
    }                                                   \
    static int name##_field(const Field *f, type *out)

READ(span, Span) /* google.protobuf.Timestamp and Duration */
{
    if (f->tag == VARINT(1)) out->seconds = (int64_t)f->value;
    if (f->tag == VARINT(2)) out->nanos = (int32_t)f->value;
    return 1;
}

READ(socket_address, Entry)
{
    switch (f->tag) {
    case LEN(2): out->address = f->body; break;
    case VARINT(3): out->port = (uint32_t)f->value; break;
    case LEN(4): out->port = 0; break; /* named_port, of the same oneof */
    }
    return 1;
}

READ(address, Entry)
{
    switch (f->tag) {
    case LEN(1): return socket_address(f->body, out);
    case LEN(2): /* a pipe or an internal address, of the same oneof: no endpoint of ours has one */
    case LEN(3):
        out->address = (Bytes){0, 0};
        out->port = 0;
        break;
    }
    return 1;
}

READ(flags, Entry) /* bit n-1 is field n; unauthorized_details (13) is a message, its presence is the flag */
{
    uint32_t number = f->tag >> 3;
    if (f->tag == LEN(13))
        out->flags |= 1ull << 12;
    else if ((f->tag & 7) == W_VARINT && number <= 64 && number != 13)
        out->flags = (out->flags & ~(1ull << (number - 1))) | (uint64_t)(f->value != 0) << (number - 1);
    return 1;
}

READ(common, Entry)
{
    switch (f->tag) {
    case LEN(5): out->start.present = 1; return span(f->body, &out->start);
    case LEN(9): out->first_rx.present = 1; return span(f->body, &out->first_rx);
    case LEN(10): out->last_rx.present = 1; return span(f->body, &out->last_rx);
    case LEN(13): return address(f->body, out);
    case LEN(15): out->cluster = f->body; break;
    case LEN(16): return flags(f->body, out);
    case LEN(19): out->route = f->body; break;
    case LEN(23): out->duration.present = 1; return span(f->body, &out->duration);
    case VARINT(27): out->intermediate = f->value != 0; break;
    case VARINT(33): out->kind = (int32_t)f->value; break;
    }
    return 1;
}

READ(request, Entry)
{
    if (f->tag == VARINT(1)) out->method = (int32_t)f->value;
    if (f->tag == LEN(9)) out->request = f->body;
    if (f->tag == VARINT(12)) out->request_bytes = f->value;
    return 1;
}

READ(wrapped_status, Entry)
{
    if (f->tag == VARINT(1)) out->status = (uint32_t)f->value;
    return 1;
}

READ(response, Entry)
{
    if (f->tag == LEN(1)) return wrapped_status(f->body, out);
    if (f->tag == VARINT(3)) out->response_bytes = f->value;
    return 1;
}

READ(http_entry, Entry)
{
    switch (f->tag) {
    case LEN(1): return common(f->body, out);
    case LEN(3): return request(f->body, out);
    case LEN(4): return response(f->body, out);
    }
    return 1;
}

/* ---- entries to rows ---- */

typedef struct {
    PyObject_HEAD
    Names targets, routes;
} Reader;

static int64_t nanoseconds(const Span *s)
{
    if (!s->present) return ABSENT;
    if (s->seconds > FAR_S) return INT64_MAX;
    if (s->seconds < -FAR_S) return -INT64_MAX;
    return s->seconds * 1000000000 + s->nanos;
}

/* The name of a target is cluster, NUL, address, NUL, port as four bytes, the lowest first. */
static int64_t target_code(Names *names, const Entry *e)
{
    uint8_t key[KEY_MAX], *at = key;
    size_t cluster = (size_t)(e->cluster.end - e->cluster.at), address = (size_t)(e->address.end - e->address.at);
    if (cluster > KEY_MAX || address > KEY_MAX || cluster + address + 6 > KEY_MAX) return -1;
    if (cluster) memcpy(at, e->cluster.at, cluster);
    at += cluster;
    *at++ = 0;
    if (address) memcpy(at, e->address.at, address);
    at += address;
    *at++ = 0;
    for (int i = 0; i < 4; i++) *at++ = (uint8_t)(e->port >> (8 * i));
    return names_code(names, key, (size_t)(at - key));
}

static int64_t route_code(Names *names, const Entry *e)
{
    size_t size = (size_t)(e->route.end - e->route.at);
    return size > KEY_MAX ? -1 : names_code(names, size ? e->route.at : (const uint8_t *)"", size);
}

static void store(Reader *self, const Entry *e, int64_t *cell, Py_ssize_t stride, int64_t arrival)
{
    cell[ARRIVAL * stride] = arrival;
    cell[START * stride] = nanoseconds(&e->start);
    cell[DURATION * stride] = nanoseconds(&e->duration);
    cell[FIRST_RX * stride] = nanoseconds(&e->first_rx);
    cell[LAST_RX * stride] = nanoseconds(&e->last_rx);
    cell[FLAGS * stride] = (int64_t)e->flags;
    cell[STATUS * stride] = e->status;
    cell[TARGET * stride] = target_code(&self->targets, e);
    cell[ROUTE * stride] = route_code(&self->routes, e);
    cell[REQUEST * stride] = (int64_t)hash(e->request.at, (size_t)(e->request.end - e->request.at));
    cell[REQUEST_BYTES * stride] = (int64_t)e->request_bytes;
    cell[RESPONSE_BYTES * stride] = (int64_t)e->response_bytes;
    cell[KIND * stride] = e->kind;
    cell[INTERMEDIATE * stride] = e->intermediate;
    cell[METHOD * stride] = e->method;
}

/* How many entries the message holds, or MALFORMED; those that fit are rows from `row` on. */
static Py_ssize_t read_message(Reader *self, Bytes in, int64_t *block, Py_ssize_t capacity, Py_ssize_t row, int64_t arrival)
{
    Field log, f;
    Py_ssize_t seen = 0;
    int more, inner;
    while ((more = next(&in, &log)) == 1) {
        if (log.tag == LEN(3)) seen = 0; /* tcp_logs, of the same oneof */
        if (log.tag != LEN(2)) continue;
        while ((inner = next(&log.body, &f)) == 1) {
            if (f.tag != LEN(1)) continue;
            Entry entry;
            memset(&entry, 0, sizeof entry);
            if (!http_entry(f.body, &entry)) return MALFORMED;
            if (row + seen < capacity) store(self, &entry, block + row + seen, capacity, arrival);
            seen++;
        }
        if (inner < 0) return MALFORMED;
    }
    return more < 0 ? MALFORMED : seen;
}

/* ---- Python ---- */

static PyObject *reader_decode(PyObject *self, PyObject *args)
{
    Py_buffer message, block;
    Py_ssize_t row, seen;
    long long arrival;
    PyObject *into;
    if (!PyArg_ParseTuple(args, "y*OnL", &message, &into, &row, &arrival)) return NULL;
    if (PyObject_GetBuffer(into, &block, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
        PyBuffer_Release(&message);
        return NULL;
    }
    int fits = block.ndim == 2 && block.itemsize == 8 && block.shape[0] == COLUMNS && row >= 0 && row <= block.shape[1];
    seen = !fits ? 0
                 : read_message((Reader *)self, (Bytes){message.buf, (uint8_t *)message.buf + message.len}, block.buf,
                                block.shape[1], row, arrival);
    PyBuffer_Release(&block);
    PyBuffer_Release(&message);
    if (fits) return PyLong_FromSsize_t(seen);
    return PyErr_Format(PyExc_ValueError, "the block must be int64 of shape (%d, capacity) and have the row", COLUMNS);
}

static PyObject *names_since(const Names *n, PyObject *args)
{
    Py_ssize_t since;
    if (!PyArg_ParseTuple(args, "n", &since)) return NULL;
    PyObject *out = PyList_New(0);
    for (Py_ssize_t i = since < 0 ? 0 : since; out && i < n->count; i++) {
        PyObject *name = PyBytes_FromStringAndSize((char *)n->arena + n->names[i].at, n->names[i].size);
        if (!name || PyList_Append(out, name) < 0) Py_CLEAR(out);
        Py_XDECREF(name);
    }
    return out;
}

static PyObject *reader_targets(PyObject *self, PyObject *args) { return names_since(&((Reader *)self)->targets, args); }
static PyObject *reader_routes(PyObject *self, PyObject *args) { return names_since(&((Reader *)self)->routes, args); }

static PyObject *reader_clear(PyObject *self, PyObject *Py_UNUSED(none))
{
    names_clear(&((Reader *)self)->targets);
    names_clear(&((Reader *)self)->routes);
    Py_RETURN_NONE;
}

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"targets_max", "routes_max", NULL};
    unsigned int targets = 0, routes = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "II", keywords, &targets, &routes)) return NULL;
    if (targets < 1 || targets > 1u << 20 || routes < 1 || routes > 1u << 20)
        return PyErr_Format(PyExc_ValueError, "tables of 1 to 2**20 names, not %u and %u", targets, routes);
    Reader *self = (Reader *)type->tp_alloc(type, 0);
    if (self && (!names_make(&self->targets, targets) || !names_make(&self->routes, routes))) {
        Py_CLEAR(self);
        PyErr_NoMemory();
    }
    return (PyObject *)self;
}

static void reader_free(PyObject *self)
{
    names_free(&((Reader *)self)->targets);
    names_free(&((Reader *)self)->routes);
    Py_TYPE(self)->tp_free(self);
}

static PyMethodDef reader_methods[] = {
    {"decode", reader_decode, METH_VARARGS, "Entries in the message, or -1; those that fit become rows of the block."},
    {"targets", reader_targets, METH_VARARGS, "The names of target codes from this one on."},
    {"routes", reader_routes, METH_VARARGS, "The names of route codes from this one on."},
    {"clear", reader_clear, METH_NOARGS, "Forget all names: codes start at 0 again."},
    {NULL, NULL, 0, NULL}};

static PyTypeObject ReaderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "dataplane.als._decode.Reader",
    .tp_doc = "Reads serialized StreamAccessLogsMessages into columns; see dataplane.als.entries.Reader.",
    .tp_basicsize = sizeof(Reader),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = reader_new,
    .tp_dealloc = reader_free,
    .tp_methods = reader_methods,
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "dataplane.als._decode", .m_size = -1};

PyMODINIT_FUNC PyInit__decode(void)
{
    if (PyType_Ready(&ReaderType) < 0) return NULL;
    PyObject *m = PyModule_Create(&module), *columns = PyTuple_New(COLUMNS);
    for (int i = 0; columns && i < COLUMNS; i++) PyTuple_SET_ITEM(columns, i, PyUnicode_FromString(COLUMN_NAMES[i]));
    if (!m || !columns || PyModule_AddObject(m, "COLUMNS", columns) < 0) return NULL;
    return PyModule_AddType(m, &ReaderType) < 0 ? NULL : m;
}
