/* pprof's profile.proto: locations are the frames of the profile, and functions those of the
 * positions. The numbers of fields are those of its definition. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <allocate.h>

#include "bytes.h"
#include "formats.h"

enum profile_field {
    PROFILE_SAMPLE_TYPE = 1,
    PROFILE_SAMPLE = 2,
    PROFILE_MAPPING = 3,
    PROFILE_LOCATION = 4,
    PROFILE_FUNCTION = 5,
    PROFILE_STRINGS = 6,
    PROFILE_TIME = 9,
    PROFILE_DURATION = 10,
    PROFILE_PERIOD_TYPE = 11,
    PROFILE_PERIOD = 12,
    PROFILE_COMMENT = 13,
    PROFILE_DEFAULT_TYPE = 14,
};

/* What a sample has, under the names that pprof's users know where it has such. */
static const struct {
    const char *type, *unit;
    enum cal__metric metric;
} values[] = {
    {"alloc_objects", "count", CAL__METRIC_allocations},
    {"alloc_space", "bytes", CAL__METRIC_allocated_bytes},
    {"inuse_objects", "count", CAL__METRIC_live_blocks},
    {"inuse_space", "bytes", CAL__METRIC_live_bytes},
    {"peak_objects", "count", CAL__METRIC_peak_blocks},
    {"peak_space", "bytes", CAL__METRIC_peak_bytes},
    {"temporary_objects", "count", CAL__METRIC_temporaries},
    {"leaked_objects", "count", CAL__METRIC_leaked_blocks},
    {"leaked_space", "bytes", CAL__METRIC_leaked_bytes},
};

enum { VALUES = sizeof values / sizeof *values };

struct writing {
    const struct cal__view *view;
    struct cal__strings *strings; /* the string table is these, in their order */
    struct cal__bytes_buffer all, message, inner;
};

static uint32_t string(struct writing *writing, const char *text)
{
    return cal__strings_add(writing->strings, text);
}

/* Puts the message that was gathered into the profile. */
static void finish(struct writing *writing, enum profile_field field)
{
    cal__proto_bytes(&writing->all, field, writing->message.data, writing->message.length);
    writing->message.length = 0;
}

static void add_type(struct writing *writing, enum profile_field field, const char *type,
                     const char *unit)
{
    cal__proto_number(&writing->message, 1, string(writing, type));
    cal__proto_number(&writing->message, 2, string(writing, unit));
    finish(writing, field);
}

static void add_mappings(struct writing *writing)
{
    const struct cal__profile *profile = writing->view->profile;
    for (size_t i = 0; i < profile->module_count; i++) {
        const struct cal__file_module *module = &profile->modules[i];
        char build_id[2 * sizeof module->build_id + 1] = "";
        for (uint32_t b = 0; b < module->build_id_length; b++)
            snprintf(build_id + 2 * b, 3, "%02x", module->build_id[b]);
        const char *path = cal__profile_string(profile, module->path);
        cal__proto_number(&writing->message, 1, i + 1);
        cal__proto_number(&writing->message, 2, module->start);
        cal__proto_number(&writing->message, 3, module->end);
        cal__proto_number(&writing->message, 5, string(writing, *path ? path : "[vdso]"));
        cal__proto_number(&writing->message, 6, string(writing, build_id));
        /* There is nothing left that pprof should look up. */
        for (unsigned has = 7; has <= 10; has++)
            cal__proto_number(&writing->message, has, 1);
        finish(writing, PROFILE_MAPPING);
    }
}

/* A function is told apart by its name and file, as numbers of the view's strings. */
struct functions {
    struct cal__strings *keys; /* "name\1file" */
};

static uint64_t function_of(struct writing *writing, struct functions *functions,
                            const struct cal__position *position)
{
    uint32_t before = cal__strings_count(functions->keys);
    char key[32];
    snprintf(key, sizeof key, "%x.%x", position->function, position->file);
    uint32_t number = cal__strings_add(functions->keys, key);
    if (number == before) {
        const struct cal__strings *strings = writing->view->resolved->strings;
        uint32_t name = string(writing, cal__strings_get(strings, position->function));
        struct cal__bytes_buffer function = {0};
        cal__proto_number(&function, 1, number);
        cal__proto_number(&function, 2, name);
        cal__proto_number(&function, 3, name);
        cal__proto_number(&function, 4, string(writing, cal__strings_get(strings, position->file)));
        cal__proto_bytes(&writing->all, PROFILE_FUNCTION, function.data, function.length);
        cal__bytes_free(&function);
    }
    return number;
}

static void add_location(struct writing *writing, struct functions *functions, uint64_t id,
                         const struct cal__file_frame *frame, uint32_t first, uint32_t count)
{
    cal__proto_number(&writing->message, 1, id);
    if (frame != NULL && frame->module != CAL_FILE_NONE)
        cal__proto_number(&writing->message, 2, (uint64_t)frame->module + 1);
    if (frame != NULL)
        cal__proto_number(&writing->message, 3, frame->address);
    for (uint32_t i = 0; i < count; i++) {
        const struct cal__position *position = &writing->view->resolved->positions[first + i];
        writing->inner.length = 0;
        cal__proto_number(&writing->inner, 1, function_of(writing, functions, position));
        cal__proto_number(&writing->inner, 2, position->line);
        cal__proto_bytes(&writing->message, 4, writing->inner.data, writing->inner.length);
    }
    finish(writing, PROFILE_LOCATION);
}

/* Location f + 1 is the frame f, and the last is that of frames which were not found. */
static void add_locations(struct writing *writing)
{
    const struct cal__profile *profile = writing->view->profile;
    const struct cal__resolved *resolved = writing->view->resolved;
    struct functions functions = {cal__strings_new()};
    for (size_t i = 0; i < profile->frame_count; i++)
        add_location(writing, &functions, i + 1, &profile->frames[i], resolved->frames[i].first,
                     resolved->frames[i].count);
    add_location(writing, &functions, profile->frame_count + 1, NULL, resolved->unknown, 1);
    cal__strings_free(functions.keys);
}

static void add_samples(struct writing *writing)
{
    const struct cal__profile *profile = writing->view->profile;
    for (size_t i = 0; i < profile->site_count; i++) {
        const uint64_t *site = writing->view->sites[i].values;
        writing->inner.length = 0;
        for (uint32_t node = profile->sites[i].node; node != 0;
             node = profile->nodes[node].parent) {
            uint32_t frame = profile->nodes[node].frame;
            cal__proto_packed(&writing->inner, frame == CAL_FILE_NONE ? profile->frame_count + 1
                                                                      : (uint64_t)frame + 1);
        }
        cal__proto_bytes(&writing->message, 1, writing->inner.data, writing->inner.length);
        writing->inner.length = 0;
        for (size_t v = 0; v < VALUES; v++)
            cal__proto_packed(&writing->inner, site[values[v].metric]);
        cal__proto_bytes(&writing->message, 2, writing->inner.data, writing->inner.length);
        finish(writing, PROFILE_SAMPLE);
    }
}

/* gzip, as pprof reads and writes its files. */
static bool write_compressed(FILE *out, const struct cal__bytes_buffer *bytes)
{
    unsigned char chunk[65536] = {0};
    z_stream stream = {.next_in = bytes->data};
    size_t left = bytes->length;
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) !=
        Z_OK)
        return false;
    int state;
    do {
        if (stream.avail_in == 0 && left > 0) {
            stream.avail_in = left < 1U << 30 ? (uInt)left : 1U << 30;
            left -= stream.avail_in;
        }
        stream.next_out = chunk;
        stream.avail_out = sizeof chunk;
        state = deflate(&stream, left > 0 ? Z_NO_FLUSH : Z_FINISH);
        fwrite(chunk, 1, sizeof chunk - stream.avail_out, out);
    } while (state != Z_STREAM_END);
    deflateEnd(&stream);
    return true;
}

bool cal__pprof_write(FILE *out, const struct cal__view *view)
{
    const struct cal__file_process *process = &view->profile->process;
    struct writing writing = {.view = view, .strings = cal__strings_new()};
    for (size_t v = 0; v < VALUES; v++)
        add_type(&writing, PROFILE_SAMPLE_TYPE, values[v].type, values[v].unit);
    add_mappings(&writing);
    add_locations(&writing);
    add_samples(&writing);
    cal__proto_number(&writing.all, PROFILE_TIME, process->start_realtime);
    cal__proto_number(&writing.all, PROFILE_DURATION, process->duration);
    add_type(&writing, PROFILE_PERIOD_TYPE, "space", "bytes");
    cal__proto_number(&writing.all, PROFILE_PERIOD, process->sample_bytes);
    cal__proto_number(&writing.all, PROFILE_COMMENT,
                      string(&writing, cal__profile_string(view->profile, process->command_line)));
    cal__proto_number(&writing.all, PROFILE_DEFAULT_TYPE, string(&writing, "inuse_space"));
    for (uint32_t i = 0; i < cal__strings_count(writing.strings); i++) {
        const char *text = cal__strings_get(writing.strings, i);
        cal__proto_bytes(&writing.all, PROFILE_STRINGS, text, strlen(text));
    }
    bool compressed = write_compressed(out, &writing.all);
    cal__bytes_free(&writing.all);
    cal__bytes_free(&writing.message);
    cal__bytes_free(&writing.inner);
    cal__strings_free(writing.strings);
    return compressed;
}
