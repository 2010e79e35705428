/* After the "Exception Frames" of the LSB and DWARF 5, section 6.4. */
#include "cfi.h"

#include <string.h>

/* DWARF's numbers of registers. */
#if defined(__x86_64__)
enum { REGISTER_SP = 7, REGISTER_BP = 6, REGISTER_RA = 16 };
#else
enum { REGISTER_SP = 31, REGISTER_BP = 29, REGISTER_RA = 30 };
#endif

enum { PE_OMIT = 0xff, PE_SIGNED = 0x08, PE_PCREL = 0x10, PE_DATAREL = 0x30, PE_INDIRECT = 0x80 };

/* What is left to read. Reading on behind the end gives zeros and is remembered. */
struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool wrong;
};

static uint64_t take(struct reader *reader, size_t bytes)
{
    uint64_t value = 0;
    if ((size_t)(reader->end - reader->at) < bytes) {
        reader->at = reader->end;
        reader->wrong = true;
        return 0;
    }
    memcpy(&value, reader->at, bytes);
    reader->at += bytes;
    return value;
}

static uint64_t uleb(struct reader *reader)
{
    uint64_t value = 0, byte;
    unsigned shift = 0;
    do {
        byte = take(reader, 1);
        if (shift < 64)
            value |= (byte & 0x7f) << shift;
        shift += 7;
    } while ((byte & 0x80) != 0);
    return value;
}

static int64_t sleb(struct reader *reader)
{
    uint64_t value = 0, byte;
    unsigned shift = 0;
    do {
        byte = take(reader, 1);
        if (shift < 64)
            value |= (byte & 0x7f) << shift;
        shift += 7;
    } while ((byte & 0x80) != 0);
    if (shift < 64 && (byte & 0x40) != 0)
        value |= ~UINT64_C(0) << shift;
    return (int64_t)value;
}

static void skip(struct reader *reader, uint64_t bytes)
{
    if ((uint64_t)(reader->end - reader->at) < bytes) {
        reader->at = reader->end;
        reader->wrong = true;
        return;
    }
    reader->at += bytes;
}

/* A pointer in one of the forms that a linker writes. */
static uint64_t encoded(struct reader *reader, uint8_t encoding, uintptr_t data)
{
    uintptr_t here = (uintptr_t)reader->at;
    uint64_t value;
    switch (encoding & 0x0f) {
    case 0x00: /* absptr */
    case 0x04:
    case 0x0c:
        value = take(reader, 8);
        break;
    case 0x02:
        value = take(reader, 2);
        break;
    case 0x0a:
        value = (uint64_t)(int16_t)take(reader, 2);
        break;
    case 0x03:
        value = take(reader, 4);
        break;
    case 0x0b:
        value = (uint64_t)(int32_t)take(reader, 4);
        break;
    case 0x01:
        value = uleb(reader);
        break;
    case 0x09:
        value = (uint64_t)sleb(reader);
        break;
    default:
        reader->wrong = true;
        return 0;
    }
    switch (encoding & 0x70) {
    case 0x00:
        return value;
    case PE_PCREL:
        return value + here;
    case PE_DATAREL:
        return value + data;
    default:
        reader->wrong = true;
        return 0;
    }
}

struct cie {
    uint64_t code_align;
    int64_t data_align;
    uint8_t encoding;
    bool augmented;
    bool signal;
    struct reader program;
};

/* The contents of an entry at AT; false when it is the terminator or has a form that is not known. */
static bool open_entry(const uint8_t *at, struct reader *reader)
{
    uint32_t length;
    memcpy(&length, at, sizeof length);
    if (length == 0 || length >= 0xfffffff0)
        return false;
    *reader = (struct reader){.at = at + 4, .end = at + 4 + length};
    return true;
}

static bool read_cie(const uint8_t *at, struct cie *cie)
{
    struct reader reader;
    if (!open_entry(at, &reader) || take(&reader, 4) != 0)
        return false;
    uint64_t version = take(&reader, 1);
    if (version != 1 && version != 3)
        return false;
    const char *augmentation = (const char *)reader.at;
    size_t length = strnlen(augmentation, (size_t)(reader.end - reader.at));
    skip(&reader, length + 1);
    *cie = (struct cie){.code_align = uleb(&reader), .encoding = 0};
    cie->data_align = sleb(&reader);
    uint64_t ra = version == 1 ? take(&reader, 1) : uleb(&reader);
    if (ra != REGISTER_RA)
        return false;
    const uint8_t *program = NULL;
    for (size_t i = 0; i < length && !reader.wrong; i++) {
        uint64_t bytes;
        uint8_t form;
        switch (augmentation[i]) {
        case 'z':
            bytes = uleb(&reader);
            if (bytes > (uint64_t)(reader.end - reader.at))
                return false;
            program = reader.at + bytes;
            cie->augmented = true;
            break;
        case 'R':
            cie->encoding = (uint8_t)take(&reader, 1);
            break;
        case 'P':
            form = (uint8_t)take(&reader, 1);
            /* Not followed, so what it is relative to does not matter. */
            encoded(&reader, form & 0x0f, 0);
            break;
        case 'L':
            take(&reader, 1);
            break;
        case 'S':
            cie->signal = true;
            break;
        case 'B':
            break;
        default:
            return false;
        }
    }
    if (program != NULL)
        reader.at = program;
    cie->program = reader;
    return !reader.wrong && (cie->encoding & PE_INDIRECT) == 0;
}

/* Where a register's old value is. */
enum place { PLACE_SAME = 0, PLACE_AT, PLACE_UNDEFINED, PLACE_AT_BP, PLACE_OTHER };

struct saved {
    enum place place;
    int64_t offset;
};

struct state {
    uint64_t cfa_register; /* CFA_EXPRESSION: by expression */
    int64_t cfa_offset;
    const uint8_t *expression;
    uint64_t expression_length;
    struct saved bp;
    struct saved ra;
    struct saved sp;
};

#define CFA_EXPRESSION UINT64_MAX

enum { REMEMBERED = 8 };

struct run {
    const struct cie *cie;
    uint64_t location;
    uint64_t target;
    struct state now;
    struct state initial;
    struct state remembered[REMEMBERED];
    unsigned depth;
};

static void set(struct state *state, uint64_t number, enum place place, int64_t offset)
{
    struct saved *saved = number == REGISTER_BP   ? &state->bp
                          : number == REGISTER_RA ? &state->ra
                          : number == REGISTER_SP ? &state->sp
                                                  : NULL;
    if (saved != NULL)
        *saved = (struct saved){place, offset};
}

static void restore(struct run *run, uint64_t number)
{
    const struct saved *saved = number == REGISTER_BP   ? &run->initial.bp
                                : number == REGISTER_RA ? &run->initial.ra
                                                        : &run->initial.sp;
    set(&run->now, number, saved->place, saved->offset);
}

/* One instruction with its operands in its low bits; false: it is one without. */
static bool packed(struct run *run, struct reader *reader, uint8_t code)
{
    uint64_t operand = code & 0x3f;
    switch (code & 0xc0) {
    case 0x40:
        run->location += operand * run->cie->code_align;
        return true;
    case 0x80:
        set(&run->now, operand, PLACE_AT, (int64_t)uleb(reader) * run->cie->data_align);
        return true;
    case 0xc0:
        restore(run, operand);
        return true;
    default:
        return false;
    }
}

/* Instructions that define the CFA; false: it is another. */
static bool define(struct run *run, struct reader *reader, uint8_t code)
{
    struct state *now = &run->now;
    switch (code) {
    case 0x0c: /* def_cfa */
        now->cfa_register = uleb(reader);
        now->cfa_offset = (int64_t)uleb(reader);
        return true;
    case 0x12: /* def_cfa_sf */
        now->cfa_register = uleb(reader);
        now->cfa_offset = sleb(reader) * run->cie->data_align;
        return true;
    case 0x0d: /* def_cfa_register */
        now->cfa_register = uleb(reader);
        return true;
    case 0x0e: /* def_cfa_offset */
        now->cfa_offset = (int64_t)uleb(reader);
        return true;
    case 0x13: /* def_cfa_offset_sf */
        now->cfa_offset = sleb(reader) * run->cie->data_align;
        return true;
    case 0x0f: /* def_cfa_expression */
        now->expression_length = uleb(reader);
        now->expression = reader->at;
        now->cfa_register = CFA_EXPRESSION;
        skip(reader, now->expression_length);
        return true;
    default:
        return false;
    }
}

/* The expression "frame pointer plus 0". */
static bool is_frame_pointer(struct reader reader)
{
    return uleb(&reader) == 2 && take(&reader, 1) == 0x70 + REGISTER_BP && take(&reader, 1) == 0;
}

static void step(struct run *run, struct reader *reader)
{
    uint8_t code = (uint8_t)take(reader, 1);
    uint64_t number;
    if (packed(run, reader, code) || define(run, reader, code))
        return;
    switch (code) {
    case 0x00: /* nop */
    case 0x2d: /* GNU_window_save, AARCH64_negate_ra_state */
        return;
    case 0x01: /* set_loc */
        run->location = encoded(reader, run->cie->encoding, 0);
        return;
    case 0x02:
        run->location += take(reader, 1) * run->cie->code_align;
        return;
    case 0x03:
        run->location += take(reader, 2) * run->cie->code_align;
        return;
    case 0x04:
        run->location += take(reader, 4) * run->cie->code_align;
        return;
    case 0x05: /* offset_extended */
        number = uleb(reader);
        set(&run->now, number, PLACE_AT, (int64_t)uleb(reader) * run->cie->data_align);
        return;
    case 0x11: /* offset_extended_sf */
        number = uleb(reader);
        set(&run->now, number, PLACE_AT, sleb(reader) * run->cie->data_align);
        return;
    case 0x06:
        restore(run, uleb(reader));
        return;
    case 0x07:
        set(&run->now, uleb(reader), PLACE_UNDEFINED, 0);
        return;
    case 0x08:
        set(&run->now, uleb(reader), PLACE_SAME, 0);
        return;
    case 0x09: /* register */
        set(&run->now, uleb(reader), PLACE_OTHER, 0);
        uleb(reader);
        return;
    case 0x0a: /* remember_state */
        if (run->depth == REMEMBERED)
            reader->wrong = true;
        else
            run->remembered[run->depth++] = run->now;
        return;
    case 0x0b: /* restore_state */
        if (run->depth == 0)
            reader->wrong = true;
        else
            run->now = run->remembered[--run->depth];
        return;
    case 0x10: /* expression */
        number = uleb(reader);
        set(&run->now, number, is_frame_pointer(*reader) ? PLACE_AT_BP : PLACE_OTHER, 0);
        skip(reader, uleb(reader));
        return;
    case 0x16: /* val_expression */
        set(&run->now, uleb(reader), PLACE_OTHER, 0);
        skip(reader, uleb(reader));
        return;
    case 0x14: /* val_offset */
        set(&run->now, uleb(reader), PLACE_OTHER, 0);
        uleb(reader);
        return;
    case 0x15: /* val_offset_sf */
        set(&run->now, uleb(reader), PLACE_OTHER, 0);
        sleb(reader);
        return;
    case 0x2e: /* GNU_args_size */
        uleb(reader);
        return;
    default:
        reader->wrong = true;
    }
}

static bool execute(struct run *run, struct reader reader)
{
    while (reader.at < reader.end && run->location <= run->target && !reader.wrong)
        step(run, &reader);
    return !reader.wrong;
}

#if defined(__x86_64__)
/* What linkers write for the entries of a procedure linkage table: CFA = rsp + 8, and 8 more from byte N of
 * each 16 on, where something has been pushed. */
static bool is_linkage_entry(const struct state *state, uintptr_t pc, struct cal__rule *rule)
{
    static const uint8_t expected[] = {0x77, 0x08, 0x80, 0x00, 0x3f, 0x1a,
                                       0,    0x2a, 0x33, 0x24, 0x22};
    const uint8_t *expression = state->expression;
    if (state->expression_length != sizeof expected || memcmp(expression, expected, 6) != 0 ||
        memcmp(expression + 7, expected + 7, sizeof expected - 7) != 0 || expression[6] < 0x30 ||
        expression[6] > 0x4f)
        return false;
    *rule = (struct cal__rule){.kind = CAL_RULE_SP,
                               .offset = (pc & 15) >= (uintptr_t)(expression[6] - 0x30) ? 16 : 8,
                               .ra = -8};
    return true;
}
#endif

/* "What is at the frame pointer plus N". */
static bool is_at_bp(const struct state *state, struct cal__rule *rule)
{
    struct reader reader = {.at = state->expression,
                            .end = state->expression + state->expression_length};
    if (take(&reader, 1) != 0x70 + REGISTER_BP)
        return false;
    int64_t offset = sleb(&reader);
    if (take(&reader, 1) != 0x06 || reader.wrong || reader.at != reader.end || offset < INT16_MIN ||
        offset > INT16_MAX)
        return false;
    rule->kind = CAL_RULE_BP_AT;
    rule->offset = (int32_t)offset;
    return true;
}

static struct cal__rule to_rule(const struct state *state, uintptr_t pc)
{
    struct cal__rule other = {.kind = CAL_RULE_OTHER}, rule = other;
    if (state->ra.place == PLACE_UNDEFINED)
        return (struct cal__rule){.kind = CAL_RULE_END};
    if (state->sp.place != PLACE_SAME)
        return other;
    if (state->cfa_register == CFA_EXPRESSION) {
#if defined(__x86_64__)
        if (is_linkage_entry(state, pc, &rule))
            return rule;
#endif
        if (!is_at_bp(state, &rule))
            return other;
    } else if (state->cfa_offset < INT32_MIN || state->cfa_offset > INT32_MAX) {
        return other;
    } else if (state->cfa_register == REGISTER_SP || state->cfa_register == REGISTER_BP) {
        rule.kind = state->cfa_register == REGISTER_SP ? CAL_RULE_SP : CAL_RULE_BP;
        rule.offset = (int32_t)state->cfa_offset;
    } else {
        return other;
    }
    if (rule.kind == CAL_RULE_BP_AT) {
        if (state->bp.place != PLACE_AT_BP)
            return other;
    } else if (state->bp.place == PLACE_AT && state->bp.offset >= INT32_MIN &&
               state->bp.offset < 0) {
        rule.bp = (int32_t)state->bp.offset;
    } else if (state->bp.place != PLACE_SAME && state->bp.place != PLACE_UNDEFINED) {
        return other;
    }
    if (state->ra.place == PLACE_AT && state->ra.offset >= INT32_MIN && state->ra.offset < 0)
        rule.ra = (int32_t)state->ra.offset;
    else if (state->ra.place != PLACE_SAME)
        return other;
#if defined(__x86_64__)
    if (rule.ra != -8)
        return other;
#endif
    return rule;
}

/* The entry for PC by binary search in the sorted table behind the header; NULL: none. */
static const uint8_t *search(uintptr_t pc, const uint8_t *header)
{
    /* Its version, and how the pointer to .eh_frame, the count and the table are written. */
    if (header[0] != 1 || header[1] == PE_OMIT || header[2] != 0x03 || header[3] != 0x3b)
        return NULL;
    struct reader reader = {.at = header + 4, .end = header + 20};
    encoded(&reader, header[1], (uintptr_t)header);
    uint64_t count = take(&reader, 4);
    if (reader.wrong || count == 0)
        return NULL;
    const uint8_t *table = reader.at;
    size_t low = 0, high = count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        int32_t start;
        memcpy(&start, table + middle * 8, sizeof start);
        if ((uintptr_t)header + (uintptr_t)(intptr_t)start <= pc)
            low = middle;
        else
            high = middle;
    }
    int32_t pair[2];
    memcpy(pair, table + low * 8, sizeof pair);
    return (uintptr_t)header + (uintptr_t)(intptr_t)pair[0] > pc ? NULL : header + pair[1];
}

struct cal__rule cal__cfi_find(uintptr_t pc, bool exact, const void *header)
{
    struct cal__rule none = {.kind = CAL_RULE_NONE}, other = {.kind = CAL_RULE_OTHER};
    uintptr_t place = exact ? pc : pc - 1;
    const uint8_t *at = search(place, header);
    struct reader reader;
    if (at == NULL || !open_entry(at, &reader))
        return none;
    const uint8_t *here = reader.at;
    uint64_t back = take(&reader, 4);
    struct cie cie;
    if (back == 0 || !read_cie(here - back, &cie))
        return other;
    struct run run = {.cie = &cie, .target = place};
    run.location = encoded(&reader, cie.encoding, 0);
    uint64_t length = encoded(&reader, cie.encoding & 0x0f, 0);
    if (reader.wrong || place < run.location || place - run.location >= length)
        return none;
    if (cie.signal)
        return (struct cal__rule){.kind = CAL_RULE_SIGNAL};
    if (cie.augmented)
        skip(&reader, uleb(&reader));
    uint64_t start = run.location;
    if (!execute(&run, cie.program))
        return other;
    run.location = start;
    run.initial = run.now;
    return execute(&run, reader) ? to_rule(&run.now, pc) : other;
}
