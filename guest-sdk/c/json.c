// JSON read in place: nothing is copied but strings with escapes.
#include <stdlib.h>
#include <string.h>

#include "tidegate.h"

// Deeper nesting is refused: what reads it must not run out of stack.
#define DEPTH_MAX 128

typedef struct cursor {
    const char *at, *end;
    const char *wrong;
} cursor;

static void space(cursor *c) {
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r')) c->at++;
}

static bool fail(cursor *c, const char *why) {
    if (c->wrong == NULL) c->wrong = why;
    return false;
}

static int hex(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

// Four hexadecimal digits, or -1.
static int32_t unit(const char *at, const char *end) {
    if (end - at < 4) return -1;
    int32_t value = 0;
    for (int i = 0; i < 4; i++) {
        int digit = hex(at[i]);
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

// The bytes of one character in UTF-8, or 0 where it is none.
static size_t utf8(const char *at, const char *end) {
    const uint8_t *b = (const uint8_t *)at;
    size_t left = (size_t)(end - at);
    if (b[0] < 0x80) return 1;
#define MORE(i) (b[i] >= 0x80 && b[i] < 0xC0)
    if (b[0] >= 0xC2 && b[0] < 0xE0) return left > 1 && MORE(1) ? 2 : 0;
    if (b[0] >= 0xE0 && b[0] < 0xF0) {
        if (left < 3 || !MORE(1) || !MORE(2)) return 0;
        return (b[0] == 0xE0 && b[1] < 0xA0) || (b[0] == 0xED && b[1] >= 0xA0) ? 0 : 3;
    }
    if (b[0] >= 0xF0 && b[0] < 0xF5) {
        if (left < 4 || !MORE(1) || !MORE(2) || !MORE(3)) return 0;
        return (b[0] == 0xF0 && b[1] < 0x90) || (b[0] == 0xF4 && b[1] >= 0x90) ? 0 : 4;
    }
#undef MORE
    return 0;
}

static bool string(cursor *c) {
    for (c->at++; c->at < c->end;) {
        char now = *c->at;
        if (now == '"') {
            c->at++;
            return true;
        }
        if ((uint8_t)now < 0x20) return fail(c, "a control character in a string");
        if (now != '\\') {
            size_t bytes = utf8(c->at, c->end);
            if (bytes == 0) return fail(c, "text that is no UTF-8");
            c->at += bytes;
            continue;
        }
        if (++c->at >= c->end) break;
        if (*c->at == 'u') {
            int32_t high = unit(c->at + 1, c->end);
            if (high < 0) return fail(c, "an escape that is none");
            c->at += 5;
            if (high >= 0xDC00 && high < 0xE000) return fail(c, "half of a character");
            if (high >= 0xD800 && high < 0xDC00) {
                bool more = c->end - c->at >= 6 && c->at[0] == '\\' && c->at[1] == 'u';
                int32_t low = more ? unit(c->at + 2, c->end) : -1;
                if (low < 0xDC00 || low >= 0xE000) return fail(c, "half of a character");
                c->at += 6;
            }
        } else if (strchr("\"\\/bfnrt", *c->at) != NULL && *c->at != 0) {
            c->at++;
        } else {
            return fail(c, "an escape that is none");
        }
    }
    return fail(c, "a string without an end");
}

static size_t digits(cursor *c) {
    const char *from = c->at;
    while (c->at < c->end && *c->at >= '0' && *c->at <= '9') c->at++;
    return (size_t)(c->at - from);
}

static bool number(cursor *c) {
    if (*c->at == '-') c->at++;
    const char *from = c->at;
    size_t whole = digits(c);
    if (whole == 0 || (whole > 1 && *from == '0')) return fail(c, "no value");
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        if (digits(c) == 0) return fail(c, "a number that is none");
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-')) c->at++;
        if (digits(c) == 0) return fail(c, "a number that is none");
    }
    return true;
}

static bool word(cursor *c, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0) return fail(c, "no value");
    c->at += len;
    return true;
}

// Passes over one value. Without recursion: how deep it is costs no stack.
static bool value(cursor *c) {
    char open[DEPTH_MAX];
    int depth = 0;
    for (;;) {
        space(c);
        if (c->at >= c->end) return fail(c, "it ends too soon");
        char now = *c->at;
        if (now == '{' || now == '[') {
            if (depth == DEPTH_MAX) return fail(c, "nested too deep");
            c->at++;
            space(c);
            if (c->at < c->end && *c->at == (now == '{' ? '}' : ']')) {
                c->at++;
            } else {
                open[depth++] = now;
                if (now == '[') continue;
                goto key;
            }
        } else if (now == '"') {
            if (!string(c)) return false;
        } else if (now == 't') {
            if (!word(c, "true")) return false;
        } else if (now == 'f') {
            if (!word(c, "false")) return false;
        } else if (now == 'n') {
            if (!word(c, "null")) return false;
        } else if (now == '-' || (now >= '0' && now <= '9')) {
            if (!number(c)) return false;
        } else {
            return fail(c, "no value");
        }
        // A value has ended: what is around it goes on, or ends as well.
        for (;;) {
            if (depth == 0) return true;
            space(c);
            if (c->at >= c->end) return fail(c, "it ends too soon");
            char close = open[depth - 1] == '{' ? '}' : ']';
            if (*c->at == close) {
                c->at++;
                depth--;
                continue;
            }
            if (*c->at != ',') return fail(c, "a comma is missing");
            c->at++;
            break;
        }
        if (open[depth - 1] == '[') continue;
    key:
        space(c);
        if (c->at >= c->end || *c->at != '"') return fail(c, "a name is missing");
        if (!string(c)) return false;
        space(c);
        if (c->at >= c->end || *c->at != ':') return fail(c, "a colon is missing");
        c->at++;
    }
}

const char *tg_json_check(tg_text json) {
    cursor c = {json.ptr, json.ptr + json.len, NULL};
    if (value(&c)) {
        space(&c);
        if (c.at == c.end) return NULL;
        c.wrong = "something comes after it";
    }
    return tg_format("not JSON: %s at byte %d", c.wrong, (int)(c.at - json.ptr));
}

bool tg_json_next(tg_text json, size_t *at, tg_text *key, tg_text *found) {
    cursor c = {json.ptr + *at, json.ptr + json.len, NULL};
    if (json.ptr == NULL) return false;
    space(&c);
    if (c.at >= c.end) return false;
    if (*at == 0 && *c.at != '{' && *c.at != '[') return false;
    // Where it stands: at the opening, or behind a value.
    bool first = *at == 0;
    if (!first && *c.at != ',') return false;
    c.at++;
    space(&c);
    if (c.at >= c.end || *c.at == '}' || *c.at == ']') return false;
    const char *start = json.ptr;
    while (start < c.end && *start != '{' && *start != '[') start++;
    *key = (tg_text){NULL, 0};
    if (*start == '{') {
        const char *from = c.at;
        if (*c.at != '"' || !string(&c)) return false;
        if (!tg_json_text((tg_text){from, (size_t)(c.at - from)}, key)) return false;
        space(&c);
        if (c.at >= c.end || *c.at != ':') return false;
        c.at++;
        space(&c);
    }
    const char *from = c.at;
    if (!value(&c)) return false;
    *found = (tg_text){from, (size_t)(c.at - from)};
    *at = (size_t)(c.at - json.ptr);
    return true;
}

// Whether a part of a pointer names this key: ~1 stands for / and ~0 for ~.
static bool names(const char *step, size_t len, tg_text key) {
    size_t at = 0;
    for (size_t i = 0; i < len; i++, at++) {
        char wanted = step[i];
        if (wanted == '~' && i + 1 < len && (step[i + 1] == '0' || step[i + 1] == '1')) wanted = step[++i] == '1' ? '/' : '~';
        if (at >= key.len || key.ptr[at] != wanted) return false;
    }
    return at == key.len;
}

tg_text tg_json(tg_text json, const char *pointer) {
    cursor c = {json.ptr, json.ptr + json.len, NULL};
    tg_text none = {NULL, 0};
    if (json.ptr == NULL) return none;
    space(&c);
    tg_text here = {c.at, (size_t)(c.end - c.at)};
    while (here.len > 0 && strchr(" \t\r\n", here.ptr[here.len - 1]) != NULL) here.len--;
    while (*pointer == '/') {
        const char *step = pointer + 1;
        size_t len = strcspn(step, "/"), at = 0, index = 0;
        tg_text key, one, found = none;
        while (tg_json_next(here, &at, &key, &one)) {
            if (key.ptr != NULL) {
                // Of several of one name the last one counts, as everywhere.
                if (names(step, len, key)) found = one;
            } else {
                char number[24] = "";
                const char *text = tg_format("%u", (unsigned)index);
                strncpy(number, text, sizeof(number) - 1);
                if (strlen(number) == len && memcmp(number, step, len) == 0) {
                    found = one;
                    break;
                }
                index++;
            }
        }
        if (found.ptr == NULL) return none;
        here = found;
        pointer = step + len;
    }
    return *pointer == 0 && here.len > 0 ? here : none;
}

bool tg_json_number(tg_text text, double *result) {
    cursor c = {text.ptr, text.ptr + text.len, NULL};
    if (text.len == 0 || (*text.ptr != '-' && hex(*text.ptr) < 0) || !number(&c) || c.at != c.end) return false;
    *result = strtod(tg_c(text), NULL);
    return *result - *result == 0;
}

bool tg_json_integer(tg_text text, int64_t *result) {
    bool negative = text.len > 0 && text.ptr[0] == '-';
    size_t i = negative ? 1 : 0;
    if (text.len == i || text.len > 20) return false;
    int64_t value = 0;
    for (; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') return false;
        int digit = text.ptr[i] - '0';
        if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (negative ? __builtin_sub_overflow(value, digit, &value) : __builtin_add_overflow(value, digit, &value)) return false;
    }
    *result = value;
    return true;
}

bool tg_json_bool(tg_text text, bool *flag) {
    if (!tg_is(text, "true") && !tg_is(text, "false")) return false;
    *flag = text.len == 4;
    return true;
}

static char *put(char *to, uint32_t character) {
    if (character < 0x80) {
        *to++ = (char)character;
    } else if (character < 0x800) {
        *to++ = (char)(0xC0 | (character >> 6));
        *to++ = (char)(0x80 | (character & 0x3F));
    } else if (character < 0x10000) {
        *to++ = (char)(0xE0 | (character >> 12));
        *to++ = (char)(0x80 | ((character >> 6) & 0x3F));
        *to++ = (char)(0x80 | (character & 0x3F));
    } else {
        *to++ = (char)(0xF0 | (character >> 18));
        *to++ = (char)(0x80 | ((character >> 12) & 0x3F));
        *to++ = (char)(0x80 | ((character >> 6) & 0x3F));
        *to++ = (char)(0x80 | (character & 0x3F));
    }
    return to;
}

bool tg_json_text(tg_text json, tg_text *text) {
    cursor c = {json.ptr, json.ptr + json.len, NULL};
    if (json.len < 2 || *json.ptr != '"' || !string(&c) || c.at != c.end) return false;
    const char *from = json.ptr + 1, *end = json.ptr + json.len - 1;
    if (memchr(from, '\\', (size_t)(end - from)) == NULL) {
        *text = (tg_text){from, (size_t)(end - from)};
        return true;
    }
    // No escape is shorter than what it stands for.
    char *copy = tg_alloc((size_t)(end - from) + 1), *to = copy;
    while (from < end) {
        if (*from != '\\') {
            *to++ = *from++;
            continue;
        }
        char kind = from[1];
        from += 2;
        if (kind == 'u') {
            uint32_t character = (uint32_t)unit(from, end);
            from += 4;
            if (character >= 0xD800 && character < 0xDC00) {
                character = 0x10000 + ((character - 0xD800) << 10) + ((uint32_t)unit(from + 2, end) - 0xDC00);
                from += 6;
            }
            to = put(to, character);
        } else {
            *to++ = kind == 'b' ? '\b' : kind == 'f' ? '\f' : kind == 'n' ? '\n' : kind == 'r' ? '\r' : kind == 't' ? '\t' : kind;
        }
    }
    *text = (tg_text){copy, (size_t)(to - copy)};
    return true;
}

const char *tg_json_quote(tg_text text) {
    if (text.len > SIZE_MAX / 8) return "null";
    char *quoted = tg_alloc(text.len * 6 + 3), *to = quoted;
    *to++ = '"';
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        if (c == '"' || c == '\\') {
            *to++ = '\\';
            *to++ = (char)c;
        } else if (c >= 0x20) {
            *to++ = (char)c;
        } else {
            const char *short_form = strchr("\bb\tt\nn\ff\rr", (char)c);
            *to++ = '\\';
            if (c != 0 && short_form != NULL) {
                *to++ = short_form[1];
            } else {
                const char *digits = "0123456789abcdef";
                *to++ = 'u', *to++ = '0', *to++ = '0', *to++ = digits[c >> 4], *to++ = digits[c & 15];
            }
        }
    }
    *to++ = '"';
    *to = 0;
    return quoted;
}
