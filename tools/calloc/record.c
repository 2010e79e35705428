#include "record.h"

#include <common/elf_file.h>
#include <common/file.h>
#include <common/text.h>
#include <compress.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <profile.h>
#include <report/src/describe.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <units.h>

#include "attach.h"
#include "program.h"
#include "run.h"
#include "say.h"
#include "written.h"

const char record_help[] =
    "Runs a program with libcalloc-track, which writes a profile when the program ends; or has a\n"
    "process that runs with it write one:\n"
    "  -p, --pid PID          a process; it needs the option track.signal, see calloc-record(1)\n"
    "  --seconds N            with -p: record for so long; else until the end of the input or "
    "SIGINT\n"
    "\n"
    "  -o, --output FILE      the profile, or trace (calloc.PROGRAM.PID.profile, or .trace)\n"
    "  --mode MODE            all: every allocation; sample: one of each 512 KiB; trace: every\n"
    "                         event, for calloc replay, and a profile beside it (all)\n"
    "  --sample BYTES         sample about one of so many bytes; 64K, for example\n"
    "  --leaks HOW            no; reachable: what nothing points to; all: what is not freed, too\n"
    "                         (reachable)\n"
    "  --suppressions FILE    leaks not to be told of, in the form of LeakSanitizer's\n"
    "  --exitcode N           the status of a program that leaks and else would end with 0\n"
    "  --with LIST            further add-ons, separated by commas\n"
    "  --option NAME=VALUE    an option, see calloc-options(7)\n"
    "  --libraries FOLDER     as of calloc run\n"
    "  --quiet                say nothing about the profile\n"
    "\n"
    "The exit status is that of the program; 128 and a signal's number where one ended it. With -p "
    "0.\n"
    "125: there is no profile, or cannot be; 126, 127: as of calloc run; 2: wrong arguments.\n";

enum mode { MODE_ALL, MODE_SAMPLE, MODE_TRACE };

/* Words for run(), which they are put together as. */
struct words {
    char **all;
    int count;
};

struct request {
    enum mode mode;
    const char *output;
    const char *suppressions;
    const char *with;
    bool quiet;
    bool has_pid;
    unsigned long pid, seconds;
    struct words options; /* for run() */
    int used;             /* words; the next one is the program */
};

static void add_word(struct words *words, char *word)
{
    words->all = reallocate(words->all, ((size_t)words->count + 2) * sizeof *words->all);
    words->all[words->count++] = word;
    words->all[words->count] = NULL;
}

static void add_option(struct words *words, const char *name, const char *value)
{
    struct text item = {.length = 0};
    text_format(&item, "%s%s", name, value);
    add_word(words, duplicate("--option"));
    add_word(words, item.bytes);
}

static void free_words(struct words *words)
{
    for (int i = 0; i < words->count; i++)
        free(words->all[i]);
    free(words->all);
}

/* --- arguments ----------------------------------------------------------------------- */

/* The index of a word in a list that ends with NULL, or -1. */
static int index_of(const char *word, const char *const *list)
{
    for (int i = 0; list[i] != NULL; i++)
        if (strcmp(list[i], word) == 0)
            return i;
    return -1;
}

static bool take_number(const char *text, unsigned long least, unsigned long most,
                        unsigned long *number)
{
    char *end;
    errno = 0;
    *number = strtoul(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && *text != '-' && *number >= least &&
           *number <= most;
}

static bool is_size(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && digits < 16 &&
           (text[digits] == '\0' ||
            (strchr("KMG", text[digits]) != NULL && text[digits + 1] == '\0'));
}

enum option {
    MODE,
    SAMPLE,
    LEAKS,
    SUPPRESSIONS,
    EXITCODE,
    WITH,
    OPTION,
    LIBRARIES,
    OUTPUT,
    PID,
    SECONDS,
    QUIET
};

static const struct {
    const char *name, *letter;
} options[] = {
    [MODE] = {"--mode", NULL},         [SAMPLE] = {"--sample", NULL},
    [LEAKS] = {"--leaks", NULL},       [SUPPRESSIONS] = {"--suppressions", NULL},
    [EXITCODE] = {"--exitcode", NULL}, [WITH] = {"--with", NULL},
    [OPTION] = {"--option", NULL},     [LIBRARIES] = {"--libraries", NULL},
    [OUTPUT] = {"--output", "-o"},     [PID] = {"--pid", "-p"},
    [SECONDS] = {"--seconds", NULL},   [QUIET] = {"--quiet", NULL},
};

static bool take(struct request *request, enum option option, const char *value)
{
    static const char *const modes[] = {"all", "sample", "trace", NULL};
    static const char *const leaks[] = {"no", "reachable", "all", NULL};
    static const char *const leak_values[] = {"0", "1", "2"};
    unsigned long number;
    int index;
    switch (option) {
    case MODE:
        if ((index = index_of(value, modes)) < 0)
            return say("--mode is all, sample or trace, not '%s'", value), false;
        request->mode = (enum mode)index;
        if (request->mode == MODE_SAMPLE)
            add_option(&request->options, "track.sample=", "512K");
        return true;
    case SAMPLE:
        if (!is_size(value))
            return say("--sample takes a number of bytes, such as 64K, not '%s'", value), false;
        request->mode = MODE_SAMPLE;
        add_option(&request->options, "track.sample=", value);
        return true;
    case LEAKS:
        if ((index = index_of(value, leaks)) < 0)
            return say("--leaks is no, reachable or all, not '%s'", value), false;
        add_option(&request->options, "track.leaks=", leak_values[index]);
        return true;
    case SUPPRESSIONS:
        request->suppressions = value;
        return true;
    case EXITCODE:
        if (!take_number(value, 1, 255, &number))
            return say("--exitcode takes a number from 1 to 255, not '%s'", value), false;
        add_option(&request->options, "track.exitcode=", value);
        return true;
    case WITH:
        request->with = value;
        return true;
    case OPTION:
        add_option(&request->options, "", value);
        return true;
    case LIBRARIES:
        add_word(&request->options, duplicate("--libraries"));
        add_word(&request->options, duplicate(value));
        return true;
    case OUTPUT:
        request->output = value;
        return true;
    case PID:
        request->has_pid = true;
        if (!take_number(value, 1, INT_MAX, &request->pid))
            return say("--pid takes the number of a process, not '%s'", value), false;
        return true;
    case SECONDS:
        if (!take_number(value, 1, 1000000000, &request->seconds))
            return say("--seconds takes a number from 1 on, not '%s'", value), false;
        return true;
    case QUIET:
        request->quiet = true;
        return true;
    }
    return false;
}

/* NAME=VALUE, or NAME and then VALUE. */
static bool take_word(struct request *request, int count, char **words, int *i)
{
    const char *word = words[*i];
    for (size_t k = 0; k < sizeof options / sizeof options[0]; k++) {
        size_t length = strlen(options[k].name);
        bool exact = strcmp(word, options[k].name) == 0 ||
                     (options[k].letter != NULL && strcmp(word, options[k].letter) == 0);
        if (exact && k == QUIET)
            return take(request, QUIET, NULL);
        if (exact && *i + 1 < count)
            return take(request, (enum option)k, words[++*i]);
        if (k != QUIET && strncmp(word, options[k].name, length) == 0 && word[length] == '=')
            return take(request, (enum option)k, word + length + 1);
    }
    say("wrong option, or one without its value: %s", word);
    return false;
}

static int parse(int count, char **words, struct request *request)
{
    int i = 0;
    for (; i < count && words[i][0] == '-' && words[i][1] != '\0'; i++) {
        if (strcmp(words[i], "--") == 0) {
            i++;
            break;
        }
        if (!take_word(request, count, words, &i))
            return MISUSED;
    }
    request->used = i;
    if (!request->has_pid && i == count)
        return say("which program?"), MISUSED;
    if (request->has_pid && i < count)
        return say("a program or a process, not both: %s", words[i]), MISUSED;
    if (request->has_pid && (request->options.count > 0 || request->suppressions != NULL))
        return say("what is recorded of a process that runs was settled at its start: with --pid "
                   "only --output and --seconds"),
               MISUSED;
    if (!request->has_pid && request->seconds != 0)
        return say("--seconds is for --pid"), MISUSED;
    return DONE;
}

/* --- the program ------------------------------------------------------------------- */

/* Absolute, and as the library reads it: "%" stands for itself. */
static bool name_output(const struct request *request, const char *program, struct text *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(program, '/');
    if (request->output == NULL || request->output[0] != '/') {
        if (getcwd(folder, sizeof folder) == NULL) {
            say("there is no working directory: %s", strerror(errno));
            return false;
        }
        text_format(path, "%s/", folder);
    }
    if (request->output != NULL)
        text_string(path, request->output);
    else
        text_format(path, "calloc.%s", slash ? slash + 1 : program);
    if (strchr(text_get(path), ',') == NULL)
        return true;
    say("the library cannot write to a path with a comma: %s", text_get(path));
    return false;
}

/* By its whole path, as processes of the program may go to other folders. */
static bool take_suppressions(struct request *request)
{
    if (request->suppressions == NULL)
        return true;
    struct stat facts = {.st_mode = 0};
    char *path = realpath(request->suppressions, NULL);
    bool good = false;
    if (path == NULL || stat(path, &facts) != 0 || access(path, R_OK) != 0)
        say("the suppressions %s cannot be read: %s", request->suppressions, strerror(errno));
    else if (S_ISDIR(facts.st_mode))
        say("the suppressions %s cannot be read: %s", request->suppressions, strerror(EISDIR));
    else if (strchr(path, ',') != NULL)
        say("a name with a comma cannot be an option: %s", path);
    else
        good = true;
    if (good)
        add_option(&request->options, "track.suppressions=", path);
    free(path);
    return good;
}

/* That there will be no profile is to be known before the program runs. */
static bool can_be_made(const char *path)
{
    struct stat facts = {.st_mode = 0};
    if (stat(path, &facts) == 0 && !S_ISREG(facts.st_mode) && !S_ISDIR(facts.st_mode)) {
        say("%s is no regular file: a profile would take its place", path);
        return false;
    }
    int error = file_can_be_made(path);
    if (error != 0)
        say("%s cannot be written: %s", path, strerror(-error));
    return error == 0;
}

/* Of a process that runs the profile is copied, into what is there, too: a device, for example. */
static bool can_be_copied_to(const char *path)
{
    struct stat facts = {.st_mode = 0};
    if (stat(path, &facts) != 0 || S_ISDIR(facts.st_mode))
        return can_be_made(path);
    bool good = access(path, W_OK) == 0;
    if (!good)
        say("%s cannot be written: %s", path, strerror(errno));
    return good;
}

static void as_pattern(const char *path, const char *end, struct text *pattern)
{
    for (; *path != '\0'; path++)
        text_bytes(pattern, "%%", *path == '%' ? 2 : 0), text_bytes(pattern, path, *path != '%');
    text_string(pattern, end);
}

static volatile sig_atomic_t child, interrupted;

/* Of these those that whoever started us had ignored stay ignored: by nohup, or in a script's background. */
static const int taken[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
static bool ignored[sizeof taken / sizeof taken[0]];

static void pass_on(int number)
{
    if (child > 0)
        kill((pid_t)child, number);
}

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

/* When the program has ended: what was recorded is settled and told of, unless one insists. */
static void take_interrupts(void)
{
    struct sigaction stop = {.sa_handler = interrupt, .sa_flags = SA_RESTART | SA_RESETHAND};
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++)
        if (!ignored[i])
            sigaction(taken[i], &stop, NULL);
}

/* What the terminal sends goes to the program, too, which may go on; what is sent to us alone is passed on. */
static void take_signals(void)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN},
                     pass = {.sa_handler = pass_on, .sa_flags = SA_RESTART}, before;
    for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
        bool by_terminal = taken[i] == SIGINT || taken[i] == SIGQUIT;
        ignored[i] = sigaction(taken[i], NULL, &before) == 0 && before.sa_handler == SIG_IGN;
        if (!ignored[i])
            sigaction(taken[i], by_terminal ? &ignore : &pass, NULL);
    }
}

/* What became of the program. */
struct life {
    pid_t id;
    bool started; /* if not, why has been said */
    int end;      /* as waitpid() has it */
    struct written written;
};

/* Runs the program in a child. Its exit status, or 128 and the signal; ours where it was not started. */
static int run_child(struct words *words, struct life *life)
{
    int status, ends[2];
    char byte = 0;
    sigset_t held, before;
    /* Its other end is closed when the program takes the child's place. */
    if (pipe2(ends, O_CLOEXEC) != 0) {
        say("no pipe: %s", strerror(errno));
        return FAILED;
    }
    sigemptyset(&held);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGHUP);
    sigprocmask(SIG_BLOCK, &held, &before);
    fflush(stdout);
    pid_t made = fork();
    if (made < 0) {
        say("no process: %s", strerror(errno));
        sigprocmask(SIG_SETMASK, &before, NULL);
        close(ends[0]);
        close(ends[1]);
        return FAILED;
    }
    if (made == 0) {
        sigprocmask(SIG_SETMASK, &before, NULL);
        status = run(words->count, words->all);
        exit(write(ends[1], &byte, 1) == 1 ? status : FAILED);
    }
    child = made;
    life->id = made;
    take_signals();
    sigprocmask(SIG_SETMASK, &before, NULL);
    close(ends[1]);
    ssize_t got;
    while ((got = read(ends[0], &byte, 1)) < 0 && errno == EINTR) {}
    life->started = got == 0;
    close(ends[0]);
    while (waitpid(made, &status, 0) < 0)
        if (errno != EINTR) {
            say("the program was lost: %s", strerror(errno));
            life->started = false;
            return FAILED;
        }
    child = 0;
    take_interrupts();
    life->end = status;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void tell_leaked(const char *about, uint64_t bytes, uint64_t blocks, const char *what)
{
    struct cal__number size, count;
    if (blocks > 0)
        say("%s%s in %s block%s %s", about, cal__bytes(&size, bytes), cal__count(&count, blocks),
            blocks == 1 ? "" : "s", what);
}

static const char *why_nothing(const struct cal__profile *profile)
{
    const char *program = cal__profile_string(profile, profile->process.program);
    if (elf_exports_path(program, "malloc") == 1)
        return "the program has a malloc of its own, and a preload does not replace it";
    if (cal__is_estimate(profile))
        return "it allocated too little for a sample";
    return "does the program have a malloc of its own?";
}

/* What was recorded, in few lines. */
static void tell(const char *path)
{
    char *why = NULL;
    FILE *file = fopen(path, "rbe");
    struct cal__profile *profile =
        file ? cal__profile_read(file, &(struct cal__profile_options){.limit = 0}, &why) : NULL;
    if (file != NULL)
        fclose(file);
    if (profile == NULL) {
        say("%s %s", path, why ? why : strerror(errno));
        free(why);
        return;
    }
    struct cal__number number, peak;
    struct cal__leak_sums leaks;
    const char *about = cal__is_estimate(profile) ? "about " : "";
    cal__leak_sum(profile, &leaks);
    if (cal__is_estimate(profile))
        say("what follows is estimated from samples, one for about each %s",
            cal__bytes(&number, profile->process.sample_bytes));
    say("%s%s allocations, %s%s at the peak", about,
        cal__count(&number, profile->process.allocations), about,
        cal__bytes(&peak, profile->process.peak_bytes));
    if (profile->process.allocations == 0)
        say("that is nothing: %s", why_nothing(profile));
    tell_leaked(about, leaks.direct_bytes + leaks.indirect_bytes,
                leaks.direct_blocks + leaks.indirect_blocks, "leaked");
    tell_leaked(about, leaks.suppressed_bytes, leaks.suppressed_blocks,
                leaks.suppressed_blocks == 1 ? "leaked, and is suppressed"
                                             : "leaked, and are suppressed");
    cal__profile_free(profile);
}

/* FILE.PID becomes FILE. Whether it was there. */
static bool settle(const char *path, const struct life *life, const char *end, struct text *name)
{
    struct text from = {.length = 0};
    text_format(&from, "%s.%ld%s", path, (long)life->id, end);
    text_format(name, "%s%s", path, end);
    bool there = written_has(&life->written, text_get(&from));
    if (there && rename(text_get(&from), text_get(name)) != 0) {
        say("%s cannot be renamed: %s", text_get(&from), strerror(errno));
        there = false;
    }
    text_free(&from);
    return there;
}

/* The setting that keeps a profile from being written, or NULL. */
static const char *switched_off(const struct request *request)
{
    static const char *const names[] = {"track.enable", "track.record", "track.exit"};
    const char *given = getenv("CALLOC_OPTIONS"), *found = NULL;
    struct text all = {.length = 0}, value = {.length = 0};
    text_string(&all, given == NULL ? "" : given);
    for (int i = 0; i < request->options.count; i++)
        text_format(&all, ",%s", request->options.all[i]);
    for (size_t i = 0; i < sizeof names / sizeof names[0] && found == NULL; i++)
        if (attach_option(text_get(&all), names[i], &value) && strcmp(text_get(&value), "0") == 0)
            found = names[i];
    text_free(&all);
    text_free(&value);
    return found;
}

static void say_why_none(const struct request *request, const char *name, const struct life *life,
                         const char *path)
{
    static const char nothing[] = "the program wrote no profile";
    struct program program;
    const char *setting = switched_off(request), *obstacle = NULL;
    if (program_find(name, &program) == DONE)
        obstacle = program_obstacle(&program, false);
    if (obstacle != NULL)
        say("so %s", nothing);
    else if (setting != NULL)
        say("%s, as the setting %s is 0", nothing, setting);
    else if (WIFSIGNALED(life->end))
        say("%s: %s ended it%s", nothing, strsignal(WTERMSIG(life->end)),
            WTERMSIG(life->end) == SIGKILL ? ", which no program sees coming" : "");
    else
        say("%s, looked for %s.%ld: did it start another program in its place, one that is linked "
            "statically?",
            nothing, path, (long)life->id);
    program_free(&program);
}

/* Where the program starts others that do its work, as gcc does, theirs is what one wants to see. */
static void tell_others(const struct life *life, const char *path, const char *end,
                        const char *mine)
{
    struct text largest = {.length = 0};
    unsigned others = written_others(&life->written, path, end, mine, &largest);
    if (others > 0)
        say("%u other process%s wrote %s.PID%s", others, others == 1 ? "" : "es", path, end);
    FILE *file = largest.length > 0 ? fopen(text_get(&largest), "rbe") : NULL;
    char *why = NULL;
    struct cal__profile *profile =
        file ? cal__profile_read(file, &(struct cal__profile_options){.limit = 0}, &why) : NULL;
    if (profile != NULL) {
        const char *program = cal__profile_string(profile, profile->process.program);
        struct piece base = piece_base((struct piece){program, strlen(program)});
        say("most is known of %.*s: calloc report %s", (int)base.length, base.bytes,
            text_get(&largest));
    }
    free(why);
    cal__profile_free(profile);
    if (file != NULL)
        fclose(file);
    text_free(&largest);
}

/* Where it cannot be it stays as it is, and is as good. */
static void compress_trace(const char *path, bool quiet)
{
    uint64_t before, after;
    struct cal__number was, is;
    char *why = cal__compress(path, &interrupted, &before, &after);
    if (why != NULL)
        say("%s %s", path, why);
    else if (!quiet)
        say("the trace is %s, compressed from %s", cal__bytes(&is, after),
            cal__bytes(&was, before));
    free(why);
}

/* Whether there is something to show for it. */
static bool finish(const struct request *request, const char *name, const char *path,
                   const struct life *life)
{
    static const char profile_end[] = ".profile", trace_end[] = ".trace";
    bool trace = request->mode == MODE_TRACE, plain = request->output != NULL;
    struct text profile = {.length = 0}, events = {.length = 0};
    bool good = true;
    if (plain) {
        good = settle(path, life, trace ? profile_end : "", &profile);
        if (trace)
            good = settle(path, life, "", &events) && good;
    } else {
        text_format(&profile, "%s.%ld%s", path, (long)life->id, profile_end);
        text_format(&events, "%s.%ld%s", path, (long)life->id, trace_end);
        good = written_has(&life->written, text_get(&profile));
    }
    if (good && trace)
        compress_trace(text_get(&events), request->quiet);
    if (!good) {
        say_why_none(request, name, life, path);
    } else if (!request->quiet) {
        tell(text_get(&profile));
        say("calloc report %s shows it", text_get(&profile));
        if (trace)
            say("calloc replay %s makes the same calls", text_get(&events));
        tell_others(life, path, plain ? "" : profile_end,
                    text_get(plain && trace ? &events : &profile));
    }
    text_free(&profile);
    text_free(&events);
    return good;
}

static int record_program(struct request *request, int count, char **words)
{
    struct words all = {.count = 0};
    struct text path = {.length = 0}, pattern = {.length = 0}, with = {.length = 0};
    bool trace = request->mode == MODE_TRACE, plain = request->output != NULL;
    if (!name_output(request, words[request->used], &path)) {
        text_free(&path);
        return MISUSED;
    }
    if (!can_be_made(text_get(&path)) || !take_suppressions(request)) {
        text_free(&path);
        return FAILED;
    }
    text_format(&with, "track%s%s", request->with ? "," : "", request->with ? request->with : "");
    add_word(&all, duplicate("--with"));
    add_word(&all, with.bytes);
    as_pattern(text_get(&path), plain ? trace ? ".%p.profile" : ".%p" : ".%p.profile", &pattern);
    add_option(&all, "track.path=", text_get(&pattern));
    if (trace) {
        text_clear(&pattern);
        as_pattern(text_get(&path), plain ? ".%p" : ".%p.trace", &pattern);
        add_option(&all, "track.trace=", text_get(&pattern));
    }
    /* We say it ourselves, once for all processes. */
    add_option(&all, "track.quiet=", "1");
    for (int i = 0; i < request->options.count; i++)
        add_word(&all, duplicate(request->options.all[i]));
    add_word(&all, duplicate("--"));
    for (int i = request->used; i < count; i++)
        add_word(&all, duplicate(words[i]));
    struct life life = {.started = false};
    written_begin(&life.written, text_get(&path));
    int status = run_child(&all, &life);
    if (life.started && !finish(request, words[request->used], text_get(&path), &life) &&
        status == DONE)
        status = FAILED;
    written_free(&life.written);
    free_words(&all);
    text_free(&path);
    text_free(&pattern);
    return status;
}

int record(int count, char **words)
{
    struct request request = {.mode = MODE_ALL};
    int status = parse(count, words, &request);
    if (status == DONE && !request.has_pid)
        status = record_program(&request, count, words);
    else if (status == DONE && request.output != NULL && !can_be_copied_to(request.output))
        status = FAILED;
    else if (status == DONE)
        status = attach((pid_t)request.pid, request.seconds, request.output);
    free_words(&request.options);
    return status;
}
