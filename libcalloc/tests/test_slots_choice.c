/* The role slots: which slot is handed out where the add-on leaves that to the core, when a freed one comes
 * again, and what the core does for it. Each test has a process and a table of its own. */
#include "support.h"

#include <calloc/hooks.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>

/* The add-on. */

static struct random bits = {1};
/* Volatile, because the compiler takes it that malloc() calls nothing in this file. */
static volatile bool withholds, says_zeros;
static volatile size_t opened, closed, fresh;

/* Of a child, which may have begun amid the function below. */
static volatile uint64_t other_bits;

static volatile size_t draws;

static uint64_t random_bits(void)
{
    draws++;
    return random_next(&bits) ^ other_bits;
}

static bool is_withheld(uint32_t slot)
{
    return withholds && slot % 3 != 1;
}

static bool open_slab(struct cal_slab *slab)
{
    opened++;
    fresh += slab->fresh;
    require(!slab->fresh || is_zero(slab->first, slab->slots * slab->block_size));
    for (uint32_t slot = 0; slot < slab->slots && slab->slots > 1; slot++)
        if (is_withheld(slot))
            slab->free_slots[slot / 64] &= ~((uint64_t)1 << slot % 64);
    return true;
}

static void close_slab(struct cal_slab *slab)
{
    require(slab->slots > 0);
    closed++;
}

/* SAYS_ZEROS: the add-on takes it that the bytes are zeros. */
static void *allocated(struct cal_slab *slab, uint32_t slot, void *block, size_t bytes,
                       unsigned how)
{
    if ((how & CAL_SLOT_ZERO) != 0 && !says_zeros)
        memset(block, 0, bytes);
    cal_slot_set_mark(slab, slot, CAL_MARK_LIVE);
    return block;
}

static enum cal_slot_verdict freeing(struct cal_slab *slab, uint32_t slot, void *block,
                                     uint32_t bits_of_mark, const struct cal_call *call)
{
    return CAL_SLOT_RELEASE;
}

static struct cal_slots role = {.size = sizeof role,
                                .open = open_slab,
                                .close = close_slab,
                                .allocated = allocated,
                                .freeing = freeing};
static const struct cal_hooks hooks = {.size = sizeof hooks,
                                       .version = CAL_HOOKS_VERSION,
                                       .name = "choice",
                                       .component_version = "1",
                                       .slots = &role};

static void play(bool random, bool withhold)
{
    role.random = random ? random_bits : NULL;
    withholds = withhold;
    require(cal_hooks_register(&hooks) == 0);
}

/* Runs in a process of its own, which may say nothing. */
static void in_child(void (*function)(void))
{
    char said[1000];
    run_in_child(function, said, sizeof said);
    assert_string_equal(said, "");
}

/* Blocks of SIZE bytes, a class that borrows of no other. */
static void *get(size_t size)
{
    void *block = malloc(test_is_annotated() ? size - 16 : size);
    require(block != NULL);
    return block;
}

static struct cal_slab *slab_of(const void *block, size_t size, uint32_t *slot)
{
    struct cal_slab *slab = cal_slot_find(block, slot);
    require(slab != NULL && slab->block_size == size);
    require((const char *)slab->first + *slot * size == block);
    return slab;
}

/* All of a slab is used. */

enum { SLOTS_MAX = 4096 };
static void *blocks[3 * SLOTS_MAX];

static uint32_t usable_slots(const struct cal_slab *slab)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < slab->slots; slot++)
        count += !is_withheld(slot);
    return count;
}

/* Fills one slab of SIZE; returns how many blocks are there, and how many of them lie above the one before. */
static uint32_t fill_slab(size_t size, uint32_t *ascending)
{
    static bool used[SLOTS_MAX];
    uint32_t slot, count = 1, last;
    size_t before = opened;
    blocks[0] = get(size);
    require(opened == before + 1);
    struct cal_slab *slab = slab_of(blocks[0], size, &slot);
    memset(used, 0, sizeof used);
    *ascending = 0;
    for (uint32_t usable = usable_slots(slab);; count++) {
        require(!is_withheld(slot) && !used[slot]);
        used[slot] = true;
        if (count == usable)
            break;
        last = slot;
        blocks[count] = get(size);
        require(slab_of(blocks[count], size, &slot) == slab);
        *ascending += slot > last;
    }
    require(opened == before + 1);
    return count;
}

/* A tool's redzone leaves nothing of the smallest. */
#define FIRST_SIZE (test_is_annotated() ? 1 : 0)
static const size_t sizes[] = {16, 64, 256, 1536, 2048, 3072, 8192, 12288, 49152, 131072};

static void use_all(void)
{
    for (size_t i = FIRST_SIZE; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint32_t ascending, count = fill_slab(sizes[i], &ascending);
        if (role.random == NULL)
            require(ascending == count - 1);
        else if (count >= 20)
            /* Of large slots there are few to choose from at a time, and the next ones lie above. */
            require(ascending > count / 4 && ascending < count - count / 10);
        /* With a second slab and half of the first there is no third until all is used. */
        uint32_t all = count;
        blocks[all++] = get(sizes[i]);
        if (count < 3) /* what is empty is closed */
            continue;
        size_t before = opened;
        for (uint32_t other = 0; other < count; other += 2)
            free(blocks[other]);
        for (uint32_t other = 0; other < count; other += 2)
            blocks[other] = get(sizes[i]);
        while (all < 2 * count)
            blocks[all++] = get(sizes[i]);
        require(opened == before);
        for (uint32_t other = 0; other < all; other++)
            free(blocks[other]);
    }
}

static void use_all_in_order(void)
{
    play(false, false);
    use_all();
}

static void use_all_but_withheld(void)
{
    play(false, true);
    use_all();
}

static void use_all_at_random(void)
{
    play(true, false);
    use_all();
}

static void use_all_but_withheld_at_random(void)
{
    play(true, true);
    use_all();
}

static void all_is_used_before_a_new_slab_is_opened(void **state)
{
    in_child(use_all_in_order);
    in_child(use_all_but_withheld);
    in_child(use_all_at_random);
    in_child(use_all_but_withheld_at_random);
}

/* Freed slots rest. */

/* The slot that was freed last is not the next one, and of a slab that is hardly used few others are. */
static void free_at_once(void)
{
    for (size_t i = FIRST_SIZE; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint32_t slot, last, highest = 0;
        void *block = get(sizes[i]);
        struct cal_slab *slab = slab_of(block, sizes[i], &last);
        free(block);
        for (size_t turn = 0; turn < test_repeat(5000); turn++) {
            block = get(sizes[i]);
            require(slab_of(block, sizes[i], &slot) == slab && slot != last);
            highest = slot > highest ? slot : highest;
            last = slot;
            free(block);
        }
        require(highest * slab->block_size <= 8192 || highest < 32);
    }
}

static void free_at_once_in_order(void)
{
    play(false, false);
    free_at_once();
}

static void free_at_once_at_random(void)
{
    play(true, false);
    free_at_once();
}

static void a_freed_slot_rests_while_others_are_free(void **state)
{
    in_child(free_at_once_in_order);
    in_child(free_at_once_at_random);
}

/* With more live blocks more is cut, and with that more rests. */
static void grow(void)
{
    enum { SIZE = 64, LIVE = 500 };
    play(false, false);
    uint32_t slot, highest = 0;
    for (size_t i = 0; i < LIVE; i++)
        blocks[i] = get(SIZE);
    for (size_t i = 0; i < LIVE; i++)
        free(blocks[i]);
    for (size_t turn = 0; turn < 10000; turn++) {
        void *block = get(SIZE);
        slab_of(block, SIZE, &slot);
        highest = slot > highest ? slot : highest;
        free(block);
    }
    require(highest >= LIVE - 1 && highest < LIVE + 64);
}

static void a_slab_is_cut_as_far_as_it_is_used(void **state)
{
    in_child(grow);
}

/* A buffer that is there for a while, again and again, takes the memory of two: the next choice, which is made early,
 * is none of a slot that was not there before. */
static uint32_t slots_in_turn(size_t size)
{
    static bool used[SLOTS_MAX];
    uint32_t slot, count = 0;
    memset(used, 0, sizeof used);
    for (size_t turn = 0; turn < 2000; turn++) {
        void *block = get(size);
        slab_of(block, size, &slot);
        count += !used[slot];
        used[slot] = true;
        free(block);
    }
    return count;
}

static void use_in_turn(void)
{
    play(true, false);
    require(slots_in_turn(49152) == 2);
    require(slots_in_turn(131072) == 2);
}

static void choices_take_no_more_memory(void **state)
{
    in_child(use_in_turn);
}

/* Random choices. */

/* When COUNT blocks were in use and are not any more, each of their slots is chosen about as often. */
static void choose_often(size_t size, uint32_t count, size_t rounds)
{
    static uint32_t times[SLOTS_MAX];
    memset(times, 0, sizeof times);
    uint32_t slot;
    for (uint32_t i = 0; i < count; i++)
        blocks[i] = get(size);
    struct cal_slab *slab = slab_of(blocks[0], size, &slot);
    for (uint32_t i = 0; i < count; i++)
        free(blocks[i]);
    for (size_t round = 0; round < rounds; round++) {
        void *block = get(size);
        require(slab_of(block, size, &slot) == slab);
        times[slot]++;
        free(block);
    }
    for (slot = 0; slot < count; slot++)
        require(times[slot] >= rounds / count / 4 && times[slot] <= rounds / count * 4);
}

static void choose_among_few(void)
{
    play(true, false);
    choose_often(2048, 16, 16000);
    choose_often(3072, 16, 16000);
    choose_often(8192, 7, 8000);
    choose_often(131072, 4, 4000);
}

/* Of 256 slots, four words. */
static void choose_among_many(void)
{
    play(true, false);
    choose_often(16, 256, 128000);
}

static void random_choices_are_spread(void **state)
{
    in_child(choose_among_few);
    if (test_is_slow())
        print_message("not tried with many slots, which takes long here\n");
    else
        in_child(choose_among_many);
}

static void choose_twice(void)
{
    uint32_t ascending, slot, same = 0, first[256];
    play(true, false);
    require(fill_slab(256, &ascending) == 256);
    for (uint32_t i = 0; i < 256; i++)
        slab_of(blocks[i], 256, &first[i]);
    fill_slab(256, &ascending);
    for (uint32_t i = 0; i < 256; i++) {
        slab_of(blocks[i], 256, &slot);
        same += slot == first[i];
    }
    require(same < 64);
}

static void two_slabs_have_two_orders(void **state)
{
    in_child(choose_twice);
}

/* What the process had at hand for choices is no child's. */
enum { CHOSEN = 64 };

static void choose_in_child(uint32_t *chosen, uint64_t seed)
{
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        other_bits = random_next(&(struct random){seed});
        for (size_t i = 0; i < CHOSEN; i++)
            slab_of(get(256), 256, &chosen[i]);
        _exit(0);
    }
    int status;
    require(waitpid(child, &status, 0) == child && status == 0);
}

static void choose_in_children(void)
{
    size_t length = 2 * CHOSEN * sizeof(uint32_t);
    uint32_t ascending, same = 0;
    uint32_t *chosen =
        mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(chosen != MAP_FAILED);
    play(true, false);
    uint32_t count = fill_slab(256, &ascending);
    for (uint32_t i = 0; i < count; i++)
        free(blocks[i]);
    free(get(256));
    choose_in_child(chosen, 2);
    choose_in_child(chosen + CHOSEN, 3);
    for (size_t i = 0; i < CHOSEN; i++)
        same += chosen[i] == chosen[CHOSEN + i];
    require(same < CHOSEN / 2);
    munmap(chosen, length);
}

/* The handler of a signal may fork amid an allocation, which goes on in both processes: here at each of its
 * instructions. */
#ifdef __x86_64__
enum { STEPS_MOST = 20000, TRAP_FLAG = 0x100, BYTES = 192 };
static uint32_t (*chosen_after)[CHOSEN];
static volatile sig_atomic_t step, step_of_child;
static size_t draws_before_child;

static void fork_at_step(int signal, siginfo_t *information, void *context)
{
    (void)signal, (void)information;
    ucontext_t *interrupted = context;
    require(++step < STEPS_MOST);
    pid_t child = fork();
    require(child >= 0);
    if (child == 0) {
        other_bits = random_next(&(struct random){1000 + (uint64_t)step});
        interrupted->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
        step_of_child = step;
        draws_before_child = draws;
        return;
    }
    int status;
    require(waitpid(child, &status, 0) == child && status == 0);
}

static void fork_at_each_step(void)
{
    void *kept[CHOSEN];
    step = 0;
    __asm__ volatile("pushfq; orq %0, (%%rsp); popfq" : : "i"(TRAP_FLAG) : "memory", "cc");
    void *volatile block = malloc(256);
    __asm__ volatile("pushfq; andq %0, (%%rsp); popfq" : : "i"(~TRAP_FLAG) : "memory", "cc");
    require(block != NULL);
    for (size_t i = 0; i < CHOSEN; i++)
        slab_of(kept[i] = get(256), 256, &chosen_after[step_of_child][i]);
    if (step_of_child != 0) {
        /* All of its own. */
        require(draws - draws_before_child >= BYTES / 8);
        _exit(0);
    }
    for (int child = 1; child <= step; child++) {
        uint32_t same = 0;
        for (size_t i = 0; i < CHOSEN; i++)
            same += chosen_after[child][i] == chosen_after[0][i];
        require(same < CHOSEN / 2);
    }
    for (size_t i = 0; i < CHOSEN; i++)
        free(kept[i]);
    free(block);
}

/* Blocks in turn, until the heap has drawn its bytes anew, and LEFT as many choices less as these are good for. */
static void use_all_but(size_t left)
{
    size_t before;
    do {
        before = draws;
        free(get(256));
    } while (draws - before < BYTES / 8);
    for (size_t i = left; i < BYTES; i++)
        free(get(256));
}

static void fork_amid_allocations(void)
{
    chosen_after = mmap(NULL, STEPS_MOST * sizeof *chosen_after, PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    require(chosen_after != MAP_FAILED);
    struct sigaction action = {.sa_sigaction = fork_at_step, .sa_flags = SA_SIGINFO};
    require(sigaction(SIGTRAP, &action, NULL) == 0);
    play(true, false);
    free(get(256));
    /* On the short way, where more slots have to be at hand, and where the bytes are drawn. */
    for (size_t count = 0; count < 8; count++) {
        fork_at_each_step();
        get(256);
    }
    for (size_t left = 0; left < 4; left++) {
        use_all_but(left);
        fork_at_each_step();
    }
}
#endif

static void forked_processes_choose_by_themselves(void **state)
{
    in_child(choose_in_children);
#ifdef __x86_64__
    if (test_is_slow() || test_is_annotated())
        print_message("not tried amid an allocation, which a tool would be, too\n");
    else
        in_child(fork_amid_allocations);
#else
    print_message("not tried amid an allocation: only where single steps are known\n");
#endif
}

/* Zeros. */

static volatile size_t observed;

static void see(void *block, size_t requested, size_t usable)
{
    observed++;
}

static const struct cal_observer observer = {.size = sizeof observer, .allocated = see};
static const struct cal_hooks observing = {.size = sizeof observing,
                                           .version = CAL_HOOKS_VERSION,
                                           .name = "observing",
                                           .component_version = "1",
                                           .observer = &observer};

static void expect_zeros(size_t size, bool zeros)
{
    for (size_t i = 0; i < 64; i++) {
        unsigned char *block = calloc(1, size);
        require(zeros ? is_zero(block, size) : block[0] == 0xff && block[size - 1] == 0xff);
        memset(block, 0xff, size);
        free(block);
    }
}

/* What the add-on says is believed, whether it is true or not. */
static void ask_for_zeros(void)
{
    static const size_t zeroed[] = {500, 3000, 20000};
    play(false, false);
    for (size_t i = 0; i < sizeof zeroed / sizeof zeroed[0]; i++) {
        for (int way = 0; way < 2; way++) {
            says_zeros = false;
            expect_zeros(zeroed[i], true);
            says_zeros = true;
            expect_zeros(zeroed[i], false);
            says_zeros = false;
            expect_zeros(zeroed[i], true);
            /* And by the way on which others have a say. */
            require((way == 0 ? cal_hooks_register(&observing)
                              : cal_hooks_unregister(&observing)) == 0);
        }
    }
}

static void the_add_on_says_whether_there_are_zeros(void **state)
{
    if (test_is_annotated())
        print_message("a tool has its own mind on what is zero: not tried\n");
    else
        in_child(ask_for_zeros);
}

/* A slab is fresh as long as nobody has written to its memory; open() looks whether it is zero then. */
static void open_slabs(void)
{
    play(false, false);
    void *first = get(2048);
    require(opened == 1 && fresh == 1);
    for (size_t round = 0; round < 5; round++) {
        for (size_t i = 0; i < 1000; i++)
            memset(blocks[i] = get(2048), 0xff, 2000);
        for (size_t i = 0; i < 1000; i++)
            free(blocks[i]);
        require(closed > 0);
    }
    require(fresh > 1 && fresh < opened);
    size_t before = opened;
    void *large = malloc(3000000);
    require(opened == before + 1);
    memset(large, 0xff, 3000000);
    free(large);
    free(first);
}

static void slabs_know_whether_they_are_fresh(void **state)
{
    in_child(open_slabs);
}

/* Who has a say may change at any time. */

static _Atomic int turn;
enum { TURNS = 1000 };

static void *allocate_in_turns(void *argument)
{
    for (int mine = 1; mine <= 5; mine += 2) {
        while (turn < mine)
            usleep(100);
        for (size_t i = 0; i < TURNS; i++)
            free(malloc(1 + i % 2000));
        turn++;
    }
    return NULL;
}

static void take_turns(void)
{
    turn++;
    while (turn % 2 != 0)
        usleep(100);
}

static void observe_for_a_while(void)
{
    pthread_t thread;
    play(false, false);
    start_thread(&thread, allocate_in_turns, NULL);
    for (size_t i = 0; i < TURNS; i++)
        free(malloc(1 + i % 2000));
    take_turns();
    require(cal_hooks_register(&observing) == 0);
    require(observed == 0);
    take_turns();
    require(observed == TURNS);
    free(malloc(10));
    require(observed == TURNS + 1);
    require(cal_hooks_unregister(&observing) == 0);
    take_turns();
    free(malloc(10));
    require(observed == TURNS + 1);
    join_thread(thread);
}

static void an_observer_sees_all_while_it_is_registered(void **state)
{
    warm_up_threads(1);
    in_child(observe_for_a_while);
}

int main(void)
{
    test_is_annotated(); /* before the role is played */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_is_used_before_a_new_slab_is_opened),
        cmocka_unit_test(a_freed_slot_rests_while_others_are_free),
        cmocka_unit_test(a_slab_is_cut_as_far_as_it_is_used),
        cmocka_unit_test(choices_take_no_more_memory),
        cmocka_unit_test(random_choices_are_spread),
        cmocka_unit_test(two_slabs_have_two_orders),
        cmocka_unit_test(forked_processes_choose_by_themselves),
        cmocka_unit_test(the_add_on_says_whether_there_are_zeros),
        cmocka_unit_test(slabs_know_whether_they_are_fresh),
        cmocka_unit_test(an_observer_sees_all_while_it_is_registered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
