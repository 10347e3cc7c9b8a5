// A Tidegate filter in C: one function that sees one event and says what becomes of it.
//
//     const tg_filter filter = {.name = "only-high", .version = "0.1.0"};
//     bool filter_init(tg_text config) { return true; }
//     tg_verdict filter_process(const tg_event *event) { return tg_pass(event); }
//
// What the SDK hands out (texts, values of state, what tg_format makes) lives until the event is done; the
// configuration, and what is made of it in filter_init, lives as long as the filter. Nothing is freed by hand.
#ifndef TIDEGATE_H
#define TIDEGATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes, or text in UTF-8: not ended by a zero. `ptr` is NULL where there is nothing at all, such as no header.
typedef struct tg_text {
    const char *ptr;
    size_t len;
} tg_text;

// One event.
typedef struct tg_event {
    tg_text subject;   // where it was published, such as metrics.calculated
    uint64_t sequence; // its sequence in the source
    uint64_t time_ms;  // its time in the source, in milliseconds since 1970: the only clock a filter has
    tg_text headers;   // lines of `name: value`; see tg_header and tg_next_header
    tg_text company;   // the company; empty in a platform filter until one has decided it
    tg_text type;      // the event type; empty until a filter has decided it
    tg_text payload;   // any bytes
} tg_event;

// What becomes of an event: made by tg_pass, tg_emit, tg_drop and tg_error.
typedef enum tg_verdict { TG_DROP, TG_EMIT, TG_ERROR } tg_verdict;

// What a filter says of itself.
typedef struct tg_filter {
    const char *name;
    const char *version;
    const char *const *reads; // subjects it expects, with * and > as in NATS, ended by NULL; NULL: any
    const char *const *emits; // event types it may emit, ended by NULL; NULL: any
    uint32_t state_version;   // a new version of the filter that declares another one starts with empty state
    const char *config_schema; // JSON Schema of its configuration, which the host holds it against; NULL: none
} tg_filter;

// ---- what a filter defines

extern const tg_filter filter;
// Reads the configuration, JSON text; `{}` without one. To refuse it: return tg_refuse("why").
bool filter_init(tg_text config);
// The verdict for one event. Memory kept between calls is a cache only: the host makes and drops instances as it likes.
tg_verdict filter_process(const tg_event *event);

// ---- verdicts

// Passed on unchanged, with its own type.
tg_verdict tg_pass(const tg_event *event);
// Passed on with this type and data; an empty type keeps the event's own. Call it again for several. Data that is a part
// of the payload is passed on without a copy.
tg_verdict tg_emit(const char *type, tg_text data);
// For platform filters: the companies, separated by commas, that the last emission goes to.
tg_verdict tg_to(const char *companies);
// Not passed on; the reason, which may be "", is for those who ask what became of the event.
tg_verdict tg_drop(const char *reason);
// Can't be handled: a dead letter with this text, unless the deployer chose otherwise.
tg_verdict tg_error(const char *text);
// In filter_init: the configuration can't be taken. Always false.
bool tg_refuse(const char *why);

// ---- texts

// A text as `ptr` and `len`.
tg_text tg(const char *text);
// A text ended by a zero: a copy.
const char *tg_c(tg_text text);
// As printf; give a tg_text as "%.*s", TG_ARG(text).
const char *tg_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define TG_ARG(text) (int)(text).len, (text).ptr
bool tg_is(tg_text text, const char *other);
bool tg_same(tg_text text, tg_text other);
bool tg_starts(tg_text text, const char *start);
// Memory that lives as long as what else the SDK hands out.
void *tg_alloc(size_t bytes);

// ---- headers

// The first header of that name, whatever its case; `ptr` is NULL where there is none.
tg_text tg_header(const tg_event *event, const char *name);
// Goes through the headers: begin with *at = 0.
bool tg_next_header(const tg_event *event, size_t *at, tg_text *name, tg_text *value);

// ---- log, bounded in rate by the host

void tg_debug(const char *line);
void tg_info(const char *line);
void tg_warn(const char *line);
void tg_log_error(const char *line);

// ---- state: keys and values of this filter and its company, committed with what the event emits. Not for platform filters

typedef struct tg_entry {
    tg_text key;
    tg_text value;
} tg_entry;

// False where there is no such key.
bool tg_state_get(tg_text key, tg_text *value);
// NULL, or why nothing was written (the quota).
const char *tg_state_set(tg_text key, tg_text value);
void tg_state_delete(tg_text key);
// Entries whose key starts with `prefix`, in the order of their keys, at most `limit`; returns how many.
size_t tg_state_scan(tg_text prefix, uint32_t limit, tg_entry **entries);

// ---- JSON: read in place, written as text

// NULL where it is JSON, else what is wrong and where.
const char *tg_json_check(tg_text json);
// The text of one value: "/order/lines/0/price", "" for all of it. `ptr` is NULL where there is none. Wants valid JSON.
tg_text tg_json(tg_text json, const char *pointer);
// False where the value is of another kind, or a number that does not fit.
bool tg_json_number(tg_text value, double *number);
bool tg_json_integer(tg_text value, int64_t *number);
bool tg_json_bool(tg_text value, bool *flag);
// The text that a JSON string stands for, without its escapes.
bool tg_json_text(tg_text value, tg_text *text);
// Goes through an object, or an array (its keys have no `ptr`): begin with *at = 0. A key is as tg_json_text makes it.
bool tg_json_next(tg_text json, size_t *at, tg_text *key, tg_text *value);
// A text as a JSON string, with its quotes.
const char *tg_json_quote(tg_text text);

#endif
