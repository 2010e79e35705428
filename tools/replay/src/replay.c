#include "replay.h"

#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <allocate.h>
#include <calloc/calloc.h>
#include <units.h>

#include "play.h"

enum { STATUS_BROKEN = 1, STATUS_MISUSE = 2, STATUS_FAILED = 125 };

struct request {
    struct cal__play_options play;
    bool json;
    uint64_t limit;
    size_t rows;
    const char *file;
};

const char replay_help[] =
    "Makes the calls of a trace on the allocator that this very program runs on, as in\n"
    "\"calloc run -- calloc replay TRACE\", and prints the time and the memory that they take.\n"
    "A trace is what calloc record --mode trace makes, the text of Android's memory_replay, or\n"
    "a .rep file of CS:APP's malloc lab.\n"
    "\n"
    "  --order blocks|total       blocks: the threads keep the order of calls on the same block; "
    "total:\n"
    "                             all calls are in the order of the trace, one at a time (blocks)\n"
    "  --touch nothing|pages|all  what of each block is written to (pages)\n"
    "  --rows N                   rows of the time line (20)\n"
    "  --limit N                  read at most N calls (50000000)\n"
    "  --json                     print JSON\n"
    "\n"
    "The exit status is 1 when the trace was broken and what could be read was replayed;\n"
    "125: nothing was replayed; 2: wrong arguments.\n";

static int misuse(const char *format, const char *what)
{
    fputs("calloc replay: ", stderr);
    fprintf(stderr, format, what);
    fputs("; calloc replay --help lists the options\n", stderr);
    return STATUS_MISUSE;
}

/* --- arguments --------------------------------------------------------------------- */

enum long_option { OPTION_ORDER = 256, OPTION_TOUCH, OPTION_ROWS, OPTION_LIMIT, OPTION_JSON };

static const struct option options[] = {
    {"order", required_argument, NULL, OPTION_ORDER},
    {"touch", required_argument, NULL, OPTION_TOUCH},
    {"rows", required_argument, NULL, OPTION_ROWS},
    {"limit", required_argument, NULL, OPTION_LIMIT},
    {"json", no_argument, NULL, OPTION_JSON},
    {NULL, 0, NULL, 0},
};

/* The index of a word in a list that ends with NULL, or -1. */
static int word(const char *text, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    return -1;
}

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-')
        return false;
    *number = value;
    return true;
}

/* 0, or the exit status. */
static int take_option(struct request *request, int option)
{
    static const char *const orders[] = {"blocks", "total", NULL};
    static const char *const touches[] = {"nothing", "pages", "all", NULL};
    uint64_t number;
    int index;
    switch (option) {
    case OPTION_ORDER:
        if ((index = word(optarg, orders)) < 0)
            return misuse("--order is blocks or total, not \"%s\"", optarg);
        request->play.order = (enum cal__play_order)index;
        return 0;
    case OPTION_TOUCH:
        if ((index = word(optarg, touches)) < 0)
            return misuse("--touch is nothing, pages or all, not \"%s\"", optarg);
        request->play.touch = (enum cal__play_touch)index;
        return 0;
    case OPTION_ROWS:
        if (!parse_number(optarg, &number))
            return misuse("--rows takes a number, not \"%s\"", optarg);
        request->rows = (size_t)number;
        return 0;
    case OPTION_LIMIT:
        return parse_number(optarg, &request->limit)
                   ? 0
                   : misuse("--limit takes a number, not \"%s\"", optarg);
    default: /* OPTION_JSON */
        request->json = true;
        return 0;
    }
}

static int parse(struct request *request, int argc, char **argv)
{
    int option, status;
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    while ((option = getopt_long(argc, argv, "+:", options, NULL)) != -1) {
        if (option == '?' || option == ':')
            return misuse(option == ':' ? "\"%s\" lacks its argument" : "there is no option \"%s\"",
                          argv[optind - 1]);
        if ((status = take_option(request, option)) != 0)
            return status;
    }
    if (argc == optind)
        return misuse("%s", "no trace is named");
    if (argc - optind > 1)
        return misuse("\"%s\" is too much", argv[optind + 1]);
    request->file = argv[optind];
    return 0;
}

/* --- results ------------------------------------------------------------------------ */

/* What the allocator says of itself, when it is ours. */
struct allocator {
    const char *path;
    const char *version; /* NULL: another one */
    struct cal_statistics statistics;
};

static void look_at_allocator(void *context)
{
    struct allocator *allocator = context;
    Dl_info info;
    const char *(*version)(void) = NULL;
    int (*stats)(struct cal_statistics *) = NULL;
    *(void **)&version = dlsym(RTLD_DEFAULT, "cal_version");
    *(void **)&stats = dlsym(RTLD_DEFAULT, "cal_stats");
    *allocator = (struct allocator){.statistics.size = sizeof allocator->statistics};
    void *function = dlsym(RTLD_DEFAULT, "malloc");
    allocator->path =
        function != NULL && dladdr(function, &info) != 0 ? info.dli_fname : "an unknown allocator";
    if (version != NULL && stats != NULL && stats(&allocator->statistics) == 0)
        allocator->version = version();
}

/* Of the resident memory, what is not asked for. */
static double fragmentation(const struct cal__sample *sample)
{
    return sample->resident > sample->live && sample->resident > 0
               ? (double)(sample->resident - sample->live) / (double)sample->resident
               : 0;
}

static double calls_per_second(const struct cal__script *script,
                               const struct cal__play_result *result)
{
    return result->wall ? (double)script->calls * 1e9 / (double)result->wall : 0;
}

static void write_text(const struct cal__script *script, const struct cal__play_result *result,
                       const struct allocator *allocator, size_t rows)
{
    struct cal__number a, b, c, d;
    printf("%s\n", script->source);
    printf("  %s calls of %s thread%s, %s allocations, %s in all\n", cal__count(&a, script->calls),
           cal__count(&b, script->threads), script->threads == 1 ? "" : "s",
           cal__count(&c, script->allocations), cal__bytes(&d, script->allocated_bytes));
    if (script->ignored > 0)
        printf("  %s calls were left out: they are about blocks that the trace does not have\n",
               cal__count(&a, script->ignored));
    printf("on %s%s%s%s\n\n", allocator->version ? "libcalloc " : "",
           allocator->version ? allocator->version : "", allocator->version ? ", " : "",
           allocator->path);
    printf("  time                    %12s  %s of the processors, %s calls/s\n",
           cal__duration(&a, result->wall), cal__duration(&b, result->processor),
           cal__count(&c, (uint64_t)calls_per_second(script, result)));
    printf("  live at the most        %12s  in the order of the trace\n",
           cal__bytes(&a, script->peak_bytes));
    printf("  resident at the most    %12s  %s of what is live at the most\n",
           cal__bytes(&a, result->peak_resident),
           cal__percent(&b, result->peak_resident, script->peak_bytes));
    printf("  live at the end         %12s\n", cal__bytes(&a, result->end.live));
    printf("  resident at the end     %12s  fragmentation %.1f %%\n",
           cal__bytes(&a, result->end.resident), 100 * fragmentation(&result->end));
    printf("  and when all is freed   %12s\n", cal__bytes(&a, result->freed_resident));
    if (allocator->version != NULL)
        printf("  by its own count        %12s  between live blocks; %s mapped at the most\n",
               cal__bytes(&a, allocator->statistics.fragmentation_bytes),
               cal__bytes(&b, allocator->statistics.os_memory_mapped_peak));
    if (result->failed > 0)
        printf("  out of memory           %12s  calls\n", cal__count(&a, result->failed));
    printf("\n  %12s %12s %12s %15s\n", "time", "live", "resident", "fragmentation");
    size_t count = result->samples.count, shown = rows < count ? rows : count;
    for (size_t i = 0; i < shown; i++) {
        const struct cal__sample *sample =
            &result->samples.all[shown > 1 ? i * (count - 1) / (shown - 1) : count - 1];
        printf("  %12s %12s %12s %13.1f %%\n", cal__duration(&a, sample->time),
               cal__bytes(&b, sample->live), cal__bytes(&c, sample->resident),
               100 * fragmentation(sample));
    }
}

static void write_json_text(const char *text)
{
    putchar('"');
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < ' ' || *text == '"' || *text == '\\')
            printf("\\u%04x", (unsigned char)*text);
        else
            putchar(*text);
    putchar('"');
}

static void write_json(const struct cal__script *script, const struct cal__play_result *result,
                       const struct allocator *allocator)
{
    fputs("{\"trace\":", stdout);
    write_json_text(script->source);
    fputs(",\"allocator\":", stdout);
    write_json_text(allocator->path);
    printf(",\"calls\":%" PRIu64 ",\"threads\":%" PRIu64 ",\"allocations\":%" PRIu64
           ",\"allocated_bytes\":%" PRIu64 ",\"ignored\":%" PRIu64 ",\"failed\":%" PRIu64,
           script->calls, script->threads, script->allocations, script->allocated_bytes,
           script->ignored, result->failed);
    printf(",\"wall_ns\":%" PRIu64 ",\"processor_ns\":%" PRIu64 ",\"peak_live_bytes\":%" PRIu64
           ",\"peak_resident_bytes\":%" PRIu64 ",\"end_live_bytes\":%" PRIu64
           ",\"end_resident_bytes\":%" PRIu64 ",\"freed_resident_bytes\":%" PRIu64
           ",\"timeline\":[",
           result->wall, result->processor, script->peak_bytes, result->peak_resident,
           result->end.live, result->end.resident, result->freed_resident);
    for (size_t i = 0; i < result->samples.count; i++) {
        const struct cal__sample *sample = &result->samples.all[i];
        printf("%s{\"ns\":%" PRIu64 ",\"live_bytes\":%" PRIu64 ",\"resident_bytes\":%" PRIu64 "}",
               i ? "," : "", sample->time, sample->live, sample->resident);
    }
    fputs("]}\n", stdout);
}

int replay(int count, char **words)
{
    static struct cal__play_result result;
    struct allocator allocator = {.path = "an unknown allocator"};
    struct request request = {
        .play = {.order = CAL__PLAY_BLOCKS,
                 .touch = CAL__PLAY_TOUCH_PAGES,
                 .at_end = look_at_allocator,
                 .context = &allocator},
        .limit = 50000000,
        .rows = 20,
    };
    bool broken = false;
    /* getopt's convention: the first word is the command's name. */
    char **arguments = cal__allocate_array((size_t)count + 2, sizeof *arguments);
    arguments[0] = (char *)"replay";
    memcpy(arguments + 1, words, (size_t)count * sizeof *words);
    int status = parse(&request, count + 1, arguments);
    free(arguments);
    if (status != 0)
        return status;
    const struct cal__script *script = cal__script_read(request.file, request.limit, &broken);
    if (script == NULL)
        return STATUS_FAILED;
    if (script->calls == 0) {
        fprintf(stderr, "calloc replay: \"%s\" has no calls\n", request.file);
        return STATUS_FAILED;
    }
    int error = cal__play(script, &request.play, &result);
    if (error != 0) {
        fprintf(stderr, "calloc replay: the threads of \"%s\" cannot be started: %s\n",
                request.file, strerror(-error));
        return STATUS_FAILED;
    }
    if (request.json)
        write_json(script, &result, &allocator);
    else
        write_text(script, &result, &allocator, request.rows);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "calloc replay: standard output cannot be written: %s\n", strerror(errno));
        return STATUS_FAILED;
    }
    return broken ? STATUS_BROKEN : 0;
}
