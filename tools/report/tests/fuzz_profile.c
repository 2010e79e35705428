/* Whatever a file holds, reading it ends, stays within memory, and what was read can be written in every
 * format. For libFuzzer and, with fuzz_main.c, for given files. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <diff.h>
#include <formats.h>
#include <text.h>
#include <trace.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is written is of no interest, but has to be written. */
static ssize_t drop(void *cookie, const char *data, size_t size)
{
    (void)cookie, (void)data;
    return (ssize_t)size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cal__event_list events = {.limit = 100000};
    const struct cal__profile_options options_of_reading = {
        .events = cal__event_list_take, .context = &events, .limit = UINT64_C(64) << 20};
    static const struct cal__report_options options = {.top = 3, .depth = 6};
    char *why;
    FILE *in = size > 0 ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
    if (in == NULL)
        return 0;
    struct cal__profile *profile = cal__profile_read(in, &options_of_reading, &why);
    fclose(in);
    if (profile == NULL) {
        free(why);
        return 0;
    }
    if (profile->kind == CAL_FILE_TRACE)
        cal__trace_count(profile, &events);
    cal__event_list_free(&events);
    FILE *out = fopencookie(NULL, "w", (cookie_io_functions_t){.write = drop});
    struct cal__view *view = cal__view_new(profile, NULL);
    cal__report_write(out, view, &options);
    cal__collapsed_write(out, view, CAL__METRIC_allocations);
    cal__massif_write(out, view);
    if (!cal__pprof_write(out, view))
        abort();
    cal__json_write(out, view);
    cal__diff_write(out, view, view, CAL__METRIC_live_bytes, &options);
    cal__view_free(view);
    cal__profile_free(profile);
    fclose(out);
    return 0;
}
