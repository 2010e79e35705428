#include "replica.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

/* Newer than some C libraries. */
#ifndef PR_SET_VMA
#    define PR_SET_VMA 0x53564d41
#endif
#ifndef PR_SET_VMA_ANON_NAME
#    define PR_SET_VMA_ANON_NAME 0
#endif
#ifndef MADV_WIPEONFORK
#    define MADV_WIPEONFORK 18
#endif

#define ALLOW(names)          {.calls = names},
#define ALLOW_IF(names, ...)  {.calls = names, .conditions = {__VA_ARGS__}},
#define REFUSE(number, names) {.calls = names, .error = number},
#define REFUSE_IF(number, names, ...) \
    {.calls = names, .error = number, .conditions = {__VA_ARGS__}},
#define CONDITION(argument, test, mask, value) \
    {                                          \
        argument, test, mask, value            \
    }
#define MASKED(argument, mask, value) \
    CONDITION(argument, REPLICA_EQUAL, (uint64_t)(mask), (uint64_t)(value))
#define IS(argument, value)     CONDITION(argument, REPLICA_EQUAL, UINT64_MAX, (uint64_t)(value))
#define WITHIN(argument, bits)  CONDITION(argument, REPLICA_EQUAL, ~(uint64_t)(bits), 0)
#define OUTSIDE(argument, bits) CONDITION(argument, REPLICA_DIFFERENT, ~(uint64_t)(bits), 0)
#define FUTEX_IS(operation)     MASKED(1, ~(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME), operation)

static const struct replica_rule openssh_9_2[] = {
#include "openssh-9.2.def"
};
static const struct replica_rule openssh_9_3[] = {
#include "openssh-9.3.def"
};
static const struct replica_rule man_db[] = {
#include "man-db.def"
};
static const struct replica_rule file_5_44[] = {
#include "file-5.44.def"
};
static const struct replica_rule file_5_48[] = {
#include "file-5.48.def"
};
static const struct replica_rule systemd_default[] = {
#include "systemd-default.def"
};
static const struct replica_rule systemd_system_service[] = {
#include "systemd-system-service.def"
};

#define REPLICA(name, situations, rules)                      \
    {                                                         \
        name, situations, rules, sizeof rules / sizeof *rules \
    }

static const struct replica replicas[] = {
    REPLICA("openssh-9.2", REPLICA_STARTED | REPLICA_FORKED, openssh_9_2),
    REPLICA("openssh-9.3", REPLICA_STARTED | REPLICA_FORKED, openssh_9_3),
    REPLICA("man-db", REPLICA_STARTED | REPLICA_FORKED | REPLICA_EXECED, man_db),
    REPLICA("file-5.44", REPLICA_STARTED, file_5_44),
    REPLICA("file-5.48", REPLICA_STARTED, file_5_48),
    REPLICA("systemd-default", REPLICA_STARTED | REPLICA_FORKED, systemd_default),
    REPLICA("systemd-system-service", REPLICA_STARTED | REPLICA_FORKED | REPLICA_EXECED,
            systemd_system_service),
};

static const struct {
    const char *name;
    const char *calls;
} sets[] = {
#define SET(name, calls) {name, calls},
#include "systemd-sets.def"
};

const char *replica_name(size_t index)
{
    return index < sizeof replicas / sizeof *replicas ? replicas[index].name : NULL;
}

const struct replica *replica_find(const char *name)
{
    for (size_t i = 0; i < sizeof replicas / sizeof *replicas; i++)
        if (strcmp(replicas[i].name, name) == 0)
            return &replicas[i];
    return NULL;
}

/* The next word of *REST into WORD. */
static bool next_word(const char **rest, char word[64])
{
    const char *start = *rest + strspn(*rest, " ");
    size_t length = strcspn(start, " ");
    if (length == 0 || length >= 64)
        return false;
    memcpy(word, start, length);
    word[length] = '\0';
    *rest = start + length;
    return true;
}

/* NULL for what is not a set. */
static const char *set_of(const char *word)
{
    for (size_t i = 0; word[0] == '@' && i < sizeof sets / sizeof *sets; i++)
        if (strcmp(sets[i].name, word) == 0)
            return sets[i].calls;
    return NULL;
}

static bool has(const char *calls, const char *wanted)
{
    char word[64];
    while (next_word(&calls, word)) {
        const char *set = set_of(word);
        if (set != NULL ? has(set, wanted) : strcmp(word, wanted) == 0)
            return true;
    }
    return false;
}

bool replica_allows(const struct replica *replica, const char *call)
{
    for (size_t i = 0; i < replica->rule_count; i++) {
        const struct replica_rule *rule = &replica->rules[i];
        if (has(rule->calls, call))
            return rule->error == 0 && rule->conditions[0].test == REPLICA_NONE;
    }
    return false;
}

/* The program. Not by libseccomp's rules, which know no order and no "some other bit". */

enum { PROGRAM_MAX = BPF_MAXINSNS, CONDITION_LENGTH = 6 };

struct program {
    struct sock_filter steps[PROGRAM_MAX];
    size_t length; /* PROGRAM_MAX: did not fit, with one step for the end */
};

static void step(struct program *program, uint16_t code, uint8_t if_true, uint8_t if_false,
                 uint32_t operand)
{
    if (program->length < PROGRAM_MAX)
        program->steps[program->length++] = (struct sock_filter){code, if_true, if_false, operand};
}

static void load(struct program *program, size_t offset)
{
    step(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static void answer(struct program *program, uint32_t value)
{
    step(program, BPF_RET | BPF_K, 0, 0, value);
}

static size_t half(unsigned argument, bool high)
{
    bool second = high == (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
    return offsetof(struct seccomp_data, args) + argument * sizeof(uint64_t) +
           second * sizeof(uint32_t);
}

/* Goes on behind its own steps where the condition holds, else SKIPPED steps further. */
static void condition(struct program *program, unsigned argument, bool equal, uint64_t mask,
                      uint64_t value, uint8_t skipped)
{
    load(program, half(argument, false));
    step(program, BPF_ALU | BPF_AND | BPF_K, 0, 0, (uint32_t)mask);
    step(program, BPF_JMP | BPF_JEQ | BPF_K, 0, equal ? (uint8_t)(3 + skipped) : 3,
         (uint32_t)value);
    load(program, half(argument, true));
    step(program, BPF_ALU | BPF_AND | BPF_K, 0, 0, (uint32_t)(mask >> 32));
    step(program, BPF_JMP | BPF_JEQ | BPF_K, equal ? 0 : skipped, equal ? skipped : 0,
         (uint32_t)(value >> 32));
}

static void add_call(struct program *program, const struct replica_rule *rule, int call)
{
    unsigned count = 0;
    while (count < REPLICA_CONDITIONS && rule->conditions[count].test != REPLICA_NONE)
        count++;
    /* The answer, and behind it the number again, which the conditions have overwritten. */
    unsigned body = count * CONDITION_LENGTH + 1 + (count != 0);
    step(program, BPF_JMP | BPF_JEQ | BPF_K, 0, (uint8_t)body, (uint32_t)call);
    for (unsigned i = 0; i < count; i++)
        condition(program, rule->conditions[i].argument, rule->conditions[i].test == REPLICA_EQUAL,
                  rule->conditions[i].mask, rule->conditions[i].value,
                  (uint8_t)((count - 1 - i) * CONDITION_LENGTH + 1));
    answer(program,
           rule->error == 0 ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | (uint32_t)rule->error);
    if (count != 0)
        load(program, offsetof(struct seccomp_data, nr));
}

static void add_calls(struct program *program, const struct replica_rule *rule, const char *calls)
{
    char word[64];
    while (next_word(&calls, word)) {
        const char *set = set_of(word);
        int call = set == NULL ? seccomp_syscall_resolve_name(word) : -1;
        if (set != NULL)
            add_calls(program, rule, set);
        else if (call >= 0)
            add_call(program, rule, call);
    }
}

bool replica_enter(const struct replica *replica, uint32_t otherwise)
{
    static struct program program;
    program.length = 0;
    load(&program, offsetof(struct seccomp_data, arch));
    step(&program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, seccomp_arch_native());
    answer(&program, SECCOMP_RET_KILL_PROCESS);
    load(&program, offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < replica->rule_count; i++)
        add_calls(&program, &replica->rules[i], replica->rules[i].calls);
    answer(&program, otherwise);
    if (program.length == PROGRAM_MAX) {
        errno = E2BIG;
        return false;
    }
    const struct sock_fprog loaded = {(unsigned short)program.length, program.steps};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &loaded) == 0;
}
