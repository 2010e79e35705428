/* The files that the library writes and the tools read: profiles and traces. docs/decisions/profile-format.md
 * says why they are so; this header is all that a reader needs.
 *
 * A file is a header and then sections, one behind the other and without gaps. All numbers are
 * little-endian; nothing is aligned, so a reader copies records out. A reader
 *   - skips a section whose type it does not know, by its length;
 *   - takes from a record what both know: records are `record_size` bytes, and fields are only ever added
 *     at the end. What is missing reads as zero;
 *   - joins the sections of one type: the records of each are `first`, `first` + 1, …  A section never
 *     refers to a record that comes later in the file, other than LEAKS and SITES to each other;
 *   - stops at a section that ends behind the end of the file, or whose header's CRC is wrong, and leaves
 *     out one whose payload's CRC is wrong. What it has until then is good. A file without END was cut
 *     short.
 *
 * Times are nanoseconds since the start of the recording, which `start_realtime` of PROCESS places. Addresses
 * are those of the process. Counts and bytes are of the process: where only samples were taken, they are
 * already scaled. Bytes are what was asked for, unless it says `usable`. */
#ifndef CAL_TRACK_FORMAT_H
#define CAL_TRACK_FORMAT_H

#include <stdint.h>

#define CAL_FILE_MAGIC "CALTRACK" /* eight bytes, without '\0' */
#define CAL_FILE_MAJOR 1          /* other: the file cannot be read */
#define CAL_FILE_MINOR 0          /* raised when sections or fields are added */

enum cal__file_kind {
    CAL_FILE_PROFILE = 1,
    CAL_FILE_TRACE = 2,
};

struct cal__file_header {
    char magic[8];
    uint16_t major;
    uint16_t minor;
    uint32_t kind;
    uint32_t header_size; /* where the first section begins */
    uint32_t flags;       /* 0 */
    uint32_t reserved;    /* 0 */
    uint32_t crc;         /* of the bytes before it; CRC-32 as zlib's crc32() */
};

#define CAL_SECTION_MARK UINT32_C(0x43455343) /* "CSEC" */

/* Flags of a section. */
#define CAL_SECTION_ZSTD UINT32_C(1) /* the payload is one zstd frame with its content size */

struct cal__file_section {
    uint32_t mark;
    uint32_t type;
    uint32_t record_size; /* 0: the payload is not made of records of one size */
    uint32_t flags;
    uint64_t first;       /* number of the first record; STRINGS: offset of the first byte */
    uint64_t count;       /* records; EVENTS: events; STRINGS: bytes */
    uint64_t length;      /* bytes of the payload in the file; at most CAL_SECTION_MAX */
    uint32_t payload_crc; /* of these bytes, as they are in the file */
    uint32_t header_crc;  /* of the bytes of this header before it */
};

/* A writer splits what is larger. The content of a compressed payload is at most as large, too. */
#define CAL_SECTION_MAX (UINT64_C(64) << 20)

enum cal__section_type {
    CAL_SECTION_PROCESS = 1, /* one record; a later one replaces it */
    CAL_SECTION_STRINGS =
        2, /* bytes; strings are named by the offset of their first byte, end with '\0' */
    CAL_SECTION_MODULES = 3, /* a later record with the number of an earlier one replaces it */
    CAL_SECTION_FRAMES = 4,
    CAL_SECTION_NODES = 5,
    CAL_SECTION_SITES = 6, /* profile */
    CAL_SECTION_THREADS = 7,
    CAL_SECTION_TIMELINE = 8, /* in the order of time */
    CAL_SECTION_CLASSES = 9,  /* fragmentation by size of block */
    CAL_SECTION_REGIONS = 10, /* the heap map, by address */
    CAL_SECTION_LEAKS = 11,
    CAL_SECTION_LEAK_FACTS = 12, /* one record; without it no leaks were looked for */
    CAL_SECTION_SUPPRESSIONS = 13,
    CAL_SECTION_SITE_NODES = 14, /* trace: SITES without their counters */
    CAL_SECTION_EVENTS = 15,     /* trace */
    CAL_SECTION_END = 16,        /* empty; nothing comes behind it */
};

/* "None", "unknown" or "several" in fields of 32 bits. */
#define CAL_FILE_NONE UINT32_MAX

/* Why a profile was written. */
enum cal__dump_reason {
    CAL_DUMP_EXIT = 1,
    CAL_DUMP_CALL = 2, /* cal_track_dump() */
    CAL_DUMP_SIGNAL = 3,
};

/* Flags of PROCESS. */
#define CAL_PROCESS_SAMPLED \
    UINT32_C(1) /* counters are estimates: about one of sample_bytes bytes was seen */
#define CAL_PROCESS_LATE UINT32_C(2) /* recording began in a process that had allocated before */
#define CAL_PROCESS_FORKED \
    UINT32_C(4) /* the counters of its parent at the fork are in them; what other threads were
                                           * counting at that moment may be in some sums only */
#define CAL_PROCESS_PAUSED UINT32_C(8) /* recording was off for a while, or is */

struct cal__file_process {
    uint32_t pid;
    uint32_t parent_pid;
    uint32_t reason; /* enum cal__dump_reason; 0 in a trace */
    uint32_t flags;
    uint64_t start_realtime;   /* ns since 1970 */
    uint64_t duration;         /* ns from the start of the recording to the writing */
    uint64_t ticks_per_second; /* of EVENTS; 0 in a profile */
    uint64_t page_size;
    uint64_t sample_bytes; /* 0: every allocation */
    uint32_t program;      /* strings: path of the executable */
    uint32_t command_line; /* its arguments, with spaces between them */
    uint32_t version;      /* of libcalloc-track */
    uint32_t core_version;
    uint64_t allocations;
    uint64_t allocated_bytes;
    uint64_t frees;
    uint64_t freed_bytes;
    uint64_t
        temporaries;     /* blocks freed by the thread that allocated them, with no allocation by it
                                 * in between */
    uint64_t peak_bytes; /* live bytes at the high-water mark */
    uint64_t peak_time;
    uint64_t lost;           /* allocations that were not recorded for want of memory */
    uint64_t unknown_frees;  /* frees of blocks that were not recorded: from before, or lost */
    uint64_t resident_bytes; /* of the process */
    uint64_t peak_resident_bytes;
    uint64_t heap_mapped_bytes; /* that the allocator has from the system */
    uint64_t own_bytes;         /* that the library has from the system for its own use */
};

struct cal__file_module {
    uint64_t start;           /* addresses from here */
    uint64_t end;             /* up to here */
    uint64_t bias;            /* what is added to addresses of the file */
    uint64_t seen;            /* when the library first saw it */
    uint64_t gone;            /* when it saw that it was unloaded; 0: it is there */
    uint32_t path;            /* string; "" where the kernel mapped it without a file: the vdso */
    uint32_t build_id_length; /* 0: it has none */
    uint8_t build_id[32];
};

/* The address is a pc, and not where a call returns to: of code that a signal interrupted. Others are
 * symbolised at `address` - 1. */
#define CAL_FRAME_EXACT UINT32_C(1)

struct cal__file_frame {
    uint64_t address;
    uint32_t module; /* CAL_FILE_NONE: of no module: code made at run time */
    uint32_t flags;
};

/* Stacks share their outer frames: a node is a frame and the node of its caller. Node 0 is the root and no
 * frame; a node whose frame is CAL_FILE_NONE stands for frames that could not be found or were too many.
 * `parent` is always smaller than the node's own number. */
struct cal__file_node {
    uint32_t parent;
    uint32_t frame;
};

/* Bucket 0: lifetimes under 4 us; bucket i: from 4^i us to 4^(i+1) us; the last: all longer ones. */
#define CAL_LIFETIMES 16

/* A call stack that allocates. */
struct cal__file_site {
    uint32_t node;      /* the innermost frame; frames inside the allocator are left out */
    uint32_t thread;    /* number in THREADS, if only one allocated there; else CAL_FILE_NONE */
    uint32_t numa_node; /* that the threads ran on, if one; else CAL_FILE_NONE */
    uint32_t flags;     /* 0 */
    uint64_t allocations;
    uint64_t allocated_bytes;
    uint64_t frees; /* of blocks allocated here */
    uint64_t freed_bytes;
    uint64_t temporaries;
    uint64_t slack;       /* usable bytes beyond what was asked for, of all allocations */
    uint64_t peak_blocks; /* live when the process was at its high-water mark */
    uint64_t peak_bytes;
    uint64_t lifetimes[CAL_LIFETIMES]; /* of freed blocks; their sum is `frees` */
};

/* The first 65,536 threads; those that begin later are not told apart, and not in here. */
struct cal__file_thread {
    uint64_t tid;
    uint32_t name;  /* string */
    uint32_t flags; /* 0 */
    uint64_t start;
    uint64_t end; /* 0: it runs */
    uint64_t allocations;
    uint64_t allocated_bytes;
    uint64_t frees;
    uint64_t freed_bytes;
};

struct cal__file_moment {
    uint64_t time;
    uint64_t live_blocks;
    uint64_t live_bytes;
    uint64_t allocations;    /* so far */
    uint64_t resident_bytes; /* 0: not known */
};

struct cal__file_class {
    uint64_t block_size; /* usable bytes of each */
    uint64_t regions;    /* slabs, or large blocks up to the next power of two */
    uint64_t slots;      /* blocks that they have */
    uint64_t live;       /* of these, in use */
    uint64_t mapped;     /* bytes of the regions */
};

/* As enum cal_region_kind of <calloc/hooks.h>: 1 slab, 2 large block in a segment, 3 mapping, 4 free, 5 range
 * of an owner. */
#define CAL_REGION_DIRTY UINT32_C(1) /* free, and still backed by memory */

struct cal__file_region {
    uint64_t address;
    uint64_t length;
    uint64_t block_size;
    uint64_t blocks;
    uint64_t live;
    uint32_t kind;
    uint32_t flags;
};

enum cal__leak_kind {
    CAL_LEAK_DIRECT = 1,    /* nothing points to it but itself or a cycle that it is the first of */
    CAL_LEAK_INDIRECT = 2,  /* only leaked blocks point to it */
    CAL_LEAK_NOT_FREED = 3, /* live at exit, and reachable */
};

/* Blocks of one site, size and kind; the sum over one site and kind is the site's. */
struct cal__file_leak {
    uint32_t site;
    uint32_t kind;
    uint64_t size; /* of each block */
    uint64_t blocks;
    uint64_t bytes;
    uint64_t example;     /* address of one of them */
    uint32_t suppression; /* number in SUPPRESSIONS, or CAL_FILE_NONE */
    uint32_t reserved;
};

#define CAL_LEAKS_UNREACHABLE UINT32_C(1) /* reachability was looked at; else all are NOT_FREED */
#define CAL_LEAKS_INCOMPLETE \
    UINT32_C(2) /* not all threads could be stopped: what only they point to may be
                                           * listed as leaked */

struct cal__file_leak_facts {
    uint32_t flags;
    uint32_t threads;        /* that were stopped, or waited */
    uint32_t threads_missed; /* that could not be */
    uint32_t reserved;
    uint64_t scanned_bytes;
    uint64_t duration;
};

struct cal__file_suppression {
    uint32_t text; /* string: the pattern */
    uint32_t reserved;
    uint64_t blocks;
    uint64_t bytes;
};

/* EVENTS: what one thread did in a while. The payload begins with this, and then come events. The sections of
 * one thread are in their order; those of different threads are merged by their ticks. */
struct cal__file_events {
    uint32_t thread; /* number in THREADS, or CAL_FILE_NONE */
    uint32_t reserved;
    uint64_t ticks; /* at the start; ticks_per_second of PROCESS, 0 at the start of the recording */
};

/* An event is a row of varints (LEB128: seven bits a byte, the lowest first, the high bit set in all but the
 * last; at most ten bytes). SIGNED is the zigzag code of a difference: (d << 1) ^ (d >> 63). Each section
 * begins with ADDRESS and SITE 0.
 *   1. ticks since the event before << 3 | kind
 *   2. by kind:
 *      ALLOCATE  SIGNED (address - ADDRESS) / 16, size asked for, SIGNED site - SITE; sets ADDRESS and SITE
 *      FREE      SIGNED (address - ADDRESS) / 16; sets ADDRESS
 *      RESIZE    SIGNED (address - ADDRESS) / 16, new size; sets ADDRESS. The block keeps its address
 *      START     nothing: the thread begins
 *      END       nothing: it ends; libc may free some of its blocks afterwards
 * Where a realloc moves a block, there is an ALLOCATE and then a FREE. */
enum cal__event_kind {
    CAL_EVENT_ALLOCATE = 0,
    CAL_EVENT_FREE = 1,
    CAL_EVENT_RESIZE = 2,
    CAL_EVENT_START = 3,
    CAL_EVENT_END = 4,
};

_Static_assert(sizeof(struct cal__file_header) == 32, "as in files");
_Static_assert(sizeof(struct cal__file_section) == 48, "as in files");
_Static_assert(sizeof(struct cal__file_process) == 176, "as in files");
_Static_assert(sizeof(struct cal__file_module) == 80, "as in files");
_Static_assert(sizeof(struct cal__file_frame) == 16, "as in files");
_Static_assert(sizeof(struct cal__file_node) == 8, "as in files");
_Static_assert(sizeof(struct cal__file_site) == 208, "as in files");
_Static_assert(sizeof(struct cal__file_thread) == 64, "as in files");
_Static_assert(sizeof(struct cal__file_moment) == 40, "as in files");
_Static_assert(sizeof(struct cal__file_class) == 40, "as in files");
_Static_assert(sizeof(struct cal__file_region) == 48, "as in files");
_Static_assert(sizeof(struct cal__file_leak) == 48, "as in files");
_Static_assert(sizeof(struct cal__file_leak_facts) == 32, "as in files");
_Static_assert(sizeof(struct cal__file_suppression) == 24, "as in files");
_Static_assert(sizeof(struct cal__file_events) == 16, "as in files");

#endif
