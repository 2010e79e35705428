#include "report.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <allocate.h>

#include "diff.h"
#include "formats.h"
#include "text.h"
#include "trace.h"

enum { STATUS_BROKEN = 1, STATUS_MISUSE = 2, STATUS_FAILED = 125 };

enum { TRACE_MOST = 100000000 }; /* events of a trace: 4 GB of memory */

enum output { TEXT, COLLAPSED, MASSIF, PPROF, JSON, HTML };

struct request {
    enum output output;
    bool diff, symbols;
    enum cal__metric metric;
    const char *out; /* NULL: standard output */
    struct cal__report_options text;
    struct cal__symbols_paths paths;
    const char *files[2];
};

const char report_help[] =
    "Says what a profile of libcalloc-track knows: as text, or\n"
    "  --html                  as a page for a browser, which needs nothing else\n"
    "  --json                  as JSON, with all that is known\n"
    "  --pprof                 for pprof: a gzipped profile.proto\n"
    "  --massif                for valgrind's ms_print\n"
    "  --collapsed             for flame graph scripts: a line for each stack\n"
    "  --diff BEFORE AFTER     what changed between two profiles; with --collapsed for difffolded\n"
    "\n"
    "  -o, --output FILE       write to FILE instead of standard output\n"
    "  -m, --metric NAME       of --collapsed and --diff (live_bytes); see below\n"
    "  --top N                 call stacks in each list of the text (5)\n"
    "  --depth N               frames of each call stack in the text (12)\n"
    "  --sysroot DIR           where the files of the profiled system are\n"
    "  --debug-directory DIRS  where split debugging information is (/usr/lib/debug)\n"
    "  --no-symbols            name nothing: modules and addresses only\n"
    "\n"
    "Metrics:\n"
#define METRIC(name, unit, label, help) "  " #name ": " help "\n"
#include "view.def"
#undef METRIC
    "\n"
    "The exit status is 1 when the file was broken and the report is of what could be read;\n"
    "125: there is no report; 2: wrong arguments.\n";

static int misuse(const char *format, const char *what)
{
    fputs("calloc report: ", stderr);
    fprintf(stderr, format, what);
    fputs("; calloc report --help lists the options\n", stderr);
    return STATUS_MISUSE;
}

/* --- arguments --------------------------------------------------------------------- */

static bool parse_number(const char *text, size_t *number)
{
    char *end;
    errno = 0;
    unsigned long value = strtoul(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *text == '-')
        return false;
    *number = value;
    return true;
}

enum long_option {
    OPTION_DIFF = 256,
    OPTION_TOP,
    OPTION_DEPTH,
    OPTION_SYSROOT,
    OPTION_DEBUG,
    OPTION_PLAIN,
    OPTION_OUTPUT
};

static const struct option options[] = {
    {"html", no_argument, NULL, OPTION_OUTPUT + HTML},
    {"json", no_argument, NULL, OPTION_OUTPUT + JSON},
    {"pprof", no_argument, NULL, OPTION_OUTPUT + PPROF},
    {"massif", no_argument, NULL, OPTION_OUTPUT + MASSIF},
    {"collapsed", no_argument, NULL, OPTION_OUTPUT + COLLAPSED},
    {"diff", no_argument, NULL, OPTION_DIFF},
    {"output", required_argument, NULL, 'o'},
    {"metric", required_argument, NULL, 'm'},
    {"top", required_argument, NULL, OPTION_TOP},
    {"depth", required_argument, NULL, OPTION_DEPTH},
    {"sysroot", required_argument, NULL, OPTION_SYSROOT},
    {"debug-directory", required_argument, NULL, OPTION_DEBUG},
    {"no-symbols", no_argument, NULL, OPTION_PLAIN},
    {NULL, 0, NULL, 0},
};

/* 0, or the exit status. */
static int take_option(struct request *request, int option)
{
    switch (option) {
    case OPTION_DIFF:
        request->diff = true;
        return 0;
    case OPTION_PLAIN:
        request->symbols = false;
        return 0;
    case OPTION_SYSROOT:
        request->paths.sysroot = optarg;
        return 0;
    case OPTION_DEBUG:
        request->paths.debug_directories = optarg;
        return 0;
    case OPTION_TOP:
        return parse_number(optarg, &request->text.top)
                   ? 0
                   : misuse("--top takes a number, not \"%s\"", optarg);
    case OPTION_DEPTH:
        return parse_number(optarg, &request->text.depth)
                   ? 0
                   : misuse("--depth takes a number, not \"%s\"", optarg);
    case 'm': {
        int metric = cal__metric_find(optarg);
        if (metric < 0)
            return misuse("there is no metric \"%s\"", optarg);
        request->metric = (enum cal__metric)metric;
        return 0;
    }
    case 'o':
        request->out = optarg;
        return 0;
    default:
        break;
    }
    if (option < OPTION_OUTPUT)
        return misuse("%s", "that option is not known, or lacks its argument");
    if (request->output != TEXT)
        return misuse("%s",
                      "only one of --html, --json, --pprof, --massif and --collapsed at a time");
    request->output = (enum output)(option - OPTION_OUTPUT);
    return 0;
}

static int parse(struct request *request, int argc, char **argv)
{
    int option, status;
    optind = 0; /* glibc: begin anew */
    opterr = 0;
    while ((option = getopt_long(argc, argv, "+:o:m:", options, NULL)) != -1) {
        if (option == '?' || option == ':')
            return misuse(option == ':' ? "\"%s\" lacks its argument" : "there is no option \"%s\"",
                          argv[optind - 1]);
        if ((status = take_option(request, option)) != 0)
            return status;
    }
    int wanted = request->diff ? 2 : 1;
    if (argc - optind < wanted)
        return misuse("%s", request->diff ? "--diff takes two files" : "no file is named");
    if (argc - optind > wanted)
        return misuse("\"%s\" is too much", argv[optind + wanted]);
    if (request->diff && request->output != TEXT && request->output != COLLAPSED)
        return misuse("%s", "--diff is text, or --collapsed");
    memcpy(request->files, argv + optind, (size_t)wanted * sizeof *request->files);
    if (request->out == NULL && request->output == PPROF && isatty(STDOUT_FILENO))
        return misuse("%s", "--pprof makes a file that is not for terminals: use -o");
    return 0;
}

/* --- the work ------------------------------------------------------------------------ */

static struct cal__profile *open_profile(const char *name, bool *broken)
{
    char *why;
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rbe");
    if (file == NULL) {
        fprintf(stderr, "calloc report: \"%s\": %s\n", name, strerror(errno));
        return NULL;
    }
    struct cal__event_list events = {.limit = TRACE_MOST};
    struct cal__profile *profile = cal__profile_read(
        file, &(struct cal__profile_options){.events = cal__event_list_take, .context = &events},
        &why);
    if (file != stdin)
        fclose(file);
    if (profile == NULL) {
        fprintf(stderr, "calloc report: \"%s\" %s\n", name, why);
        free(why);
        return NULL;
    }
    if (events.wrong != NULL)
        cal__profile_warn(profile, "%s", events.wrong);
    if (events.full)
        cal__profile_warn(profile, "There are more than %d events: the rest was left out.",
                          TRACE_MOST);
    if (profile->kind == CAL_FILE_TRACE)
        cal__trace_count(profile, &events);
    cal__event_list_free(&events);
    for (size_t i = 0; i < profile->warning_count; i++)
        fprintf(stderr, "calloc report: \"%s\": %s\n", name, profile->warnings[i]);
    if (profile->warning_count > 0)
        *broken = true;
    return profile;
}

static bool write_report(FILE *out, const struct request *request, struct cal__view **views)
{
    switch (request->output) {
    case TEXT:
        if (request->diff)
            cal__diff_write(out, views[0], views[1], request->metric, &request->text);
        else
            cal__report_write(out, views[0], &request->text);
        return true;
    case COLLAPSED:
        if (request->diff)
            cal__diff_collapsed_write(out, views[0], views[1], request->metric);
        else
            cal__collapsed_write(out, views[0], request->metric);
        return true;
    case MASSIF:
        cal__massif_write(out, views[0]);
        return true;
    case PPROF:
        return cal__pprof_write(out, views[0]);
    case JSON:
        cal__json_write(out, views[0]);
        fputc('\n', out);
        return true;
    case HTML:
        cal__html_write(out, views[0]);
        return true;
    }
    return false;
}

/* What is not whole is not left behind: a report takes the place of its file when it is. A device or a
 * pipe is written to. */
static int write_out(const struct request *request, struct cal__view **views)
{
    const char *name = request->out ? request->out : "standard output";
    struct stat facts;
    bool direct = request->out && stat(request->out, &facts) == 0 && !S_ISREG(facts.st_mode);
    char *part = request->out && !direct ? cal__allocate_format("%s.part", request->out) : NULL;
    FILE *out = request->out ? fopen(part ? part : request->out, "wbe") : stdout;
    bool good = out != NULL && write_report(out, request, views);
    if (out != NULL)
        good = fflush(out) == 0 && !ferror(out) && good;
    if (out != NULL && out != stdout)
        good = fclose(out) == 0 && good;
    if (part != NULL && good)
        good = rename(part, request->out) == 0;
    if (!good) {
        fprintf(stderr, "calloc report: \"%s\" cannot be written: %s\n", name, strerror(errno));
        if (part != NULL && out != NULL)
            unlink(part);
    }
    free(part);
    return good ? 0 : STATUS_FAILED;
}

int report(int count, char **words)
{
    struct request request = {
        .symbols = true, .metric = CAL__METRIC_live_bytes, .text = {.top = 5, .depth = 12}};
    struct cal__profile *profiles[2] = {NULL};
    struct cal__view *views[2] = {NULL};
    bool broken = false;
    /* getopt's convention: the first word is the command's name. */
    char **arguments = cal__allocate_array((size_t)count + 2, sizeof *arguments);
    arguments[0] = (char *)"report";
    memcpy(arguments + 1, words, (size_t)count * sizeof *words);
    int status = parse(&request, count + 1, arguments);
    free(arguments);
    if (status != 0)
        return status;
    for (int i = 0; i < (request.diff ? 2 : 1) && status == 0; i++) {
        profiles[i] = open_profile(request.files[i], &broken);
        if (profiles[i] == NULL)
            status = STATUS_FAILED;
        else
            views[i] = cal__view_new(profiles[i], request.symbols ? &request.paths : NULL);
    }
    if (status == 0)
        status = write_out(&request, views);
    for (int i = 0; i < 2; i++) {
        cal__view_free(views[i]);
        cal__profile_free(profiles[i]);
    }
    return status == 0 && broken ? STATUS_BROKEN : status;
}
