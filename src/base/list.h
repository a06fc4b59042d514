/* An intrusive, circular, doubly linked list. A node is in at most one list; list_remove makes it
 * empty again, so that list_is_linked tells. No allocation, no lock. */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include "base/base.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l;
    l->prev = l;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

/* True when the node is in a list; a zeroed node counts as not linked. */
static inline bool list_is_linked(const struct list *node)
{
    return node->next != NULL && node->next != node;
}

static inline void list_insert_before(struct list *at, struct list *node)
{
    node->prev = at->prev;
    node->next = at;
    at->prev->next = node;
    at->prev = node;
}

static inline void list_push_back(struct list *head, struct list *node)
{
    list_insert_before(head, node);
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_insert_before(head->next, node);
}

static inline void list_remove(struct list *node)
{
    if (list_is_linked(node)) {
        node->prev->next = node->next;
        node->next->prev = node->prev;
    }
    list_init(node);
}

static inline struct list *list_pop_front(struct list *head)
{
    struct list *node = head->next;
    if (node == head) {
        return NULL;
    }
    list_remove(node);
    return node;
}

/* Moves all nodes of `from` to the end of `to`. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (list_is_empty(from)) {
        return;
    }
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_entry(node, type, member) container_of(node, type, member)

#define list_foreach(node, head) \
    for (struct list *node = (head)->next; node != (head); node = node->next)

/* The body may remove `node`. */
#define list_foreach_safe(node, tmp, head)                                    \
    for (struct list *node = (head)->next, *tmp = node->next; node != (head); \
         node = tmp, tmp = node->next)

#endif
