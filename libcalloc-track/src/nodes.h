/* Stacks as a tree: a node is a frame and the node of its caller. Node 0 is the root; node 1 stands under it
 * for outer frames that were not found. */
#ifndef CAL_TRACK_NODES_H
#define CAL_TRACK_NODES_H

#include "base.h"
#include "format.h"

enum { CAL_NODE_ROOT = 0, CAL_NODE_UNKNOWN = 1 };

/* False: no memory. */
bool cal__nodes_start(void);

/* The node of FRAME called from PARENT; PARENT itself where there is no memory for it. Lock-free where the node
 * is known. */
uint32_t cal__nodes_find(uint32_t parent, uint32_t frame);

uint32_t cal__nodes_count(void);
/* With frames numbered from 1, as cal__frame(), and CAL_FILE_NONE in node 0 and 1. */
struct cal__file_node cal__node(uint32_t number);

/* Sites are the nodes that allocate, numbered from 1; 0 is that of all that have no number of their own, for
 * want of memory. */
enum { CAL_SITE_BITS = 24, CAL_SITES_MAX = 1 << CAL_SITE_BITS };

uint32_t cal__site_of(uint32_t node);
uint32_t cal__sites_count(void); /* one more than the last */
uint32_t cal__site_node(uint32_t site);

void cal__nodes_fork_prepare(void);
void cal__nodes_fork_done(bool in_child);

#endif
