/*
 * Where frames of HTTP/2 begin in what passes: the header of each is kept, and as much of the others'
 * payloads as an event has room for. 5.10.
 */
#ifndef APM_FRAMES_H
#define APM_FRAMES_H

#include "io.bpf.h"

#define FRAME_PARTS 128 /* of a call */
#define PART_FRAMES 64	/* of a part */

/* Frames of HTTP/2 (RFC 9113, 4.1, 6.1 and 6.2). Their first eight bytes are read as one little-endian
 * number. */
#define FRAME_HEADER 9
#define FRAME_KIND(first) ((u8)((first) >> 24))
#define FRAME_DATA 0
#define FRAME_HEADERS 1
#define FRAME_LAST 9 /* CONTINUATION */
#define FRAME_FLAGS(first) ((u8)((first) >> 32))
#define FLAG_END_STREAM 0x1
#define FLAG_END_HEADERS 0x4
#define FLAG_PADDED 0x8
#define FLAG_PRIORITY 0x20
#define FRAME_RESERVED (1ULL << 47)

#define PREFACE 24 /* bytes */

static __always_inline bool is_preface(u64 first)
{
	return (u32)first == ('P' | 'R' << 8 | 'I' << 16 | ' ' << 24);
}

/*
 * HTTP/2 begins with "PRI * HTTP/2.0" (RFC 9113, 3.4). Where that was not seen a read is taken for it that
 * begins with the whole head of a request, no longer than 64 KiB.
 */
static __always_inline bool is_http2(u64 first)
{
	if (is_preface(first))
		return true;
	return !(u8)first && FRAME_KIND(first) == FRAME_HEADERS && !(first & FRAME_RESERVED) &&
	       (FRAME_FLAGS(first) & ~(FLAG_END_STREAM | FLAG_PADDED | FLAG_PRIORITY)) == FLAG_END_HEADERS;
}

/* More in a frame is not taken by any server that is known. */
#define FRAME_MAX (4 << 20)

static __always_inline u32 frame_size(u64 first)
{
	return (u32)(u8)first << 16 | (u32)(u8)(first >> 8) << 8 | (u8)(first >> 16);
}

/* Other bytes are seldom like a frame's header. */
static __always_inline bool may_be_frame(u64 first)
{
	u8 flags = FLAG_END_STREAM | FLAG_END_HEADERS | FLAG_PADDED | FLAG_PRIORITY;

	return FRAME_KIND(first) <= FRAME_LAST && !(FRAME_FLAGS(first) & ~flags) &&
	       !(first & FRAME_RESERVED) && frame_size(first) <= FRAME_MAX;
}

/*
 * Finds again where frames begin, if length bytes at address do with one of a stream that the client began,
 * whose number is odd, and another or nothing follows.
 */
static __always_inline void find_frames(struct frames *f, u64 address, u64 length)
{
	u64 first = read_user(address), size = FRAME_HEADER + frame_size(first);

	if (length < FRAME_HEADER || !may_be_frame(first) ||
	    !(read_user(address + FRAME_HEADER - 8) >> 56 & 1))
		return;
	if (size + sizeof(first) <= length && !may_be_frame(read_user(address + size)))
		return;
	*f = (struct frames){};
}

/* Takes what comes of a frame's header at address, room bytes at most. Returns how many that were. */
static __always_inline u32 take_header(struct frames *f, u64 address, u32 room)
{
	u64 bytes = 0;
	u32 have = f->have, size = FRAME_HEADER - have;

	if (size > room)
		size = room;
	f->have = have + size;
	if (have < sizeof(bytes)) {
		u32 some = size < sizeof(bytes) ? size : sizeof(bytes);

		FORGET(some);
		if (some > sizeof(bytes) || bpf_probe_read_user(&bytes, some, (void *)address))
			f->lost = 1;
		f->header |= bytes << (have * 8 & 63);
	}
	if (f->have < FRAME_HEADER)
		return size;
	if (!may_be_frame(f->header))
		f->lost = 1;
	f->left = frame_size(f->header);
	f->data = FRAME_KIND(f->header) == FRAME_DATA;
	f->header = 0;
	f->have = 0;
	return size;
}

/*
 * Adds a frame's header to the part of io.length bytes at io.base, after what it has room for of the payload
 * before. DATA for which there is none is left out: io.hidden. Returns 0 where the part ends.
 */
__noinline int io_frame(u32 slot)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);

	if (!io)
		return 0;
	struct frames *f = &io->frames;
	u32 limit = io->room < IO_HEAD ? io->room : IO_HEAD, kept = io->length;

	if (kept >= limit)
		return 0;
	u32 some = limit - kept;

	if (!f->lost) {
		if (f->left > some && f->data) {
			io->hidden = f->left < io->room - kept ? f->left : io->room - kept;
			f->left -= io->hidden;
			return 0;
		}
		if (f->left < some)
			some = f->left;
		f->left -= some;
	}
	kept += some;
	if (kept < limit)
		kept += take_header(f, io->base + kept, limit - kept);
	io->length = kept;
	return 1;
}

/*
 * Sends the next part of io.left bytes, the next io.room of which lie at io.base and others where io.count
 * iovecs at io.vector say. Returns 0 where no more can be found.
 */
__noinline int io_part(u32 slot)
{
	struct io *io = bpf_map_lookup_elem(&io_scratch, &slot);
	struct iovec v;

	if (!io || !io->left)
		return 0;
	if (!io->room) {
		if (!io->count || bpf_probe_read_user(&v, sizeof(v), (void *)io->vector))
			return 0;
		io->count--;
		io->vector += sizeof(v);
		io->base = v.base;
		io->room = v.length < io->left ? v.length : io->left;
		if (!io->room)
			return 1;
	}
	io->length = 0;
	io->hidden = 0;
	for (int i = 0; i < PART_FRAMES; i++)
		if (!io_frame(slot))
			break;
	u64 part = io->length + io->hidden;

	if (io->length)
		io_keep(IO_HEAD, slot);
	send_part(io, part, slot);
	io->base += part;
	io->room -= part;
	io->left -= part;
	return 1;
}

/*
 * Sends what passed on a connection of HTTP/2, where frames may begin anywhere: in parts, and of a long call
 * the end.
 */
static __always_inline void send_parts(struct io *io, struct conn *c, struct frames *f, struct buffers *b,
				       u64 length, u32 slot)
{
	io->frames = *f;
	io->base = b->base;
	io->vector = b->base;
	io->count = b->count;
	io->room = b->count ? 0 : length;
	io->left = b->base ? length : 0;
	if (f->lost && io->room && io->left)
		find_frames(&io->frames, b->base, length);
	for (int i = 0; i < FRAME_PARTS; i++)
		if (!io_part(slot))
			break;
	length = b->base ? io->left : length;
	if (b->base && io->room == length && length >= IO_TAIL)
		keep_tail(&io->event, io->base + length - IO_TAIL);
	if (length)
		send_part(io, length, slot);
	*f = io->frames;
	if (length > f->left)
		f->lost = 1;
	else
		f->left -= length;
	c->missed = (io->event.flags & IO_MISSED) != 0;
}

#endif
