/* Names to small codes, in a table of fixed size: what is beyond it, or too long, is code -1.
 *
 * The caller resolves each code once and then indexes arrays with it. A hostile explosion of names costs a full table
 * and nothing else; the caller clears it between batches.
 */
#ifndef WEIRFLOW_NAMES_H
#define WEIRFLOW_NAMES_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#define KEY_MAX 512
#define ARENA_PER_NAME 64 /* bytes of text, on average */
#define SLOTS_PER_NAME 4  /* a quarter full at most, so probes stay short */

typedef struct { uint64_t hash; uint32_t at, size; } Name;
typedef struct {
    uint32_t max, count, room, used;
    int32_t *slots; /* code, or -1: empty */
    Name *names;
    uint8_t *arena;
} Names;

/* Eight bytes at a time in the machine's own order, so that Python can follow at a bearable speed. 0 is kept for
 * "no bytes". */
static uint64_t hash(const uint8_t *at, size_t size)
{
    uint64_t out = size, word;
    if (size == 0) return 0;
    for (; size > 0; at += 8) {
        size_t part = size < 8 ? size : 8;
        word = 0;
        memcpy(&word, at, part);
        out = (out ^ word) * 0x9E3779B97F4A7C15u;
        out ^= out >> 29;
        size -= part;
    }
    return out ^ out >> 32 ? out ^ out >> 32 : 1;
}

static void names_clear(Names *n)
{
    n->count = n->used = 0;
    memset(n->slots, 0xff, sizeof(int32_t) * n->max * SLOTS_PER_NAME);
}

static int names_make(Names *n, uint32_t max)
{
    n->max = max;
    n->room = max * ARENA_PER_NAME;
    n->slots = PyMem_Malloc(sizeof(int32_t) * max * SLOTS_PER_NAME);
    n->names = PyMem_Malloc(sizeof(Name) * max);
    n->arena = PyMem_Malloc(n->room);
    if (!n->slots || !n->names || !n->arena) return 0;
    names_clear(n);
    return 1;
}

static int64_t names_code(Names *n, const uint8_t *key, size_t size)
{
    uint64_t h = hash(key, size);
    uint32_t slots = n->max * SLOTS_PER_NAME, slot = (uint32_t)((h >> 32) * slots >> 32);
    for (; n->slots[slot] >= 0; slot = slot + 1 == slots ? 0 : slot + 1) {
        const Name *known = &n->names[n->slots[slot]];
        if (known->hash == h && known->size == size && memcmp(n->arena + known->at, key, size) == 0)
            return n->slots[slot];
    }
    if (n->count == n->max || size > n->room - n->used) return -1;
    n->names[n->count] = (Name){h, n->used, (uint32_t)size};
    memcpy(n->arena + n->used, key, size);
    n->used += (uint32_t)size;
    n->slots[slot] = (int32_t)n->count;
    return n->count++;
}

static void names_free(Names *n)
{
    PyMem_Free(n->slots);
    PyMem_Free(n->names);
    PyMem_Free(n->arena);
}

#endif
