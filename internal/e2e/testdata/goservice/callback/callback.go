// Package callback has C call Go.
package callback

/*
#include <time.h>

extern void goCalled(void);

static void spin(long ms) {
	struct timespec from, now;

	clock_gettime(CLOCK_MONOTONIC, &from);
	do {
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - from.tv_sec) * 1000 + (now.tv_nsec - from.tv_nsec) / 1000000 < ms);
}

static void callGo(void) {
	spin(6);
	goCalled();
	spin(6);
}
*/
import "C"

import "sync"

var (
	lock sync.Mutex
	work func()
)

//export goCalled
func goCalled() { work() }

// Spin keeps a CPU busy in C.
//
//go:noinline
func Spin() { C.spin(25) }

// Call has C call a function, between work of its own.
//
//go:noinline
func Call(f func()) {
	lock.Lock()
	defer lock.Unlock()
	work = f
	C.callGo()
}
