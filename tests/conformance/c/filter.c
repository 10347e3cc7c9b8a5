// The filter of the conformance suite, in C: the header `do` says what becomes of an event.
#include <string.h>

#include "tidegate.h"

const tg_filter filter = {.name = "conformance", .version = "1.0.0", .state_version = 1};

static tg_text tag;
static int64_t most;

bool filter_init(tg_text config) {
    tag = tg("none");
    most = 3;
    size_t at = 0;
    tg_text key, value;
    while (tg_json_next(config, &at, &key, &value)) {
        if (tg_is(key, "tag")) {
            if (!tg_json_text(value, &tag)) return tg_refuse("configuration: `tag` must be text");
        } else if (tg_is(key, "most")) {
            if (!tg_json_integer(value, &most) || most < 0 || most > 100) {
                return tg_refuse("configuration: `most` must be a whole number from 0 to 100");
            }
        } else {
            return tg_refuse(tg_format("configuration: unknown field `%.*s`", TG_ARG(key)));
        }
    }
    // The host's text goes when this returns; a copy stays.
    tag = tg(tg_c(tag));
    return true;
}

static tg_verdict map(const tg_event *event) {
    return tg_emit("mapped",
                   tg(tg_format("map {\"subject\":%s,\"sequence\":%llu,\"time\":%llu,\"company\":%s,\"type\":%s,\"bytes\":%zu,\"tag\":%s}",
                                tg_json_quote(event->subject), (unsigned long long)event->sequence,
                                (unsigned long long)event->time_ms, tg_json_quote(event->company),
                                tg_json_quote(event->type), event->payload.len, tg_json_quote(tag))));
}

static tg_verdict split(tg_text data) {
    size_t from = 0;
    int64_t lines = 0;
    tg_verdict said = TG_EMIT;
    for (size_t i = 0; i <= data.len; i++) {
        if (i < data.len && data.ptr[i] != '\n') continue;
        if (i > from) {
            if (++lines > most) return tg_error(tg_format("more than %lld lines", (long long)most));
            said = tg_emit("line", (tg_text){data.ptr + from, i - from});
        }
        from = i + 1;
    }
    return said;
}

static tg_verdict reverse(tg_text text) {
    // The JSON reader knows what UTF-8 is.
    if (tg_json_check(tg(tg_json_quote(text))) != NULL) return tg_error("no UTF-8");
    char *copy = tg_alloc(text.len + 1);
    size_t at = text.len, from = 0;
    while (from < text.len) {
        size_t to = from + 1;
        while (to < text.len && (text.ptr[to] & 0xC0) == 0x80) to++;
        at -= to - from;
        memcpy(copy + at, text.ptr + from, to - from);
        from = to;
    }
    return tg_emit("reversed", (tg_text){copy, text.len});
}

static tg_verdict hex(tg_text data) {
    char *text = tg_alloc(data.len * 2 + 1);
    for (size_t i = 0; i < data.len; i++) {
        text[2 * i] = "0123456789abcdef"[(uint8_t)data.ptr[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[(uint8_t)data.ptr[i] & 15];
    }
    return tg_emit("hex", (tg_text){text, data.len * 2});
}

static tg_text joined(tg_text a, tg_text b) {
    char *copy = tg_alloc(a.len + b.len + 1);
    if (a.len > 0) memcpy(copy, a.ptr, a.len);
    if (b.len > 0) memcpy(copy + a.len, b.ptr, b.len);
    return (tg_text){copy, a.len + b.len};
}

static tg_verdict count(tg_text key) {
    tg_text kept;
    int64_t number = 0;
    if (tg_state_get(key, &kept) && !tg_json_integer(kept, &number)) return tg_error("no number is kept");
    const char *next = tg_format("%lld", (long long)number + 1);
    const char *refused = tg_state_set(key, tg(next));
    return refused != NULL ? tg_error(refused) : tg_emit("count", tg(next));
}

static tg_verdict list(void) {
    tg_entry *entries;
    size_t found = tg_state_scan(tg("count/"), (uint32_t)most, &entries);
    tg_text all = tg("");
    for (size_t i = 0; i < found; i++) {
        all = joined(joined(all, entries[i].key), joined(tg("="), joined(entries[i].value, tg(";"))));
    }
    return tg_emit("list", all);
}

static tg_verdict headers(const tg_event *event) {
    size_t at = 0;
    tg_text name, value, all = tg("");
    while (tg_next_header(event, &at, &name, &value)) {
        all = joined(all, tg(tg_format("%.*s=%.*s;", TG_ARG(name), TG_ARG(value))));
    }
    return tg_emit("headers", all);
}

static tg_verdict json(tg_text payload) {
    tg_text name;
    if (tg_json_check(payload) != NULL) return tg_error("not JSON");
    if (!tg_json_text(tg_json(payload, "/user/name"), &name)) return tg_error("no /user/name");
    return tg_emit("name", name);
}

tg_verdict filter_process(const tg_event *event) {
    tg_text what = tg_header(event, "do");
    tg_text key = tg(tg_format("count/%.*s", TG_ARG(event->subject)));
    tg_text named = tg_header(event, "key"), text;
    if (what.len == 0) return tg_drop("");
    if (tg_is(what, "pass")) return tg_pass(event);
    if (tg_is(what, "keep")) {
        if (event->payload.len == 0) return tg_error("empty");
        return tg_emit("", (tg_text){event->payload.ptr + 1, event->payload.len - 1});
    }
    if (tg_is(what, "map")) return map(event);
    if (tg_is(what, "drop")) return tg_drop(tg_c(tg_header(event, "reason")));
    if (tg_is(what, "error")) {
        text = tg_header(event, "text");
        return tg_error(text.ptr == NULL ? "no text" : tg_c(text));
    }
    if (tg_is(what, "split")) return split(event->payload);
    if (tg_is(what, "several")) {
        tg_emit("a", event->payload);
        tg_emit("", event->payload);
        return tg_emit("b", tg(""));
    }
    if (tg_is(what, "nothing")) return TG_EMIT;
    if (tg_is(what, "json")) return json(event->payload);
    if (tg_is(what, "headers")) return headers(event);
    if (tg_is(what, "echo")) return tg_emit(tg_c(tg_header(event, "type")), joined(event->payload, tag));
    if (tg_is(what, "hex")) return hex(event->payload);
    if (tg_is(what, "reverse")) return reverse(event->payload);
    if (tg_is(what, "count")) return count(key);
    if (tg_is(what, "forget")) {
        tg_state_delete(key);
        return tg_emit("forgotten", tg(""));
    }
    if (tg_is(what, "list")) return list();
    if (tg_is(what, "put")) {
        const char *refused = tg_state_set(named, event->payload);
        return refused != NULL ? tg_error(refused) : tg_drop("put");
    }
    if (tg_is(what, "peek")) return tg_state_get(named, &text) ? tg_emit("kept", text) : tg_drop("nothing kept");
    if (tg_is(what, "log")) {
        tg_info(tg_c(event->payload));
        tg_warn(tg_c(tag));
        return tg_drop("logged");
    }
    return tg_error(tg_format("unknown: %.*s", TG_ARG(what)));
}
