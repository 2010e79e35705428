/* Call frame information: what .eh_frame says of a place in the code, for the few kinds of frames that nearly
 * all code has. */
#ifndef CAL_TRACK_CFI_H
#define CAL_TRACK_CFI_H

#include "base.h"

/* A frame's CFA is where the stack pointer will be when it has returned. */
enum cal__rule_kind {
    CAL_RULE_NONE = 0, /* there is no information */
    CAL_RULE_SP,       /* CFA = stack pointer + offset */
    CAL_RULE_BP,       /* CFA = frame pointer + offset */
    CAL_RULE_BP_AT, /* CFA = what is at frame pointer + offset, and the caller's frame pointer is at the
                        * frame pointer: of code that aligns the stack */
    CAL_RULE_SIGNAL, /* the kernel called: registers are in the frame of the signal */
    CAL_RULE_END,    /* nobody called */
    CAL_RULE_OTHER,  /* anything else: for libgcc to work out */
};

struct cal__rule {
    enum cal__rule_kind kind;
    int32_t offset;
    int32_t
        bp; /* CFA + this: where the caller's frame pointer is; 0: it is in its register still */
    int32_t ra; /* CFA + this: where the return address is; 0: in its register (aarch64) */
};

/* PC is where a call returns to, or with EXACT an instruction that is about to run. HEADER is the module's
 * PT_GNU_EH_FRAME. Reads nothing but this and .eh_frame; async-signal-safe. */
struct cal__rule cal__cfi_find(uintptr_t pc, bool exact, const void *header);

#endif
