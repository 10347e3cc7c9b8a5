// The filter world's three exports over the author's functions: one output buffer for a batch, and memory that is
// given back after each event.
#include "tidegate.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "world.h"

typedef tidegate_filter_types_span_t span;
typedef tidegate_filter_types_emission_t emission;
typedef tidegate_filter_types_verdict_t verdict;

// ---- memory

// A piece of memory that the SDK handed out.
typedef struct piece {
    struct piece *before;
    size_t used, size;
    _Alignas(16) char bytes[];
} piece;

#define PIECE_BYTES 16384

static piece *pieces;
// Lists that the host wrote into this instance's memory.
typedef struct given {
    struct given *before;
    void *memory;
} given;
static given *all_given;

static void die(const char *why) {
    tg_log_error(why);
    __builtin_trap();
}

static void *must(void *memory) {
    if (memory == NULL) die("out of memory: memory-mib in [limits] allows no more");
    return memory;
}

void *tg_alloc(size_t bytes) {
    if (bytes > SIZE_MAX / 2) die("more memory than there can be was asked for");
    bytes = (bytes + 15) & ~(size_t)15;
    if (pieces == NULL || pieces->size - pieces->used < bytes) {
        size_t size = bytes > PIECE_BYTES ? bytes : PIECE_BYTES;
        piece *next = must(malloc(sizeof(piece) + size));
        next->before = pieces;
        next->used = 0;
        next->size = size;
        pieces = next;
    }
    void *memory = pieces->bytes + pieces->used;
    pieces->used += bytes;
    return memory;
}

static void keep(void *memory) {
    if (memory == NULL) return;
    given *one = tg_alloc(sizeof(given));
    one->before = all_given;
    one->memory = memory;
    all_given = one;
}

// After an event: one piece stays for the next one.
static void give_back(void) {
    for (given *one = all_given; one != NULL; one = one->before) free(one->memory);
    all_given = NULL;
    while (pieces != NULL && pieces->before != NULL) {
        piece *before = pieces->before;
        free(pieces);
        pieces = before;
    }
    if (pieces != NULL) pieces->used = 0;
}

// What filter_init made stays.
static void let_live(void) {
    all_given = NULL;
    pieces = NULL;
}

// ---- the output of a batch

static struct {
    const char *input;
    size_t input_len;
    char *bytes;
    size_t len, room;
    emission *emissions;
    size_t emitted, emissions_room;
    // What the present event said.
    span text;
} out;

static void *grown(void *memory, size_t *room, size_t wanted, size_t each) {
    if (wanted <= *room) return memory;
    size_t next = *room < 16 ? 16 : *room * 2;
    if (next < wanted) next = wanted;
    if (next > SIZE_MAX / 2 / each) die("an output larger than memory");
    *room = next;
    return must(realloc(memory, next * each));
}

static span append(const char *bytes, size_t len) {
    if (len == 0) return (span){0, 0};
    out.bytes = grown(out.bytes, &out.room, out.len + len, 1);
    memcpy(out.bytes + out.len, bytes, len);
    span where = {(uint32_t)out.len, (uint32_t)len};
    out.len += len;
    return where;
}

static span append_text(const char *text) {
    return text == NULL ? (span){0, 0} : append(text, strlen(text));
}

tg_verdict tg_emit(const char *type, tg_text data) {
    emission one = {.event_type = append_text(type), .data_place = TIDEGATE_FILTER_TYPES_PLACE_OUTPUT};
    bool inside = out.input != NULL && data.len > 0 && data.ptr >= out.input && data.len <= out.input_len &&
                  (size_t)(data.ptr - out.input) <= out.input_len - data.len;
    if (inside) {
        one.data_place = TIDEGATE_FILTER_TYPES_PLACE_INPUT;
        one.data = (span){(uint32_t)(data.ptr - out.input), (uint32_t)data.len};
    } else {
        one.data = append(data.ptr, data.len);
    }
    out.emissions = grown(out.emissions, &out.emissions_room, out.emitted + 1, sizeof(emission));
    out.emissions[out.emitted++] = one;
    return TG_EMIT;
}

tg_verdict tg_pass(const tg_event *event) {
    return tg_emit("", event->payload);
}

tg_verdict tg_to(const char *companies) {
    if (out.emitted == 0) die("tg_to comes after tg_emit or tg_pass");
    out.emissions[out.emitted - 1].companies = append_text(companies);
    return TG_EMIT;
}

tg_verdict tg_drop(const char *reason) {
    out.text = append_text(reason);
    return TG_DROP;
}

tg_verdict tg_error(const char *text) {
    out.text = append_text(text);
    return TG_ERROR;
}

// ---- texts

tg_text tg(const char *text) {
    return (tg_text){text, strlen(text)};
}

const char *tg_c(tg_text text) {
    char *copy = tg_alloc(text.len + 1);
    if (text.len > 0) memcpy(copy, text.ptr, text.len);
    copy[text.len] = 0;
    return copy;
}

const char *tg_format(const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (len < 0) die("tg_format: a text that can't be made");
    char *text = tg_alloc((size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

bool tg_same(tg_text text, tg_text other) {
    return text.len == other.len && (text.len == 0 || memcmp(text.ptr, other.ptr, text.len) == 0);
}

bool tg_is(tg_text text, const char *other) {
    return tg_same(text, tg(other));
}

bool tg_starts(tg_text text, const char *start) {
    size_t len = strlen(start);
    return text.len >= len && tg_same((tg_text){text.ptr, len}, tg(start));
}

// ---- headers

static tg_text trimmed(const char *from, const char *to) {
    while (from < to && (*from == ' ' || *from == '\t' || *from == '\r')) from++;
    while (from < to && (to[-1] == ' ' || to[-1] == '\t' || to[-1] == '\r')) to--;
    return (tg_text){from, (size_t)(to - from)};
}

bool tg_next_header(const tg_event *event, size_t *at, tg_text *name, tg_text *value) {
    while (*at < event->headers.len) {
        const char *line = event->headers.ptr + *at;
        const char *end = memchr(line, '\n', event->headers.len - *at);
        if (end == NULL) end = event->headers.ptr + event->headers.len;
        *at = (size_t)(end - event->headers.ptr) + 1;
        const char *colon = memchr(line, ':', (size_t)(end - line));
        if (colon != NULL) {
            *name = trimmed(line, colon);
            *value = trimmed(colon + 1, end);
            return true;
        }
    }
    return false;
}

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

tg_text tg_header(const tg_event *event, const char *wanted) {
    size_t at = 0, len = strlen(wanted);
    tg_text name, value;
    while (tg_next_header(event, &at, &name, &value)) {
        size_t same = 0;
        while (name.len == len && same < len && lower(name.ptr[same]) == lower(wanted[same])) same++;
        if (name.len == len && same == len) return value;
    }
    return (tg_text){NULL, 0};
}

// ---- log and state

static void log_line(uint8_t level, const char *line) {
    filter_string_t message = {(uint8_t *)line, strlen(line)};
    tidegate_filter_log_write(level, &message);
}

void tg_debug(const char *line) { log_line(TIDEGATE_FILTER_LOG_LEVEL_DEBUG, line); }
void tg_info(const char *line) { log_line(TIDEGATE_FILTER_LOG_LEVEL_INFO, line); }
void tg_warn(const char *line) { log_line(TIDEGATE_FILTER_LOG_LEVEL_WARN, line); }
void tg_log_error(const char *line) { log_line(TIDEGATE_FILTER_LOG_LEVEL_ERROR, line); }

static filter_string_t string_of(tg_text text) {
    return (filter_string_t){(uint8_t *)text.ptr, text.len};
}

static tg_text text_of(uint8_t *ptr, size_t len) {
    if (len > 0) keep(ptr);
    return (tg_text){len > 0 ? (const char *)ptr : "", len};
}

bool tg_state_get(tg_text key, tg_text *value) {
    filter_string_t name = string_of(key);
    filter_list_u8_t found = {NULL, 0};
    if (!tidegate_filter_state_get(&name, &found)) return false;
    *value = text_of(found.ptr, found.len);
    return true;
}

const char *tg_state_set(tg_text key, tg_text value) {
    filter_string_t name = string_of(key), why = {NULL, 0};
    filter_list_u8_t bytes = {(uint8_t *)value.ptr, value.len};
    if (tidegate_filter_state_set(&name, &bytes, &why)) return NULL;
    return tg_c(text_of(why.ptr, why.len));
}

void tg_state_delete(tg_text key) {
    filter_string_t name = string_of(key);
    tidegate_filter_state_delete(&name);
}

size_t tg_state_scan(tg_text prefix, uint32_t limit, tg_entry **entries) {
    filter_string_t start = string_of(prefix);
    tidegate_filter_state_list_entry_t found = {NULL, 0};
    tidegate_filter_state_scan(&start, limit, &found);
    *entries = tg_alloc(found.len * sizeof(tg_entry) + 1);
    for (size_t i = 0; i < found.len; i++) {
        tidegate_filter_state_entry_t *one = &found.ptr[i];
        (*entries)[i] = (tg_entry){text_of(one->key.ptr, one->key.len), text_of(one->value.ptr, one->value.len)};
    }
    if (found.len > 0) keep(found.ptr);
    return found.len;
}

// ---- the world's exports

static const char *refusal;

bool tg_refuse(const char *why) {
    refusal = why;
    return false;
}

static filter_list_string_t list_of(const char *const *texts) {
    filter_list_string_t list = {NULL, 0};
    while (texts != NULL && texts[list.len] != NULL) list.len++;
    if (list.len == 0) return list;
    list.ptr = must(calloc(list.len, sizeof(filter_string_t)));
    for (size_t i = 0; i < list.len; i++) filter_string_dup(&list.ptr[i], texts[i]);
    return list;
}

void exports_filter_describe(filter_description_t *ret) {
    filter_string_dup(&ret->name, filter.name != NULL ? filter.name : "");
    filter_string_dup(&ret->version, filter.version != NULL ? filter.version : "");
    ret->reads = list_of(filter.reads);
    ret->emits = list_of(filter.emits);
    ret->state_version = filter.state_version;
    filter_string_dup(&ret->config_schema, filter.config_schema != NULL ? filter.config_schema : "");
}

bool exports_filter_init(filter_string_t *config, filter_string_t *err) {
    refusal = NULL;
    tg_text text = {(const char *)config->ptr, config->len};
    if (text.len == 0) text = tg("{}");
    const char *problem = tg_json_check(text);
    if (problem != NULL) {
        filter_string_dup(err, tg_format("configuration: %s", problem));
        return false;
    }
    bool taken = filter_init(text);
    if (!taken) filter_string_dup(err, refusal != NULL ? refusal : "the configuration was refused without a word");
    let_live();
    return taken;
}

static tg_text part(span where) {
    return (tg_text){out.input + where.offset, where.length};
}

void exports_filter_process(filter_list_event_t *events, filter_list_u8_t *bytes, filter_batch_result_t *ret) {
    memset(&out, 0, sizeof(out));
    out.input = bytes->len > 0 ? (const char *)bytes->ptr : "";
    out.input_len = bytes->len;
    verdict *verdicts = must(calloc(events->len + 1, sizeof(verdict)));
    for (size_t i = 0; i < events->len; i++) {
        const filter_event_t *from = &events->ptr[i];
        tg_event event = {
            part(from->subject), from->sequence,         from->time_ms,      part(from->headers),
            part(from->company), part(from->event_type), part(from->payload)};
        size_t emitted = out.emitted;
        out.text = (span){0, 0};
        tg_verdict said = filter_process(&event);
        // An event that is not passed on has emitted nothing.
        if (said != TG_EMIT) out.emitted = emitted;
        verdicts[i].kind = said == TG_EMIT    ? TIDEGATE_FILTER_TYPES_VERDICT_KIND_EMIT
                           : said == TG_ERROR ? TIDEGATE_FILTER_TYPES_VERDICT_KIND_ERROR
                                              : TIDEGATE_FILTER_TYPES_VERDICT_KIND_DROP;
        if (said != TG_EMIT) verdicts[i].text = out.text;
        verdicts[i].emissions = (uint32_t)(out.emitted - emitted);
        give_back();
    }
    if (events->len > 0) free(events->ptr);
    if (bytes->len > 0) free(bytes->ptr);
    // Lists of no length are not freed after the call.
    if (events->len == 0) { free(verdicts); verdicts = NULL; }
    if (out.emitted == 0) { free(out.emissions); out.emissions = NULL; }
    if (out.len == 0) { free(out.bytes); out.bytes = NULL; }
    ret->verdicts = (tidegate_filter_types_list_verdict_t){verdicts, events->len};
    ret->emissions = (tidegate_filter_types_list_emission_t){out.emissions, out.emitted};
    ret->bytes = (filter_list_u8_t){(uint8_t *)out.bytes, out.len};
    memset(&out, 0, sizeof(out));
}
