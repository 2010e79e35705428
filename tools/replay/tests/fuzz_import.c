/* Whatever a trace holds, reading it ends, and the script that comes of it can be played: each call
 * has its block, and each block's calls follow one another. For libFuzzer and, with fuzz_main.c, for given
 * files. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <import.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void check_script(const struct cal__script *script)
{
    uint32_t *steps = calloc(script->blocks + 1, sizeof *steps);
    uint64_t *next = calloc(script->threads + 1, sizeof *next), calls = 0;
    require(steps != NULL && next != NULL);
    for (uint64_t order = 0; order < script->calls; order++) {
        const struct cal__script_call *call = NULL;
        for (uint64_t thread = 0; thread < script->threads && call == NULL; thread++) {
            const struct cal__script_thread *facts = &cal__script_threads(script)[thread];
            const struct cal__script_call *its = &cal__script_calls(script)[facts->first];
            require(facts->first + facts->count <= script->calls);
            if (next[thread] < facts->count && its[next[thread]].order == order) {
                call = &its[next[thread]++];
                require(facts->start <= order);
            }
        }
        require(call != NULL && call->block < script->blocks && call->kind <= CAL__CALL_FREE);
        require((call->step == 0) == (call->kind < CAL__CALL_REALLOC));
        require(call->step == steps[call->block]++);
        calls++;
    }
    require(calls == script->calls && script->left_bytes <= script->peak_bytes);
    free(steps);
    free(next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cal__import import = {.name = "fuzz", .messages = "fuzz", .limit = 20000};
    import.file = size > 0 ? fmemopen((void *)(uintptr_t)data, size, "r") : NULL;
    if (import.file == NULL)
        return 0;
    import.building = cal__building_new(import.limit);
    if (cal__import(&import)) {
        int descriptor = memfd_create("fuzz", MFD_CLOEXEC);
        require(descriptor >= 0 &&
                cal__building_write(import.building, import.source, descriptor) == 0);
        off_t length = lseek(descriptor, 0, SEEK_END);
        void *script = mmap(NULL, (size_t)length, PROT_READ, MAP_SHARED, descriptor, 0);
        require(script != MAP_FAILED);
        check_script(script);
        munmap(script, (size_t)length);
        close(descriptor);
    }
    cal__building_free(import.building);
    fclose(import.file);
    return 0;
}
