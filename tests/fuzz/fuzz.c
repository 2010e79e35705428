/* fuzz [--seconds N] [--seed S] [--level off|light|standard|paranoid]
 *      [--consequence abort|log|ignore] [--options ITEMS] [--corpus FOLDER] [--save FOLDER]
 *      [--repeat N] [--trace] [FILE…]
 *
 * Carries out the files, those of the corpus, and for N seconds inputs that it makes up or changes.
 * Each is a process of its own, which may end well, abort with one line that fits the errors in
 * the input, or fault where an error wrote, and in no other way. Without --consequence each of
 * them has its turn. What fails is written to the folder of --save, by default the current one. The
 * allocator has random numbers of its own: to see a failure again, --repeat may have to be
 * large. */
#include "fuzz.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { POOL = 512, FAILURES_MAX = 10, OUTPUT_MAX = 65536 };

struct shared *shared;
struct statistics *statistics;

static const char *const consequences[CONSEQUENCES] = {"abort", "log", "ignore"};

/* Small quarantines, so that blocks leave them, and guards of the other sort. */
static const char *const variants[] = {
    "",
    "secure.quarantine=8192,secure.address_quarantine=1M,secure.guard_protect_only=1",
};
enum { VARIANTS = sizeof variants / sizeof *variants };

static double seconds;
static uint64_t seed;
static const char *level = "light", *options = "", *corpus, *save = ".";
static int consequence = -1, statistics_file = -1;
static unsigned long repeat = 1;
static bool trace;

static struct {
    uint8_t bytes[INPUT_MAX];
    size_t length;
} pool[POOL];
static size_t pooled;

static int output; /* what the cases write */
static char text[OUTPUT_MAX + 1];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static unsigned chance(unsigned limit)
{
    /* xorshift64* */
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (unsigned)((seed * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % limit;
}

/* One case. */

static const char *const phrases[] = {
#define PHRASE(text, bit) text,
    PHRASES(PHRASE)
#undef PHRASE
};
static const unsigned phrase_bits[] = {
#define PHRASE(text, bit) bit,
    PHRASES(PHRASE)
#undef PHRASE
};
_Static_assert(sizeof phrases / sizeof *phrases == PHRASE_COUNT, "all phrases have a counter");

static char complaint[512];

static bool complain(const char *what)
{
    if (complaint[0] == '\0')
        snprintf(complaint, sizeof complaint, "%s", what);
    return false;
}

/* The lines that were written: each must be known and fit the errors. */
static unsigned judge_lines(unsigned *lines)
{
    static const char start[] = "libcalloc: ";
    unsigned said = 0;
    *lines = 0;
    for (char *line = text; *line != '\0';) {
        char *end = strchr(line, '\n');
        size_t i = 0;
        if (end == NULL) {
            complain("a line is not ended");
            break;
        }
        ++*lines;
        bool ours = strncmp(line, start, sizeof start - 1) == 0;
        const char *rest = line + sizeof start - 1;
        while (ours && i < PHRASE_COUNT && strncmp(rest, phrases[i], strlen(phrases[i])) != 0)
            i++;
        if (!ours || i == PHRASE_COUNT) {
            complain("a line that nobody knows");
        } else {
            statistics->phrases[i]++;
            said |= phrase_bits[i];
            if (!(phrase_bits[i] & shared->may_print))
                complain("a report that does not fit the errors");
        }
        line = end + 1;
    }
    return said;
}

static void judge(int status)
{
    if (shared->message[0] != '\0')
        complain(shared->message);
    unsigned lines, said = judge_lines(&lines);
    if (WIFEXITED(status)) {
        statistics->ended++;
        if (WEXITSTATUS(status) != 0)
            complain("it ended with an error");
        else if (!shared->finished)
            complain("it ended too early");
        else if (shared->consequence == ABORT && lines != 0)
            complain("a report did not abort");
        else if (shared->consequence == IGNORE && lines != 0)
            complain("a report that was to be ignored");
    } else if (WTERMSIG(status) == SIGABRT) {
        statistics->aborted++;
        if (shared->consequence != ABORT)
            complain("abort");
        /* Each of two threads at once may have found something, and each of two processes. */
        else if (lines != 1 && !(lines == 2 && (shared->operation == DO_racing_free ||
                                                shared->operation == DO_fork)))
            complain("abort without a line, or with several");
    } else if (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGALRM ||
               WTERMSIG(status) == SIGKILL) {
        complain("a hang");
    } else {
        complain("a fault in code that had no error");
    }
    bool found = (said & SAYS_WRITE) || shared->errors_found != 0;
    for (unsigned i = 0; i < ERROR_COUNT; i++) {
        bool one = WIFSIGNALED(status) && shared->operation == FIRST_ERROR + i;
        if (found || one)
            statistics->caught[i] += shared->pending[i];
        else if (WIFEXITED(status) && shared->consequence != IGNORE)
            statistics->harmless[i] += shared->pending[i];
    }
    statistics->operations += shared->operations;
    statistics->cases++;
}

static const char *current_name;

static void tell_failure(int status)
{
    static unsigned number;
    char path[512];
    statistics->failures++;
    snprintf(path, sizeof path, "%s/failure-%s-%s-%d-%u.fuzz", save, level,
             consequences[consequence], (int)getpid(), number++);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file < 0 || write(file, shared->input, shared->length) != (ssize_t)shared->length)
        fprintf(stderr, "cannot write %s\n", path);
    if (file >= 0)
        close(file);
    printf("FAIL %s: %s; status %x, operation %zu, %s at byte %zu\n", current_name, complaint,
           (unsigned)status, shared->operations, operation_name(shared->operation), shared->at);
    printf("  again: fuzz --level %s --consequence %s --options '%s' --repeat 1000 %s\n", level,
           consequences[consequence], options, path);
    if (text[0] != '\0')
        printf("  it wrote: %.2000s", text);
    if (shared->signal != 0)
        printf("  signal %d, address %#zx\n", shared->signal, (size_t)shared->fault);
    for (int i = 0; i < shared->frame_count; i++) {
        Dl_info information;
        if (dladdr(shared->frames[i], &information) == 0)
            continue;
        const char *file_name = strrchr(information.dli_fname, '/');
        printf("    %s+%#zx %s\n", file_name == NULL ? information.dli_fname : file_name + 1,
               (size_t)((char *)shared->frames[i] - (char *)information.dli_fbase),
               information.dli_sname == NULL ? "" : information.dli_sname);
    }
    fflush(stdout);
}

/* What is in shared->input. True if all was well. */
static bool run_case(void)
{
    size_t keep = offsetof(struct shared, operations);
    memset((char *)shared + keep, 0, sizeof *shared - keep);
    complaint[0] = '\0';
    if (ftruncate(output, 0) != 0)
        complain("no file for what is written");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        dup2(output, STDERR_FILENO);
        case_run();
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child) {
        perror("fork");
        exit(2);
    }
    ssize_t length = pread(output, text, OUTPUT_MAX, 0);
    text[length < 0 ? 0 : length] = '\0';
    judge(status);
    if (complaint[0] == '\0')
        return true;
    tell_failure(status);
    return false;
}

/* Inputs. */

static void put(uint8_t byte)
{
    if (shared->length < INPUT_MAX)
        shared->input[shared->length++] = byte;
}

static void make_up(void)
{
    static const unsigned rates[] = {0, 5, 20, 60, 250};
    unsigned rate = rates[chance(5)], length = 8 + chance(chance(4) == 0 ? INPUT_MAX - 8 : 240);
    /* Few sizes meet in the same slabs. */
    uint8_t scale = (uint8_t)chance(256);
    bool alike = chance(2), allocating = chance(2);
    shared->length = 0;
    put((uint8_t)chance(8));
    while (shared->length < length) {
        unsigned operation = chance(FIRST_ERROR_BYTE);
        uint8_t first = (uint8_t)operation;
        if (chance(1000) < rate)
            first = (uint8_t)(FIRST_ERROR_BYTE + chance(128 - FIRST_ERROR_BYTE));
        else if (allocating && shared->length < length / 2 && chance(3) != 0)
            first = operation_byte(DO_malloc, operation);
        put((uint8_t)(first | (chance(4) == 0 ? 128 : 0)));
        put(alike && chance(4) != 0 ? scale : (uint8_t)chance(256));
        put((uint8_t)chance(alike ? 32 : 256));
        for (unsigned more = first < FIRST_ERROR_BYTE ? 0 : chance(4); more > 0; more--)
            put((uint8_t)chance(256));
    }
}

static void change(void)
{
    size_t from = chance((unsigned)pooled);
    memcpy(shared->input, pool[from].bytes, shared->length = pool[from].length);
    for (unsigned changes = 1 + chance(6); changes > 0 && shared->length > 1; changes--) {
        size_t length = shared->length, at = chance((unsigned)length),
               other = chance((unsigned)pooled);
        size_t count = 1 + chance(24);
        uint8_t *input = shared->input;
        switch (chance(6)) {
        case 0:
            input[at] = (uint8_t)chance(256);
            break;
        case 1:
            input[at] ^= (uint8_t)(1U << chance(8));
            break;
        case 2: /* leaves out */
            if (count < length - at)
                memmove(input + at, input + at + count, (shared->length -= count) - at);
            break;
        case 3: /* an error */
            input[at] = (uint8_t)(FIRST_ERROR_BYTE + chance(128 - FIRST_ERROR_BYTE));
            break;
        case 4: /* what was before once more */
            for (size_t i = at > count ? at - count : 0; i < at; i++)
                put(input[i]);
            break;
        default: /* a part of another */
            at = chance((unsigned)pool[other].length);
            for (size_t i = at; i < pool[other].length && i < at + 4 * count; i++)
                put(pool[other].bytes[i]);
            break;
        }
    }
}

static void add_to_pool(void)
{
    size_t place = pooled < POOL ? pooled++ : chance(POOL);
    memcpy(pool[place].bytes, shared->input, pool[place].length = shared->length);
}

/* What came of it, as far as it tells inputs apart: the first of each sort are kept. */
static bool is_new(void)
{
    static bool seen[1U << 16];
    uint64_t sort =
        shared->operation + 64 * (uint64_t)shared->may_print + (shared->operations > 20);
    for (const char *line = text; *line != '\0'; line = strchr(line, '\n') + 1)
        sort = sort * 31 + (unsigned char)line[11] + 2 * (unsigned char)line[20];
    for (unsigned i = 0; i < ERROR_COUNT; i++)
        sort = sort * 3 + (shared->pending[i] != 0);
    uint16_t place = (uint16_t)((sort * UINT64_C(0x9e3779b97f4a7c15)) >> 48);
    bool new = !seen[place];
    seen[place] = true;
    return new;
}

/* One line of an input in words: the operation and its bytes. */
static bool read_line(char *line)
{
    char *rest = NULL;
    line[strcspn(line, "#\n")] = '\0';
    const char *name = strtok_r(line, " ", &rest);
    if (name == NULL)
        return true;
    enum operation operation = operation_named(name);
    if (operation != OPERATION_COUNT)
        put(operation_byte(operation, 0));
    else if (strcmp(name, "flags") != 0)
        return false;
    for (const char *word; (word = strtok_r(NULL, " ", &rest)) != NULL;) {
        if (strcmp(word, "thread") == 0)
            shared->input[shared->length - 1] |= 128;
        else if (*word >= '0' && *word <= '9')
            put((uint8_t)strtoul(word, NULL, 0));
        else
            return false;
    }
    return true;
}

/* Bytes, or words when it begins with "flags". */
static bool load(const char *path)
{
    static char words[16384];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, words, sizeof words - 1);
    if (file >= 0)
        close(file);
    if (length < 0) {
        perror(path);
        return false;
    }
    words[length] = '\0';
    if (strncmp(words, "flags ", 6) != 0) {
        shared->length = length < INPUT_MAX ? (size_t)length : INPUT_MAX;
        memcpy(shared->input, words, shared->length);
        return true;
    }
    shared->length = 0;
    char *rest = NULL;
    for (char *line = strtok_r(words, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        if (!read_line(line)) {
            fprintf(stderr, "%s: an operation or a byte that nobody knows: %s\n", path, line);
            return false;
        }
    return true;
}

static bool run_file(const char *path, unsigned long times)
{
    current_name = path;
    while (times-- > 0)
        if (!load(path) || !run_case())
            return false;
    return true;
}

/* The worker: one process with its settings. */

static void start_worker(void)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    statistics =
        mmap(NULL, sizeof *statistics, PROT_READ | PROT_WRITE, MAP_SHARED, statistics_file, 0);
    output = memfd_create("output", MFD_CLOEXEC);
    /* Two threads may write at once. */
    fcntl(output, F_SETFL, O_APPEND);
    if (shared == MAP_FAILED || statistics == MAP_FAILED || output < 0) {
        perror("fuzz");
        exit(2);
    }
    shared->consequence = (enum consequence)consequence;
    shared->trace = trace ? dup(STDERR_FILENO) : -1;
    if (!case_prepare() && strcmp(level, "off") != 0) {
        fprintf(stderr, "fuzz: no hardening at work: preload the libraries, or --level off\n");
        exit(2);
    }
}

static bool run_corpus(void)
{
    DIR *folder = opendir(corpus);
    if (folder == NULL) {
        perror(corpus);
        return false;
    }
    bool well = true;
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[1024];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", corpus, entry->d_name);
        well = run_file(path, repeat) && well;
        add_to_pool();
    }
    closedir(folder);
    return well;
}

static int work_off(char **files)
{
    start_worker();
    double end = now() + seconds;
    bool well = true;
    for (; *files != NULL; files++) {
        well = run_file(*files, repeat) && well;
        add_to_pool();
    }
    if (corpus != NULL)
        well = run_corpus() && well;
    current_name = "made up";
    for (unsigned failures = 0; seconds > 0 && now() < end && failures < FAILURES_MAX;) {
        if (pooled == 0 || chance(2) == 0)
            make_up();
        else
            change();
        if (!run_case())
            failures++, well = false;
        else if (is_new())
            add_to_pool();
    }
    return well ? 0 : 1;
}

/* The driver. */

/* The same program, with settings for what follows on errors. */
static bool start_and_wait(int which, const char *variant, char **arguments)
{
    static const char *const checks[] = {"double_free",  "invalid_free",     "invalid_use",
                                         "overflow",     "write_after_free", "kind_mismatch",
                                         "size_mismatch"};
    char settings[2048];
    int length = snprintf(settings, sizeof settings, "%s,%s", options, variant);
    if (strcmp(level, "off") != 0) {
        length += snprintf(settings + length, sizeof settings - (size_t)length, ",secure.level=%s",
                           level);
        for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
            length += snprintf(settings + length, sizeof settings - (size_t)length,
                               ",secure.on_%s=%s", checks[i], consequences[which]);
    } else {
        settings[0] = '\0';
    }
    char worker[64];
    snprintf(worker, sizeof worker, "%d %d %.3f %llu", which, statistics_file,
             seconds / CONSEQUENCES / VARIANTS, (unsigned long long)seed + (unsigned)which * 7919);
    if (consequence >= 0)
        snprintf(worker, sizeof worker, "%d %d %.3f %llu", which, statistics_file,
                 seconds / VARIANTS, (unsigned long long)seed);
    pid_t child = fork();
    if (child == 0) {
        setenv("CALLOC_OPTIONS", settings, 1);
        setenv("FUZZ_WORKER", worker, 1);
        execv("/proc/self/exe", arguments);
        _exit(127);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child)
        return false;
    if (status != 0)
        printf("%s, %s: failed\n", level, consequences[which]);
    return status == 0;
}

static void print_statistics(void)
{
    const struct statistics *all = statistics;
    printf("%s: %llu cases, %llu operations, %llu ended, %llu aborted, %llu failures\n", level,
           (unsigned long long)all->cases, (unsigned long long)all->operations,
           (unsigned long long)all->ended, (unsigned long long)all->aborted,
           (unsigned long long)all->failures);
    /* The rest had no time to be found, or was ignored. */
    printf("  %-18s%10s%10s%10s%10s\n", "error", "injected", "caught", "by guard", "harmless");
    for (unsigned i = 0; i < ERROR_COUNT; i++)
        printf("  %-18s%10llu%10llu%10llu%10llu\n", operation_name(FIRST_ERROR + i),
               (unsigned long long)all->injected[i], (unsigned long long)all->caught[i],
               (unsigned long long)all->guarded[i], (unsigned long long)all->harmless[i]);
    for (unsigned i = 0; i < PHRASE_COUNT; i++)
        printf("  %8llu of \"%s0x…\"\n", (unsigned long long)all->phrases[i], phrases[i]);
    printf("  %8llu larger blocks of calloc showed what errors had written\n",
           (unsigned long long)all->dirty);
}

static int drive(char **arguments)
{
    statistics_file = memfd_create("statistics", 0);
    if (statistics_file < 0 || ftruncate(statistics_file, sizeof *statistics) != 0)
        return 2;
    statistics =
        mmap(NULL, sizeof *statistics, PROT_READ | PROT_WRITE, MAP_SHARED, statistics_file, 0);
    if (statistics == MAP_FAILED)
        return 2;
    bool well = true;
    for (int which = 0; which < CONSEQUENCES; which++)
        for (int variant = 0; variant < VARIANTS; variant++)
            if (consequence < 0 || consequence == which)
                well = start_and_wait(which, variants[variant], arguments) && well;
    print_statistics();
    return well && statistics->failures == 0 ? 0 : 1;
}

static _Noreturn void misuse(const char *what)
{
    fprintf(stderr, "fuzz: %s; its source says how to call it\n", what);
    exit(2);
}

static int consequence_of(const char *name)
{
    for (int i = 0; i < CONSEQUENCES; i++)
        if (strcmp(name, consequences[i]) == 0)
            return i;
    misuse("--consequence is abort, log or ignore");
}

static void read_arguments(int count, char **arguments)
{
    static const struct option known[] = {
        {"seconds", required_argument, NULL, 'n'}, {"seed", required_argument, NULL, 's'},
        {"level", required_argument, NULL, 'l'},   {"consequence", required_argument, NULL, 'q'},
        {"options", required_argument, NULL, 'o'}, {"corpus", required_argument, NULL, 'c'},
        {"save", required_argument, NULL, 'd'},    {"repeat", required_argument, NULL, 'r'},
        {"trace", no_argument, NULL, 't'},         {NULL, 0, NULL, 0}};
    for (int found; (found = getopt_long(count, arguments, "", known, NULL)) != -1;) {
        switch (found) {
        case 'n':
            seconds = strtod(optarg, NULL);
            break;
        case 's':
            seed = strtoull(optarg, NULL, 0);
            break;
        case 'l':
            level = optarg;
            break;
        case 'q':
            consequence = consequence_of(optarg);
            break;
        case 'o':
            options = optarg;
            break;
        case 'c':
            corpus = optarg;
            break;
        case 'd':
            save = optarg;
            break;
        case 'r':
            repeat = strtoul(optarg, NULL, 0);
            break;
        case 't':
            trace = true;
            break;
        default:
            misuse("that is no option");
        }
    }
}

int main(int count, char **arguments)
{
    read_arguments(count, arguments);
    const char *worker = getenv("FUZZ_WORKER");
    if (worker == NULL) {
        if (seed == 0)
            seed = (uint64_t)time(NULL);
        printf("seed %llu\n", (unsigned long long)seed);
        fflush(stdout);
        return drive(arguments);
    }
    unsigned long long own_seed = 0;
    if (sscanf(worker, "%d %d %lf %llu", &consequence, &statistics_file, &seconds, &own_seed) != 4)
        misuse("FUZZ_WORKER is its own");
    seed = own_seed * 2 + 1;
    return work_off(arguments + optind);
}
