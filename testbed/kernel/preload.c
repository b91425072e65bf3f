/*
 * Preloaded into the guest kernel's process, between User-Mode Linux and the C library. Three things
 * that a guest of ours needs of its machine, none of which takes a change of the kernel:
 *
 * - CONCERTINA_SEED: entropy that repeats. getrandom() is the kernel's only source.
 * - CONCERTINA_PACE: virtual seconds per real second, at most. Init writes the virtual clock (20
 *   digits, monotonic ns) into a file at every tick, which the kernel does by pwrite64(); here the
 *   whole guest stands still until real time has come as far.
 * - Processors with registers that kernels before 6.13 do not know (AMX): these write back 2696
 *   bytes of extended state, and the machine refuses what is not as long as its own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define STATE_BYTES 65536
#define TICK_BYTES 20

ssize_t getrandom(void *buffer, size_t length, unsigned int flags)
{
	static uint64_t state;
	static int begun;
	static ssize_t (*machines)(void *, size_t, unsigned int);
	unsigned char *bytes = buffer;

	if (!begun) {
		const char *seed = getenv("CONCERTINA_SEED");

		if (seed)
			state = strtoull(seed, NULL, 10);
		else
			machines = dlsym(RTLD_NEXT, "getrandom");
		begun = 1;
	}
	if (machines)
		return machines(buffer, length, flags);
	for (size_t at = 0; at < length; at += 8) { /* SplitMix64: Steele, Lea, Flood, OOPSLA 2014 */
		uint64_t z = (state += 0x9e3779b97f4a7c15ULL);

		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
		z ^= z >> 31;
		memcpy(bytes + at, &z, length - at < 8 ? length - at : 8);
	}
	return (ssize_t)length;
}

/* A tick lasts no less than its virtual time at the pace; what was late before is not caught up. */
static void wait_for_real_time(uint64_t virtual_ns)
{
	static double pace = -1;
	static uint64_t tick_virtual_ns, tick_real_ns;
	struct timespec now;

	if (pace < 0) {
		const char *given = getenv("CONCERTINA_PACE");

		pace = given ? strtod(given, NULL) : 0;
	}
	if (pace == 0)
		return;
	if (tick_real_ns) {
		uint64_t due_ns = tick_real_ns + (uint64_t)((virtual_ns - tick_virtual_ns) / pace);
		struct timespec due = {due_ns / 1000000000ULL, due_ns % 1000000000ULL};

		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
			;
	}
	clock_gettime(CLOCK_MONOTONIC, &now);
	tick_real_ns = now.tv_sec * 1000000000ULL + now.tv_nsec;
	tick_virtual_ns = virtual_ns;
}

ssize_t pwrite64(int file, const void *buffer, size_t length, off64_t offset)
{
	static ssize_t (*machines)(int, const void *, size_t, off64_t);
	ssize_t written;

	if (!machines)
		machines = dlsym(RTLD_NEXT, "pwrite64");
	written = machines(file, buffer, length, offset);
	if (length == TICK_BYTES && offset == 0 && written == TICK_BYTES) {
		char text[TICK_BYTES + 1] = {0}, *end;
		uint64_t virtual_ns;

		memcpy(text, buffer, TICK_BYTES);
		virtual_ns = strtoull(text, &end, 10);
		if (*end == 0)
			wait_for_real_time(virtual_ns);
	}
	return written;
}

long ptrace(enum __ptrace_request request, ...)
{
	static long (*machines)(enum __ptrace_request, pid_t, void *, void *);
	static size_t state_bytes; /* of this machine's extended state */
	static unsigned char state[STATE_BYTES];
	va_list arguments;
	pid_t pid;
	void *address, *data;
	struct iovec *asked, whole = {state, STATE_BYTES};
	long result;

	va_start(arguments, request);
	pid = va_arg(arguments, pid_t);
	address = va_arg(arguments, void *);
	data = va_arg(arguments, void *);
	va_end(arguments);
	if (!machines)
		machines = dlsym(RTLD_NEXT, "ptrace");
	if (request != PTRACE_SETREGSET || (uintptr_t)address != NT_X86_XSTATE)
		return machines(request, pid, address, data);
	if (!state_bytes && machines(PTRACE_GETREGSET, pid, address, &whole) == 0) {
		state_bytes = whole.iov_len;
		memset(state, 0, STATE_BYTES);
	}
	asked = data;
	if (asked->iov_len >= state_bytes)
		return machines(request, pid, address, data);
	/* What the kernel does not know is as a new process has it: its header says so. */
	memcpy(state, asked->iov_base, asked->iov_len);
	whole.iov_len = state_bytes;
	result = machines(request, pid, address, &whole);
	return result;
}
